//! Each contestant under a function's share of a processor, when it starts and when it is warm: time, processor time, memory and
//! size.
//!
//! The contestants take turns (A B C, A B C …), so that other work of the machine affects all of them alike. An operation follows
//! the one before without a pause, as in a busy function. Each is checked to have succeeded.

mod tables;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::contestants::{Contestant, Operation, Prepared};
use crate::engine::Engine;
use crate::function::Function;
use crate::report::Section;
use crate::share::{Group, Share};
use crate::subscriptions as given;

/// Number of subscriptions.
const SUBSCRIPTIONS: u64 = 500;
/// Number of cancellations that a sweep executes.
const DUE: u64 = 50;
/// Operations that are not measured at the beginning of a turn.
const UNMEASURED: u64 = 20;
/// Fewest operations in a turn that are measured.
const FEWEST: u64 = 20;

/// Amount of measurements.
#[derive(Clone, clap::Args)]
pub struct Amount {
    /// Turns of each contestant
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Starts of each contestant in each turn
    #[arg(long, default_value_t = 3)]
    starts: u32,
    /// Most operations of the last process in a turn
    #[arg(long, default_value_t = 400)]
    operations: u64,
    /// Longest time for the operations of a turn, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Memory whose share of a processor the functions get, in MB; 0 is no limit
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1_769, 1_024, 512, 256, 128])]
    memory: Vec<u32>,
    /// Operations to measure
    #[arg(long, value_delimiter = ',', default_value = "get,cancel,replay,execute")]
    operation: Vec<Operation>,
    /// Ways to the database
    #[arg(long, value_delimiter = ',', default_value = "http,tls")]
    transport: Vec<Transport>,
    /// SVG file for a diagram of time and price by memory
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// A way to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Transport {
    Http,
    Tls,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
        })
    }
}

/// The circumstances of a measurement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    operation: Operation,
    transport: Transport,
    share: Share,
}

/// Measurements of a contestant in a case.
#[derive(Default)]
struct Measured {
    ready: Vec<Duration>,
    first_answer: Vec<Duration>,
    warm: Vec<Duration>,
    /// Processor time of an operation, one mean for each turn.
    processor: Vec<Duration>,
    peak_memory: Vec<u64>,
}

/// Measurements of all contestants in each case.
type All = BTreeMap<Case, Vec<Measured>>;

/// Measures all contestants. Prints a table of each case, and returns those that compare them.
pub async fn measure(contestants: &[Contestant], amount: &Amount, now: DateTime<Utc>) -> Vec<Section> {
    let engine = Engine::start().await;
    let shares = amount.memory.iter().map(|memory| match memory {
        0 => Share::Whole,
        memory => Share::Memory(*memory),
    });
    let shares: Vec<_> = match Group::new(Share::Memory(256)) {
        Ok(_) => shares.collect(),
        Err(error) => {
            println!("This machine lets nobody limit a process to a share of a processor: {error}.\n");
            shares.filter(|share| *share == Share::Whole).collect()
        }
    };
    let mut prepared = Vec::new();
    for contestant in contestants {
        let tables = contestant.prepare(&engine, SUBSCRIPTIONS, now).await;
        prepared.push(Turns { contestant, engine: &engine, tables, operation: 0, due: SUBSCRIPTIONS });
    }
    let mut all = All::new();
    for &operation in &amount.operation {
        for &transport in &amount.transport {
            for &share in &shares {
                let case = Case { operation, transport, share };
                let of_case = all
                    .entry(case)
                    .or_insert_with(|| contestants.iter().map(|_| Measured::default()).collect());
                for _ in 0..amount.rounds {
                    for (turns, measured) in prepared.iter_mut().zip(of_case.iter_mut()) {
                        turns.take(case, amount, measured).await;
                    }
                }
                tables::of_case(case, contestants, of_case).print();
            }
        }
    }
    tables::sections(contestants, &all, amount.plot.as_deref())
}

/// The turns of a contestant.
struct Turns<'c> {
    contestant: &'c Contestant,
    engine: &'c Engine,
    tables: Prepared,
    /// Number of the next cancellation.
    operation: u64,
    /// Number of the next subscription whose cancellation is due.
    due: u64,
}

impl Turns<'_> {
    async fn take(&mut self, case: Case, amount: &Amount, measured: &mut Measured) {
        let bootstrap = self.contestant.bootstrap(case.operation);
        let starts = match case.operation {
            // With little memory, a sweep takes the slower ones ten seconds.
            Operation::Execute => 1,
            Operation::Get | Operation::Cancel | Operation::Replay => amount.starts,
        };
        for start in 0..=starts {
            let event = self.next_event(case.operation).await;
            let url = match case.transport {
                Transport::Http => self.engine.url(),
                Transport::Tls => self.engine.tls_url(),
            };
            let variables = self.tables.variables(&url, self.engine.certificate());
            let (mut function, answer) =
                Function::start(&bootstrap, &variables, case.share, Stdio::null(), &event).await;
            self.expect_ok(case.operation, &answer);
            // The first start does not count, because it may read files from the disk.
            if start > 0 {
                measured.ready.push(function.ready);
                measured.first_answer.push(function.first_answer);
            }
            if start == starts {
                self.warm(case.operation, &mut function, amount, measured).await;
            }
            function.stop().await;
        }
    }

    async fn warm(
        &mut self,
        operation: Operation,
        function: &mut Function,
        amount: &Amount,
        measured: &mut Measured,
    ) {
        // An operation of a sweep is one execution.
        let (each, unmeasured, fewest, most) = match operation {
            Operation::Execute => (u32::try_from(DUE).unwrap(), 1, 1, amount.operations / DUE),
            Operation::Get | Operation::Cancel | Operation::Replay => {
                (1, UNMEASURED, FEWEST, amount.operations)
            }
        };
        for _ in 0..unmeasured {
            let event = self.next_event(operation).await;
            self.expect_ok(operation, &function.invoke(&event).await.value);
        }
        let (processor, begun, mut done) = (function.processor_time(), Instant::now(), 0);
        while done < fewest || done < most && begun.elapsed() < Duration::from_secs(amount.seconds) {
            let event = self.next_event(operation).await;
            let answer = function.invoke(&event).await;
            self.expect_ok(operation, &answer.value);
            measured.warm.push(answer.after / each);
            done += 1;
        }
        let done = u32::try_from(done).unwrap() * each;
        measured.processor.push((function.processor_time() - processor) / done);
        measured.peak_memory.push(function.peak_memory());
    }

    async fn next_event(&mut self, operation: Operation) -> Value {
        match operation {
            Operation::Get => {
                self.operation += 1;
                given::get(&self.tables.token, self.operation % SUBSCRIPTIONS)
            }
            Operation::Cancel => {
                self.operation += 1;
                given::cancel(&self.tables.token, SUBSCRIPTIONS, self.operation)
            }
            Operation::Replay => given::cancel(&self.tables.token, SUBSCRIPTIONS, 0),
            Operation::Execute => {
                let numbers = self.due..self.due + DUE;
                self.due += DUE;
                self.tables.add_due(numbers.clone()).await;
                self.tables.execute(numbers)
            }
        }
    }

    fn expect_ok(&self, operation: Operation, answer: &Value) {
        let name = self.contestant.name;
        match operation {
            Operation::Execute => {
                let executed = answer.get("executed").or_else(|| answer.get("updated"));
                assert_eq!(executed, Some(&json!(DUE)), "{name}: {answer}");
            }
            Operation::Get | Operation::Cancel | Operation::Replay => {
                assert_eq!(answer["statusCode"], json!(200), "{name}: {answer}");
            }
        }
    }
}
