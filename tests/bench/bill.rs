//! The whole bill of a million of each operation, for each contestant: the requests and capacity units of DynamoDB, the time that
//! Lambda bills under the share of a processor that comes with the template's memory, the log, and the API's gateway. And the bill
//! of a month in which nothing happens.

mod costs;
mod event;
pub mod prices;
mod rest;

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dynoxide::types::{Item, item_size};
use harness::Wire;
use harness::capacity::Capacity;
use harness::template::template;
use serde_json::{Value, json};

use self::costs::tables;
use self::event::{AUDITED, audited, event};
use self::rest::Idle;
use crate::contestants::{Contestant, Operation, Prepared};
use crate::engine::Engine;
use crate::function::Function;
use crate::report::{Section, whole_milliseconds};
use crate::share::{Group, Share};
use crate::subscriptions as given;

/// Number of operations of each kind that are timed.
const TIMED: u64 = 100;
/// Number of changes in a batch of the stream.
const BATCH: u32 = 10;
/// Most bytes of log that a request of ours may write, without its metrics.
const MOST_LOGGED: f64 = 400.0;

/// Read and write units of our functions. An execution has the one read for each tenant in a sweep; an event, the entry in the
/// history.
const EXPECTED: [(&str, f64, f64); 9] = [
    ("GET", 2.0, 0.0),
    ("GET cancellation", 3.0, 0.0),
    ("GET history", 3.5, 0.0),
    ("preview", 3.0, 0.0),
    ("cancel", 4.0, 5.0),
    ("withdraw", 3.0, 5.0),
    ("replay", 4.0, 0.0),
    ("execution", 1.0, 2.0),
    ("event", 0.0, 1.0),
];
/// Counts and times each operation, and prints the tables.
pub async fn measure(contestants: &[Contestant], now: DateTime<Utc>) -> Vec<Section> {
    let engine = Engine::start().await;
    let has_shares = Group::new(Share::Memory(memory(Operation::Get))).map(drop);
    if let Err(error) = &has_shares {
        println!("This machine lets nobody limit a process to a share of a processor: {error}.\n");
    }
    let share = |operation| match has_shares {
        Ok(()) => Share::Memory(memory(operation)),
        Err(_) => Share::Whole,
    };
    let (mut all, mut idle) = (Vec::new(), Vec::new());
    for contestant in contestants {
        let meter = Wire::metered(&engine.url()).await;
        let tables = contestant.prepare(&engine, TIMED, now).await;
        let metered = Metered { contestant, engine: &engine, tables, meter, share: &share };
        all.extend(metered.all().await);
        if contestant.name != "floor" {
            idle.push(metered.idle().await);
        }
    }
    if let Some(event) = event(contestants, &engine, now, share(Operation::Get)).await {
        let cancel =
            all.iter().find(|taken| taken.contestant == event.contestant && taken.operation == "cancel");
        all.push(audited(cancel.unwrap(), &event));
        all.push(event);
    }
    let (units, costs) = tables(&all);
    for (operation, read, write) in EXPECTED {
        let is_ours = |taken: &&Taken| taken.contestant == "ours" && taken.operation == operation;
        let Taken { used, log, .. } = all.iter().find(is_ours).unwrap();
        assert_eq!((used.read, used.write), (read, write), "{operation}");
        let logged = log.bytes - log.of_metrics;
        assert!(logged <= MOST_LOGGED, "{operation}: {logged} bytes of log");
    }
    same_requests(&all);
    vec![Section::new("units", units), Section::new("bill", costs), Section::new("rest", rest::table(&idle))]
}

/// The floor must send what ours send: the same requests, of nearly the same size. A sweep's floor only writes.
fn same_requests(all: &[Taken]) {
    for floor in all.iter().filter(|taken| taken.contestant == "floor" && taken.operation != "execution") {
        let ours = all.iter().find(|taken| taken.contestant == "ours" && taken.operation == floor.operation);
        let ours = &ours.unwrap().used;
        assert_eq!(floor.used.requests, ours.requests, "{}", floor.operation);
        assert_eq!((floor.used.read, floor.used.write), (ours.read, ours.write), "{}", floor.operation);
        let part = floor.used.bytes as f64 / ours.bytes as f64;
        assert!((0.95..1.05).contains(&part), "{}: {part} of the bytes", floor.operation);
    }
}

/// Returns the memory that the template gives the function of an operation, in MB.
fn memory(operation: Operation) -> u32 {
    let parameter = match operation {
        Operation::Execute => "SweepMemorySize",
        Operation::Get | Operation::Cancel | Operation::Replay => "MemorySize",
    };
    template()["Parameters"][parameter]["Default"].as_u64().unwrap().try_into().unwrap()
}

/// Measurements of one operation.
struct Taken {
    operation: &'static str,
    contestant: &'static str,
    used: Capacity,
    /// Memory of the function, in MB.
    memory: u32,
    /// Time that Lambda bills, on average: whole milliseconds of an invocation, or the operation's part of them.
    billed: Duration,
    /// Number of invocations for the operation.
    invocations: f64,
    log: Logged,
    /// Requests to the gateway.
    requests: f64,
    /// Events on the bus.
    events: f64,
}

/// The log of an operation.
#[derive(Clone, Copy, Default)]
pub struct Logged {
    bytes: f64,
    lines: f64,
    of_metrics: f64,
}

/// A contestant whose requests are counted.
struct Metered<'c> {
    contestant: &'c Contestant,
    engine: &'c Engine,
    tables: Prepared,
    meter: Wire,
    share: &'c dyn Fn(Operation) -> Share,
}

impl Metered<'_> {
    async fn all(&self) -> Vec<Taken> {
        let token = &self.tables.token;
        let get = |number| given::get(token, number);
        let cancel = |number| given::cancel(token, TIMED, number);
        // Another date than that of the cancellation before.
        let again = |number| given::cancel(token, TIMED, TIMED + number);
        // All operations after the first are replays.
        let replay = |_| given::cancel(token, TIMED, 0);
        let withdraw = |number| given::withdraw(token, number);
        let mut all = vec![
            self.operation("GET", Operation::Get, None, &get).await,
            self.operation("cancel", Operation::Cancel, None, &cancel).await,
            self.operation("replay", Operation::Replay, None, &replay).await,
        ];
        if self.contestant.audits() {
            // Of other subscriptions: a replacement would take a write unit more.
            self.tables.add_all(3 * TIMED..4 * TIMED).await;
            let others = |number| given::cancel(token, 10 * TIMED, 3 * TIMED + number);
            all.push(self.operation(AUDITED, Operation::Cancel, None, &others).await);
        }
        if self.contestant.withdraws() {
            all.push(self.operation("withdraw", Operation::Cancel, Some(&again), &withdraw).await);
            let cancellation = |number| given::read(token, "cancellation", number);
            let history = |number| given::read(token, "history", number);
            let preview = |number| given::preview(token, number);
            self.tables.record(0..TIMED).await;
            all.push(self.operation("GET cancellation", Operation::Get, None, &cancellation).await);
            all.push(self.operation("GET history", Operation::Get, None, &history).await);
            all.push(self.operation("preview", Operation::Get, None, &preview).await);
        }
        all.push(self.execution().await);
        all
    }

    /// Counts the units of the second of two events, because the first may be the first of its process. Measures the time and the
    /// log of other events. `before` makes the event that goes before each.
    async fn operation(
        &self,
        name: &'static str,
        operation: Operation,
        before: Option<&dyn Fn(u64) -> Value>,
        event: &dyn Fn(u64) -> Value,
    ) -> Taken {
        let first = before.unwrap_or(event);
        let audit = if name == AUDITED { self.tables.audit() } else { Vec::new() };
        let mut function =
            self.start_with(&audit, operation, &self.meter.url, Stdio::null(), &first(0)).await;
        if let Some(before) = before {
            self.expect_ok(operation, &function.invoke(&before(1)).await.value);
        }
        self.meter.take_capacity();
        self.expect_ok(operation, &function.invoke(&event(1)).await.value);
        function.stop().await;
        let used = self.meter.take_capacity();

        let log = Log::new();
        let url = self.engine.tls_url();
        let mut function = self.start_with(&audit, operation, &url, log.stdout(), &first(2)).await;
        let (mut billed, mut logged) = (Duration::ZERO, Logged::default());
        for number in 3..TIMED {
            if let Some(before) = before {
                self.expect_ok(operation, &function.invoke(&before(number)).await.value);
            }
            log.take();
            let answer = function.invoke(&event(number)).await;
            self.expect_ok(operation, &answer.value);
            billed += whole_milliseconds(answer.after);
            logged = log.take();
        }
        function.stop().await;
        Taken {
            operation: name,
            contestant: self.contestant.name,
            used,
            memory: memory(operation),
            billed: billed / u32::try_from(TIMED - 3).unwrap(),
            invocations: 1.0,
            log: logged,
            requests: 1.0,
            events: 0.0,
        }
    }

    /// Counts the units of a sweep that finds cancellations, without those of a sweep that finds none.
    async fn execution(&self) -> Taken {
        let (operation, nothing) = (Operation::Execute, self.tables.execute(0..0));
        let mut function = self.start(operation, &self.meter.url, Stdio::null(), &nothing).await;
        let nothing_due = self.meter.take_capacity();
        self.tables.add_due(TIMED..TIMED + 1).await;
        let answer = function.invoke(&self.tables.execute(TIMED..TIMED + 1)).await;
        self.expect_ok(operation, &answer.value);
        function.stop().await;
        let used = self.meter.take_capacity().without(&nothing_due);

        let log = Log::new();
        let mut function = self.start(operation, &self.engine.tls_url(), log.stdout(), &nothing).await;
        let numbers = TIMED + 1..2 * TIMED + 1;
        self.tables.add_due(numbers.clone()).await;
        log.take();
        let answer = function.invoke(&self.tables.execute(numbers)).await;
        let executed = answer.value.get("executed").or_else(|| answer.value.get("updated"));
        assert_eq!(executed, Some(&json!(TIMED)), "{}: {}", self.contestant.name, answer.value);
        function.stop().await;
        let executed = u32::try_from(TIMED).unwrap();
        let Logged { bytes, lines, of_metrics } = log.take();
        let each = |all: f64| all / f64::from(executed);
        Taken {
            operation: "execution",
            contestant: self.contestant.name,
            used,
            memory: memory(operation),
            billed: answer.after / executed,
            invocations: 0.0,
            log: Logged { bytes: each(bytes), lines: each(lines), of_metrics: each(of_metrics) },
            requests: 0.0,
            events: 0.0,
        }
    }

    /// Measures sweeps that find nothing.
    async fn idle(&self) -> Idle {
        let (operation, nothing) = (Operation::Execute, self.tables.execute(0..0));
        self.meter.take_capacity();
        let function = self.start(operation, &self.meter.url, Stdio::null(), &nothing).await;
        function.stop().await;
        let read = self.meter.take_capacity().read;

        let log = Log::new();
        let mut function = self.start(operation, &self.engine.tls_url(), log.stdout(), &nothing).await;
        let (mut billed, mut logged) = (Duration::ZERO, Logged::default());
        for _ in 0..TIMED {
            log.take();
            let answer = function.invoke(&nothing).await;
            self.expect_ok(operation, &answer.value);
            billed += whole_milliseconds(answer.after);
            logged = log.take();
        }
        function.stop().await;

        let key = json!({"TableName": self.tables.tables.subscriptions, "Key": {"pk": {"S": given::key(0)}}});
        let found = self.engine.database.get_item(serde_json::from_value(key).unwrap()).unwrap();
        let item: Item = found.item.unwrap();
        Idle {
            contestant: self.contestant.name,
            memory: memory(operation),
            read,
            billed: billed / u32::try_from(TIMED).unwrap(),
            log: logged,
            item: item_size(&item),
        }
    }

    async fn start(&self, operation: Operation, url: &str, stdout: Stdio, first: &Value) -> Function {
        self.start_with(&[], operation, url, stdout, first).await
    }

    /// Starts the function with more variables.
    async fn start_with(
        &self,
        more: &[(&str, &str)],
        operation: Operation,
        url: &str,
        stdout: Stdio,
        first: &Value,
    ) -> Function {
        let variables = self.tables.variables(url, self.engine.certificate());
        let variables: Vec<_> = variables.into_iter().chain(more.iter().copied()).collect();
        let bootstrap = self.contestant.bootstrap(operation);
        let (function, answer) =
            Function::start(&bootstrap, &variables, (self.share)(operation), stdout, first).await;
        self.expect_ok(operation, &answer);
        function
    }

    fn expect_ok(&self, operation: Operation, answer: &Value) {
        let is_ok = match operation {
            Operation::Execute => answer.get("failed").unwrap_or(&json!(0)) == 0,
            Operation::Get | Operation::Cancel | Operation::Replay => answer["statusCode"] == 200,
        };
        assert!(is_ok, "{}: {answer}", self.contestant.name);
    }
}

/// The log of a process.
struct Log {
    file: tempfile::NamedTempFile,
    read: std::cell::Cell<usize>,
}

impl Log {
    fn new() -> Self {
        Self { file: tempfile::NamedTempFile::new().unwrap(), read: std::cell::Cell::new(0) }
    }

    fn stdout(&self) -> Stdio {
        File::options().append(true).open(self.file.path()).unwrap().into()
    }

    /// Returns what was written since the last time.
    fn take(&self) -> Logged {
        let text = std::fs::read_to_string(self.file.path()).unwrap();
        let new = text.get(self.read.replace(text.len())..).unwrap();
        let of_metrics = new.lines().filter(|line| line.contains("\"CloudWatchMetrics\""));
        Logged {
            bytes: new.len() as f64,
            lines: new.lines().count() as f64,
            of_metrics: of_metrics.map(|line| line.len() + 1).sum::<usize>() as f64,
        }
    }
}
