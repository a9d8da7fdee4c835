//! Requests and capacity units of each operation in DynamoDB, and the price of a million of them, for each contestant.

use std::time::Duration;

use chrono::{DateTime, Utc};
use harness::Wire;
use harness::capacity::Capacity;
use serde_json::{Value, json};

use crate::contestants::{Contestant, Operation, Prepared};
use crate::engine::Engine;
use crate::function::Function;
use crate::report::{Table, dollars, median};
use crate::subscriptions as given;

/// List prices of us-east-1, in dollars: a million read units and write units on demand, a million invocations, and a
/// second of a GB of memory on arm64. <https://aws.amazon.com/dynamodb/pricing/on-demand/>,
/// <https://aws.amazon.com/lambda/pricing/>
const MILLION_READ_UNITS: f64 = 0.125;
const MILLION_WRITE_UNITS: f64 = 0.625;
const MILLION_INVOCATIONS: f64 = 0.20;
const GB_SECOND: f64 = 0.000_013_333_4;
/// Memory of a function in GB, as in the template.
const MEMORY: f64 = 0.25;
/// Number of operations of each kind that are timed.
const TIMED: u64 = 100;

/// Read and write units of our functions, as `tests/README.md` has them: of a GET, a cancellation, its replay, and an execution, with
/// the one read for each tenant in a sweep.
const EXPECTED: [(f64, f64); 4] = [(2.0, 0.0), (4.0, 5.0), (4.0, 0.0), (1.0, 2.0)];

/// Counts the units of a GET, a cancellation, its replay and an execution, and prints the tables.
pub async fn measure(contestants: &[Contestant], now: DateTime<Utc>) {
    let engine = Engine::start().await;
    let mut units = Table::new(&[
        "operation",
        "contestant",
        "requests",
        "read units",
        "write units",
        "emulator's account",
    ]);
    let mut costs = Table::new(&["a million of", "contestant", "DynamoDB", "billed", "Lambda", "together"]);
    let mut all = Vec::new();
    for contestant in contestants.iter().filter(|contestant| contestant.cancels()) {
        let meter = Wire::metered(&engine.url()).await;
        let tables = contestant.prepare(&engine, TIMED, now).await;
        let metered = Metered { contestant, engine: &engine, tables, meter };
        all.push((contestant.name, metered.all().await));
    }
    for operation in 0..4 {
        for (contestant, operations) in &all {
            let Taken { name, used, billed, invocations } = &operations[operation];
            units.row(&[
                (*name).to_owned(),
                (*contestant).to_owned(),
                used.requests.len().to_string(),
                used.read.to_string(),
                used.write.to_string(),
                used.by_emulator.to_string(),
            ]);
            let database = used.read * MILLION_READ_UNITS + used.write * MILLION_WRITE_UNITS;
            let lambda =
                invocations * MILLION_INVOCATIONS + billed.as_secs_f64() * 1_000_000.0 * MEMORY * GB_SECOND;
            costs.row(&[
                (*name).to_owned(),
                (*contestant).to_owned(),
                dollars(database),
                format!("{:.1} ms", billed.as_secs_f64() * 1_000.0),
                dollars(lambda),
                dollars(database + lambda),
            ]);
        }
    }
    units.print();
    costs.print();
    let (first, ours) = &all[0];
    assert_eq!(*first, "Connect Subscriptions");
    assert_eq!(ours.each_ref().map(|taken| (taken.used.read, taken.used.write)), EXPECTED);
}

/// Measurements of one operation.
struct Taken {
    name: &'static str,
    used: Capacity,
    /// Time that Lambda bills: whole milliseconds of an invocation, or an execution's part of a sweep.
    billed: Duration,
    /// Number of invocations. A sweep is one, however many cancellations it executes.
    invocations: f64,
}

/// A contestant whose requests are counted.
struct Metered<'c> {
    contestant: &'c Contestant,
    engine: &'c Engine,
    tables: Prepared,
    meter: Wire,
}

impl Metered<'_> {
    async fn all(&self) -> [Taken; 4] {
        let token = &self.tables.token;
        let get = |number| given::get(token, number);
        let cancel = |number| given::cancel(token, TIMED, number);
        // All operations after the first are replays.
        let replay = |_| given::cancel(token, TIMED, 0);
        [
            self.operation("GET", Operation::Get, get).await,
            self.operation("cancel", Operation::Cancel, cancel).await,
            self.operation("replay", Operation::Cancel, replay).await,
            self.execution().await,
        ]
    }

    /// Counts the units of the second of two events, because the first may be the first of its process. Measures the time of
    /// other events.
    async fn operation(
        &self,
        name: &'static str,
        operation: Operation,
        event: impl Fn(u64) -> Value,
    ) -> Taken {
        let mut function = self.start(operation, &self.meter.url, &event(0)).await;
        self.meter.take_capacity();
        self.expect_ok(operation, &function.invoke(&event(1)).await.value);
        function.stop().await;
        let used = self.meter.take_capacity();

        let mut function = self.start(operation, &self.engine.url(), &event(2)).await;
        let mut took = Vec::new();
        for number in 3..TIMED {
            let answer = function.invoke(&event(number)).await;
            self.expect_ok(operation, &answer.value);
            took.push(answer.after);
        }
        function.stop().await;
        Taken { name, used, billed: whole_milliseconds(median(&took)), invocations: 1.0 }
    }

    /// Counts the units of a sweep that finds cancellations, without those of a sweep that finds none.
    async fn execution(&self) -> Taken {
        let mut function = self.start(Operation::Execute, &self.meter.url, &given::execute()).await;
        let nothing_due = self.meter.take_capacity();
        self.tables.add_due(TIMED).await;
        let answer = function.invoke(&given::execute()).await;
        self.expect_ok(Operation::Execute, &answer.value);
        function.stop().await;
        let used = self.meter.take_capacity().without(&nothing_due);

        for number in 1..=TIMED {
            self.tables.add_due(TIMED + number).await;
        }
        let url = self.engine.url();
        let bootstrap = self.contestant.bootstrap(Operation::Execute);
        let variables = self.tables.variables(&url, self.engine.certificate());
        let (function, answer) = Function::start(&bootstrap, &variables, &given::execute()).await;
        self.expect_ok(Operation::Execute, &answer);
        let billed = (function.first_answer - function.ready) / u32::try_from(TIMED).unwrap();
        function.stop().await;
        Taken { name: "execution", used, billed, invocations: 0.0 }
    }

    async fn start(&self, operation: Operation, url: &str, first: &Value) -> Function {
        let variables = self.tables.variables(url, self.engine.certificate());
        let bootstrap = self.contestant.bootstrap(operation);
        let (function, answer) = Function::start(&bootstrap, &variables, first).await;
        self.expect_ok(operation, &answer);
        function
    }

    fn expect_ok(&self, operation: Operation, answer: &Value) {
        let (place, expected) = match operation {
            Operation::Execute => ("failed", json!(0)),
            Operation::Get | Operation::Cancel => ("statusCode", json!(200)),
        };
        assert_eq!(answer[place], expected, "{}: {answer}", self.contestant.name);
    }
}

fn whole_milliseconds(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_micros().div_ceil(1_000).try_into().unwrap())
}
