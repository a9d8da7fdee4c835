//! What each operation asks of DynamoDB, contestant by contestant.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::contestants::{Contestant, Operation, Prepared};
use crate::engine::Engine;
use crate::function::Function;
use crate::meter::{Meter, Used};
use crate::report::Table;
use crate::subscriptions as given;

/// Counts what a GET, a cancellation, its replay and an execution take, and prints the table.
pub async fn measure(contestants: &[Contestant], now: DateTime<Utc>) {
    let engine = Engine::start().await;
    let mut table = Table::new(&[
        "operation",
        "contestant",
        "requests",
        "read units",
        "write units",
        "emulator's account",
    ]);
    for contestant in contestants.iter().filter(|contestant| contestant.cancels()) {
        let meter = Meter::start(&engine.url()).await;
        let tables = contestant.prepare(&engine, 2, now).await;
        let metered = Metered { contestant, tables, meter, certificate: engine.certificate() };
        for (operation, used) in metered.all().await {
            table.row(&[
                operation.to_owned(),
                contestant.name.to_owned(),
                used.requests.len().to_string(),
                used.read.to_string(),
                used.write.to_string(),
                used.by_emulator.to_string(),
            ]);
        }
    }
    table.print();
}

/// A contestant whose requests are counted.
struct Metered<'c> {
    contestant: &'c Contestant,
    tables: Prepared,
    meter: Meter,
    certificate: &'c str,
}

impl Metered<'_> {
    async fn all(&self) -> [(&'static str, Used); 4] {
        let token = &self.tables.token;
        let get = self.second(Operation::Get, &given::get(token, 0), &given::get(token, 0)).await;
        let cancel = given::cancel(token, 2, 1);
        let first = self.second(Operation::Cancel, &given::cancel(token, 2, 0), &cancel).await;
        let replay = self.second(Operation::Cancel, &cancel, &cancel).await;
        let nothing_due = self.second(Operation::Execute, &given::execute(), &given::execute()).await;
        self.tables.add_due(2).await;
        let due = self.second(Operation::Execute, &given::execute(), &given::execute()).await;
        // The sweep that finds one, without what a sweep takes that finds none.
        let execution = due.without(&nothing_due);
        [("GET", get), ("cancel", first), ("replay", replay), ("execution", execution)]
    }

    /// What the second of two events takes: the first may be the first of its process. Of two sweeps, the first finds what is
    /// due, so there both count.
    async fn second(&self, operation: Operation, first: &Value, second: &Value) -> Used {
        let variables = self.tables.variables(&self.meter.url, self.certificate);
        let bootstrap = self.contestant.bootstrap(operation);
        let (mut function, answer) = Function::start(&bootstrap, &variables, first).await;
        self.expect_ok(operation, &answer);
        if !matches!(operation, Operation::Execute) {
            self.meter.take();
        }
        let answer = function.invoke(second).await;
        self.expect_ok(operation, &answer.value);
        function.stop().await;
        self.meter.take()
    }

    fn expect_ok(&self, operation: Operation, answer: &Value) {
        let (place, expected) = match operation {
            Operation::Execute => ("failed", json!(0)),
            Operation::Get | Operation::Cancel => ("statusCode", json!(200)),
        };
        assert_eq!(answer[place], expected, "{}: {answer}", self.contestant.name);
    }
}
