//! The price of exactly-once: a cancellation with an idempotency key beside one without, and callers who meet at one
//! subscription.

use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use harness::Wire;
use serde_json::{Value, json};

use crate::contestants::{Contestant, Operation, Prepared};
use crate::engine::Engine;
use crate::function::Function;
use crate::report::{Section, Table, mean, median, milliseconds, percentile};
use crate::share::Share;
use crate::subscriptions as given;

/// Number of subscriptions.
const SUBSCRIPTIONS: u64 = 500;
/// Number of cancellations with a key, and without one, of which the first tenth is not measured.
const OPERATIONS: u64 = 1_000;
/// Numbers of callers who cancel one subscription at once, and number of cancellations of each.
const CALLERS: [u64; 3] = [1, 8, 64];
const OF_EACH: u64 = 10;

/// Measurements of cancellations with a key, or without one.
#[derive(Default)]
struct Measured {
    took: Vec<Duration>,
    processor: Vec<Duration>,
}

/// Measures our functions, without a limit and over TLS.
pub async fn measure(ours: &Contestant, now: DateTime<Utc>) -> Vec<Section> {
    let engine = Engine::start().await;
    let tables = ours.prepare(&engine, SUBSCRIPTIONS, now).await;
    vec![
        Section::new("exactly-once", with_and_without(ours, &engine, &tables).await),
        Section::new("callers", callers(ours, &engine, &tables).await),
    ]
}

/// Cancels with a key and without one, in turns. The key is all that differs.
async fn with_and_without(ours: &Contestant, engine: &Engine, tables: &Prepared) -> Table {
    let event = |has_key: bool, operation: u64| {
        let mut event = given::cancel(&tables.token, SUBSCRIPTIONS, operation);
        if !has_key {
            event["headers"].as_object_mut().unwrap().remove("x-idempotency-key");
        }
        event
    };
    let mut measured: [Measured; 2] = Default::default();
    let mut function = start(ours, tables, engine, &engine.tls_url(), &event(true, 0)).await;
    for round in 0..OPERATIONS {
        for (nth, measured) in (0..).zip(&mut measured) {
            let event = event(nth == 0, 2 * round + nth + 1);
            let before = function.processor_time();
            let answer = function.invoke(&event).await;
            expect_ok(&answer.value);
            if round >= OPERATIONS / 10 {
                measured.took.push(answer.after);
                measured.processor.push(function.processor_time() - before);
            }
        }
    }
    function.stop().await;

    let meter = Wire::metered(&engine.url()).await;
    let mut function = start(ours, tables, engine, &meter.url, &event(true, 2 * OPERATIONS + 1)).await;
    let mut used = Vec::new();
    for (nth, has_key) in (2..).zip([true, false]) {
        meter.take_capacity();
        expect_ok(&function.invoke(&event(has_key, 2 * OPERATIONS + nth)).await.value);
        used.push(meter.take_capacity());
    }
    function.stop().await;

    let mut table =
        Table::new(&["a cancellation", "p50", "p99", "CPU", "read units", "write units", "bytes sent"]);
    for ((name, measured), used) in ["with a key", "without"].iter().zip(&measured).zip(&used) {
        table.row(&[
            (*name).to_owned(),
            milliseconds(median(&measured.took)),
            milliseconds(percentile(&measured.took, 0.99)),
            milliseconds(mean(&measured.processor)),
            used.read.to_string(),
            used.write.to_string(),
            used.bytes.to_string(),
        ]);
    }
    let [with, without] = &measured;
    let more = |of: fn(&Measured) -> Duration| {
        format!("{:+.1} %", (of(with).as_secs_f64() / of(without).as_secs_f64() - 1.0) * 100.0)
    };
    table.row(&[
        "the key".to_owned(),
        more(|measured| median(&measured.took)),
        more(|measured| percentile(&measured.took, 0.99)),
        more(|measured| mean(&measured.processor)),
        format!("{:+}", used[0].read - used[1].read),
        format!("{:+}", used[0].write - used[1].write),
        format!("{:+}", used[0].bytes.cast_signed() - used[1].bytes.cast_signed()),
    ]);
    table
}

/// Lets callers cancel one subscription at once, each in a function of its own, one cancellation after another.
async fn callers(ours: &Contestant, engine: &Engine, tables: &Prepared) -> Table {
    let mut table = Table::new(&[
        "callers at once",
        "cancellations",
        "done",
        "answered 409: try again",
        "requests to DynamoDB, each",
        "p50",
        "p99",
        "slowest",
    ]);
    let meter = Wire::metered(&engine.url()).await;
    // Each cancellation is for a date of its own, so each changes something.
    let mut operation = 3 * OPERATIONS;
    for callers in CALLERS {
        let mut functions = Vec::new();
        for _ in 0..callers {
            operation += 1;
            let event = given::cancel(&tables.token, 1, operation);
            functions.push(start(ours, tables, engine, &meter.url, &event).await);
        }
        meter.take_capacity();
        let working = functions.into_iter().map(|mut function| {
            let first = operation + 1;
            operation += OF_EACH;
            async move {
                let mut answers = Vec::new();
                for operation in first..first + OF_EACH {
                    answers.push(function.invoke(&given::cancel(&tables.token, 1, operation)).await);
                }
                function.stop().await;
                answers
            }
        });
        let answers: Vec<_> = join_all(working.collect::<Vec<_>>()).await.into_iter().flatten().collect();
        let requests = meter.take_capacity().requests.len();
        let took: Vec<_> = answers.iter().map(|answer| answer.after).collect();
        let with = |status: u16| answers.iter().filter(|answer| answer.value["statusCode"] == status).count();
        assert_eq!(with(200) + with(409), answers.len(), "another answer than 200 or 409");
        table.row(&[
            callers.to_string(),
            answers.len().to_string(),
            with(200).to_string(),
            with(409).to_string(),
            format!("{:.2}", requests as f64 / answers.len() as f64),
            milliseconds(median(&took)),
            milliseconds(percentile(&took, 0.99)),
            milliseconds(percentile(&took, 1.0)),
        ]);
    }
    table
}

async fn start(ours: &Contestant, tables: &Prepared, engine: &Engine, url: &str, first: &Value) -> Function {
    let variables = tables.variables(url, engine.certificate());
    let bootstrap = ours.bootstrap(Operation::Cancel);
    let (function, answer) =
        Function::start(&bootstrap, &variables, Share::Whole, Stdio::null(), first).await;
    expect_ok(&answer);
    function
}

fn expect_ok(answer: &Value) {
    assert_eq!(answer["statusCode"], json!(200), "{answer}");
}
