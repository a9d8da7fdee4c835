//! Cold and warm: time, memory and size of each contestant, when it starts and when it cancels.
//!
//! The contestants take turns (A B C, A B C …), so that other work of the machine affects all of them alike. Each operation
//! cancels a subscription under a key of its own, and is checked to have succeeded.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::contestants::{Contestant, Operation, Prepared};
use crate::engine::Engine;
use crate::function::Function;
use crate::report::{Table, mebibytes, median, milliseconds, percentile, ratio};
use crate::subscriptions as given;

/// Number of subscriptions.
const SUBSCRIPTIONS: u64 = 500;

/// Amount of measurements.
#[derive(Clone, Copy, clap::Args)]
pub struct Amount {
    /// Turns of each contestant
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Starts of each contestant in each turn
    #[arg(long, default_value_t = 3)]
    starts: u32,
    /// Operations of the last process in a turn, of which the first fifth is not measured
    #[arg(long, default_value_t = 500)]
    operations: u64,
}

/// Measurements of a contestant.
#[derive(Default)]
struct Measured {
    ready: Vec<Duration>,
    first_answer: Vec<Duration>,
    warm: Vec<Duration>,
    processor: Vec<Duration>,
    peak_memory: Vec<u64>,
}

/// Measures all contestants, over HTTP and over TLS, and prints the tables.
pub async fn measure(contestants: &[Contestant], amount: Amount, now: DateTime<Utc>) {
    let engine = Engine::start().await;
    for (transport, url) in [("HTTP", engine.url()), ("TLS", engine.tls_url())] {
        let measured = measure_over(&engine, &url, contestants, amount, now).await;
        print(transport, contestants, &measured);
    }
}

async fn measure_over(
    engine: &Engine,
    url: &str,
    contestants: &[Contestant],
    amount: Amount,
    now: DateTime<Utc>,
) -> Vec<Measured> {
    let mut turns = Vec::new();
    for contestant in contestants {
        turns.push(Turn {
            contestant,
            tables: contestant.prepare(engine, SUBSCRIPTIONS, now).await,
            operation: 0,
            measured: Measured::default(),
        });
    }
    for round in 0..=amount.rounds {
        for turn in &mut turns {
            turn.take(url, engine.certificate(), amount).await;
            if round == 0 {
                // The first round does not count, because it reads the files from the disk.
                turn.measured = Measured::default();
            }
        }
    }
    turns.into_iter().map(|turn| turn.measured).collect()
}

/// The turn of a contestant.
struct Turn<'c> {
    contestant: &'c Contestant,
    tables: Prepared,
    operation: u64,
    measured: Measured,
}

impl Turn<'_> {
    async fn take(&mut self, url: &str, certificate: &str, amount: Amount) {
        let bootstrap = self.contestant.bootstrap(Operation::Cancel);
        for start in 1..=amount.starts {
            let event = self.next_event();
            let variables = self.tables.variables(url, certificate);
            let (mut function, answer) = Function::start(&bootstrap, &variables, &event).await;
            expect_ok(self.contestant, &answer);
            self.measured.ready.push(function.ready);
            self.measured.first_answer.push(function.first_answer);
            if start == amount.starts {
                self.warm(&mut function, amount.operations).await;
            }
            function.stop().await;
        }
    }

    async fn warm(&mut self, function: &mut Function, operations: u64) {
        let unmeasured = operations / 5;
        let mut processor = Duration::ZERO;
        for operation in 0..operations {
            if operation == unmeasured {
                processor = function.processor_time();
            }
            let event = self.next_event();
            let answer = function.invoke(&event).await;
            expect_ok(self.contestant, &answer.value);
            if operation >= unmeasured {
                self.measured.warm.push(answer.after);
            }
        }
        let measured = u32::try_from(operations - unmeasured).unwrap();
        self.measured.processor.push((function.processor_time() - processor) / measured);
        self.measured.peak_memory.push(function.peak_memory());
    }

    fn next_event(&mut self) -> Value {
        self.operation += 1;
        given::cancel(&self.tables.token, SUBSCRIPTIONS, self.operation)
    }
}

fn expect_ok(contestant: &Contestant, answer: &Value) {
    assert_eq!(answer["statusCode"], json!(200), "{}: {answer}", contestant.name);
}

fn print(transport: &str, contestants: &[Contestant], measured: &[Measured]) {
    let mut table = Table::new(&[
        transport,
        "ready",
        "first answer",
        "p50",
        "p99",
        "p99.9",
        "CPU",
        "peak memory",
        "size",
    ]);
    for (contestant, measured) in contestants.iter().zip(measured) {
        table.row(&[
            contestant.name.to_owned(),
            milliseconds(median(&measured.ready)),
            milliseconds(median(&measured.first_answer)),
            milliseconds(percentile(&measured.warm, 0.5)),
            milliseconds(percentile(&measured.warm, 0.99)),
            milliseconds(percentile(&measured.warm, 0.999)),
            milliseconds(mean(&measured.processor)),
            mebibytes(median(&measured.peak_memory)),
            mebibytes(size(&contestant.bootstrap(Operation::Cancel))),
        ]);
    }
    let [ours, others @ ..] = measured else { return };
    for (contestant, other) in contestants.iter().skip(1).zip(others) {
        let of = |measure: fn(&Measured) -> f64| ratio(measure(ours) / measure(other));
        table.row(&[
            format!("ours / {}", contestant.name),
            of(|measured| median(&measured.ready).as_secs_f64()),
            of(|measured| median(&measured.first_answer).as_secs_f64()),
            of(|measured| percentile(&measured.warm, 0.5).as_secs_f64()),
            of(|measured| percentile(&measured.warm, 0.99).as_secs_f64()),
            of(|measured| percentile(&measured.warm, 0.999).as_secs_f64()),
            of(|measured| mean(&measured.processor).as_secs_f64()),
            of(|measured| median(&measured.peak_memory) as f64),
            String::new(),
        ]);
    }
    table.print();
}

fn mean(durations: &[Duration]) -> Duration {
    durations.iter().sum::<Duration>() / u32::try_from(durations.len()).unwrap()
}

/// Returns the size of the deployed zip file, which is beside the bootstrap.
fn size(bootstrap: &Path) -> u64 {
    bootstrap.with_extension("zip").metadata().map_or(0, |file| file.len())
}
