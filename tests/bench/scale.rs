//! Growth with the number of subscriptions: a GET, a cancellation, and a sweep that finds nothing due. Then a sweep that finds
//! many cancellations due at one instant, beside its floor.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::import::{Existing, Rules};
use domain::origin::Author;
use dynoxide::types::Item;
use dynoxide::{AttributeValue, ImportOptions};
use futures::{StreamExt, stream};
use harness::Wire;
use harness::capacity::Capacity;
use serde_json::{Value, json};
use service::import;
use store::compression::compress;
use store::import::TOGETHER;

use crate::contestants::{Contestant, EXECUTED_AT_ONCE, Operation, Prepared};
use crate::engine::{Engine, TENANT};
use crate::function::Function;
use crate::report::{Section, Table, diagram, mebibytes, median, milliseconds, percentile, ratio};
use crate::share::Share;
use crate::subscriptions as given;

/// Number of turns of a short sweep and its floor, and number of items that each writes.
const ROUNDS: u64 = 10;
const SHORT: u64 = 1_000;

const OVERWRITE: Rules = Rules { existing: Existing::Overwrite, takes_overdue: true };

/// Amount of measurements.
#[derive(clap::Args)]
pub struct Amount {
    /// Subscriptions in the end: a power of ten
    #[arg(long, default_value_t = 1_000_000)]
    subscriptions: u64,
    /// Cancellations that are due at once
    #[arg(long, default_value_t = 100_000)]
    due: u64,
    /// GETs and cancellations measured at each size: up to 1000 of each
    #[arg(long, default_value_t = 1_000)]
    operations: u64,
    /// SVG file for a diagram of the growth
    #[arg(long)]
    plot: Option<std::path::PathBuf>,
}

/// Measurements at one size.
struct Point {
    subscriptions: u64,
    get: Operations,
    cancel: Operations,
    idle_sweep: Operations,
}

struct Operations {
    took: Vec<Duration>,
    used: Capacity,
}

/// Measures our functions.
pub async fn measure(ours: &Contestant, updates: &Path, amount: &Amount, now: DateTime<Utc>) -> Vec<Section> {
    assert!(amount.subscriptions.to_string().trim_end_matches('0') == "1", "not a power of ten");
    assert!(amount.due + 2 * ROUNDS * SHORT <= amount.subscriptions, "there are too few subscriptions");
    assert!(amount.operations <= 1_000, "the smallest size has only 1000 subscriptions");
    let engine = Engine::start().await;
    let scale = Scale {
        ours,
        meter: Wire::metered(&engine.url()).await,
        tables: ours.prepare(&engine, 0, now).await,
        engine,
        now,
    };
    let mut points = Vec::new();
    let mut there = 0;
    let sizes = (3..).map(|zeros| 10_u64.pow(zeros)).take_while(|size| *size <= amount.subscriptions);
    for (nth, size) in (1..).zip(sizes) {
        scale.fill(there..size);
        there = size;
        eprintln!("{size} subscriptions");
        points.push(scale.point(size, nth, amount.operations).await);
    }
    if let Some(file) = &amount.plot {
        plot(&points, file);
    }
    vec![Section::new("growth", growth(&points)), Section::new("sweep", scale.sweep(updates, amount).await)]
}

struct Scale<'c> {
    ours: &'c Contestant,
    engine: Engine,
    meter: Wire,
    tables: Prepared,
    now: DateTime<Utc>,
}

impl Scale<'_> {
    /// Puts subscriptions into the database, without its API, which takes a quarter of an hour for a million.
    fn fill(&self, numbers: Range<u64>) {
        let table = &self.tables.tables.subscriptions;
        let numbers: Vec<_> = numbers.collect();
        for numbers in numbers.chunks(10_000) {
            let items = numbers.iter().map(|number| item(*number)).collect();
            self.engine.database.import_items(table, items, ImportOptions::default()).unwrap();
        }
    }

    /// Imports documents, and overwrites existing ones.
    async fn write(&self, documents: impl Iterator<Item = Value>) {
        let (store, tenant) = (&self.tables.store, TENANT.parse().unwrap());
        let mut documents = documents.map(|document| given::new(document, self.now)).peekable();
        let batches = std::iter::from_fn(|| {
            documents.peek()?;
            Some(documents.by_ref().take(TOGETHER).collect::<Vec<_>>())
        });
        stream::iter(batches)
            .for_each_concurrent(4, |batch| {
                let tenant = &tenant;
                async move {
                    let imported = import::import_together(
                        store,
                        tenant,
                        &batch,
                        OVERWRITE,
                        &Author::import(None),
                        self.now,
                    )
                    .await
                    .unwrap();
                    assert!(imported.unwrap().iter().all(|imported| imported.fault().is_none()));
                }
            })
            .await;
    }

    /// Makes cancellations pending for a date.
    async fn make_pending(&self, numbers: impl Iterator<Item = u64>, date: NaiveDate) {
        self.write(numbers.map(|number| given::pending(number, date))).await;
    }

    async fn start(&self, bootstrap: &Path, url: &str, first: &Value) -> (Function, Value) {
        let variables = self.tables.variables(url, self.engine.certificate());
        Function::start(bootstrap, &variables, Share::Whole, Stdio::null(), first).await
    }

    /// Measures each operation at one size, the `nth` of them.
    async fn point(&self, size: u64, nth: u64, operations: u64) -> Point {
        let token = &self.tables.token;
        // The numbers are spread over all subscriptions. Each cancellation is a new operation, also across sizes.
        let number = |operation: u64| operation * size / operations;
        let get = |operation| given::get(token, number(operation) % size);
        let cancel = |operation| given::cancel(token, size, size * nth + number(operation) % size);
        Point {
            subscriptions: size,
            get: self.operations(Operation::Get, operations, get).await,
            cancel: self.operations(Operation::Cancel, operations, cancel).await,
            idle_sweep: self.operations(Operation::Execute, operations / 10, |_| given::execute()).await,
        }
    }

    /// Measures the operations after the first tenth, and counts the capacity units of the last one.
    async fn operations(&self, operation: Operation, count: u64, event: impl Fn(u64) -> Value) -> Operations {
        let bootstrap = self.ours.bootstrap(operation);
        let (mut function, answer) = self.start(&bootstrap, &self.engine.url(), &event(0)).await;
        expect_ok(operation, &answer);
        let mut took = Vec::new();
        for number in 1..count - 2 {
            let answer = function.invoke(&event(number)).await;
            expect_ok(operation, &answer.value);
            if number >= count / 10 {
                took.push(answer.after);
            }
        }
        function.stop().await;

        let (mut function, _) = self.start(&bootstrap, &self.meter.url, &event(count - 2)).await;
        self.meter.take_capacity();
        let answer = function.invoke(&event(count - 1)).await;
        expect_ok(operation, &answer.value);
        function.stop().await;
        Operations { took, used: self.meter.take_capacity() }
    }

    /// Executes cancellations that are due at one instant: first a few, in turns with the floor, then many.
    async fn sweep(&self, updates: &Path, amount: &Amount) -> String {
        let past = self.now.date_naive() - Days::new(1);
        let future = NaiveDate::from_ymd_opt(2200, 1, 1).unwrap();
        let short = |round: u64| amount.due + 2 * round * SHORT;

        let (mut floor, mut sweeps) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (first, middle, last) = (short(round), short(round) + SHORT, short(round + 1));
            self.make_pending(first..middle, past).await;
            self.make_pending(middle..last, future).await;
            floor.push(self.update(updates, middle..last).await);
            sweeps.push(self.execute(SHORT).await);
        }
        self.make_pending(0..amount.due, past).await;
        let all = self.execute(amount.due).await;

        let name = format!("{EXECUTED_AT_ONCE} at once");
        let mut table = Table::new(&[&name, "items", "time", "per second", "CPU per item", "peak memory"]);
        for (name, swept) in [
            ("UpdateItem, nothing else", middle_of(&floor)),
            ("a short sweep", middle_of(&sweeps)),
            ("a sweep of all due cancellations", &all),
        ] {
            table.row(&[
                name.to_owned(),
                swept.items.to_string(),
                format!("{:.1} s", swept.took.as_secs_f64()),
                format!("{:.0}", swept.per_second()),
                milliseconds(swept.processor / u32::try_from(swept.items).unwrap()),
                mebibytes(swept.peak_memory),
            ]);
        }
        let rate = middle_of(&sweeps).per_second() / middle_of(&floor).per_second();
        format!("{table}\n\nA short sweep / UpdateItem, in items a second: {}", ratio(rate))
    }

    async fn execute(&self, due: u64) -> Swept {
        let bootstrap = self.ours.bootstrap(Operation::Execute);
        let (swept, answer) = self.time(&bootstrap, &given::execute(), due).await;
        assert_eq!((&answer["executed"], &answer["due"]), (&json!(due), &json!(due)), "{answer}");
        assert_eq!((&answer["failed"], &answer["remaining"]), (&json!(0), &json!(0)), "{answer}");
        swept
    }

    async fn update(&self, updates: &Path, numbers: Range<u64>) -> Swept {
        let items = numbers.end - numbers.start;
        let keys: Vec<_> = numbers.map(given::key).collect();
        let (swept, answer) =
            self.time(updates, &json!({"keys": keys, "concurrency": EXECUTED_AT_ONCE}), items).await;
        assert_eq!(answer["updated"], json!(items));
        swept
    }

    /// Gives one event to a new process. The time is without the start of the process.
    async fn time(&self, bootstrap: &Path, event: &Value, items: u64) -> (Swept, Value) {
        let (function, answer) = self.start(bootstrap, &self.engine.url(), event).await;
        let swept = Swept {
            items,
            took: function.first_answer - function.ready,
            processor: function.processor_time(),
            peak_memory: function.peak_memory(),
        };
        function.stop().await;
        (swept, answer)
    }
}

/// Returns the item of a subscription, as an import stores it.
pub fn item(number: u64) -> Item {
    let Value::Object(mut rest) = given::document(number) else { unreachable!() };
    let mut attribute = |name: &str| {
        let Some(Value::String(text)) = rest.remove(name) else { panic!("no {name}") };
        (name.to_owned(), AttributeValue::S(text))
    };
    let mut document = HashMap::from(["status", "updatedAt"].map(&mut attribute));
    let compressed = compress(Value::Object(rest).to_string().as_bytes()).unwrap();
    document.insert("compressed".to_owned(), AttributeValue::B(compressed));
    [
        ("pk", AttributeValue::S(given::key(number))),
        ("document", AttributeValue::M(document)),
        ("version", AttributeValue::N("1".to_owned())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Measurements of items that were written at once.
struct Swept {
    items: u64,
    took: Duration,
    processor: Duration,
    peak_memory: u64,
}

impl Swept {
    fn per_second(&self) -> f64 {
        self.items as f64 / self.took.as_secs_f64()
    }
}

/// Returns the one with the median time.
fn middle_of(all: &[Swept]) -> &Swept {
    let median = median(&all.iter().map(|swept| swept.took).collect::<Vec<_>>());
    all.iter().find(|swept| swept.took == median).unwrap()
}

fn expect_ok(operation: Operation, answer: &Value) {
    match operation {
        Operation::Execute => assert_eq!(answer["due"], json!(0), "{answer}"),
        Operation::Get | Operation::Cancel | Operation::Replay => {
            assert_eq!(answer["statusCode"], json!(200), "{answer}")
        }
    }
}

fn growth(points: &[Point]) -> Table {
    let mut table = Table::new(&["subscriptions", "operation", "p50", "p99", "read units", "write units"]);
    for point in points {
        let operations =
            [("GET", &point.get), ("cancel", &point.cancel), ("sweep, nothing due", &point.idle_sweep)];
        for (name, Operations { took, used }) in operations {
            table.row(&[
                point.subscriptions.to_string(),
                name.to_owned(),
                milliseconds(median(took)),
                milliseconds(percentile(took, 0.99)),
                used.read.to_string(),
                used.write.to_string(),
            ]);
        }
    }
    table
}

/// Draws the medians against the number of subscriptions.
fn plot(points: &[Point], file: &Path) {
    let series = |of: fn(&Point) -> &Operations| {
        let at =
            |point: &Point| (point.subscriptions as f64, median(&of(point).took).as_secs_f64() * 1_000.0);
        points.iter().map(at).collect()
    };
    diagram(
        file,
        "subscriptions",
        "median, ms",
        &[
            ("cancel", series(|point| &point.cancel)),
            ("GET", series(|point| &point.get)),
            ("sweep, nothing due", series(|point| &point.idle_sweep)),
        ],
    );
}
