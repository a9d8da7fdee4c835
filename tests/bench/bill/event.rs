//! The publication of an event, after the entry in the history, and a cancellation with that entry.

use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};
use harness::Wire;
use local::bus;
use serde_json::{Value, json};

use super::{BATCH, Log, Logged, TIMED, Taken, memory};
use crate::contestants::{Contestant, Operation};
use crate::engine::Engine;
use crate::function::Function;
use crate::report::whole_milliseconds;
use crate::share::Share;
use crate::subscriptions as given;

/// The operation of a cancellation with an entry of who did it and why.
pub const AUDITED: &str = "audited cancel";

/// Adds to a cancellation of ours its entry in the history: the whole publication, without the price of the bus.
pub fn audited(cancel: &Taken, event: &Taken) -> Taken {
    let (of_cancel, of_event) = (cancel.log, event.log);
    Taken {
        operation: AUDITED,
        contestant: cancel.contestant,
        used: cancel.used.clone().with(&event.used),
        memory: cancel.memory,
        billed: cancel.billed + event.billed,
        invocations: cancel.invocations + event.invocations,
        log: Logged {
            bytes: of_cancel.bytes + of_event.bytes,
            lines: of_cancel.lines + of_event.lines,
            of_metrics: of_cancel.of_metrics + of_event.of_metrics,
        },
        requests: cancel.requests,
        events: 0.0,
    }
}

/// Measures the publication of an event, after its entry in the history, in batches as the stream delivers them. Only ours publish
/// any.
pub async fn event(
    contestants: &[Contestant],
    engine: &Engine,
    now: DateTime<Utc>,
    share: Share,
) -> Option<Taken> {
    let ours = contestants.iter().find(|contestant| contestant.name == "ours")?;
    let bootstrap = ours.folder().join("publish-events/bootstrap");
    let service = harness::Service::start().await;
    let tables = ours.prepare(engine, 1, now).await;
    let (bus, meter) = (service.bus_url(), Wire::metered(&engine.url()).await);
    let variables = |url| {
        let mut variables = tables.variables(url, engine.certificate());
        variables.extend([
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.as_str()),
            ("AWS_ENDPOINT_URL_SQS", bus.as_str()),
            ("EVENT_BUS_NAME", bus::NAME),
            ("FAILED_EVENTS_QUEUE_URL", bus::FAILED_EVENTS),
        ]);
        variables
    };
    let expect_ok = |answer: &Value| assert_eq!(*answer, json!({"batchItemFailures": []}));
    let (function, answer) =
        Function::start(&bootstrap, &variables(&meter.url), share, Stdio::null(), &given::changes(BATCH, 0))
            .await;
    expect_ok(&answer);
    function.stop().await;
    let used = meter.take_capacity().of_each(BATCH);

    let log = Log::new();
    let url = engine.tls_url();
    let first = given::changes(BATCH, 1);
    let (mut function, answer) =
        Function::start(&bootstrap, &variables(&url), share, log.stdout(), &first).await;
    expect_ok(&answer);
    let (mut billed, mut logged) = (Duration::ZERO, Logged::default());
    for round in 0..TIMED {
        log.take();
        let answer = function.invoke(&given::changes(BATCH, round + 2)).await;
        expect_ok(&answer.value);
        billed += whole_milliseconds(answer.after);
        logged = log.take();
    }
    function.stop().await;
    let each = |all: f64| all / f64::from(BATCH);
    Some(Taken {
        operation: "event",
        contestant: ours.name,
        used,
        memory: memory(Operation::Get),
        billed: billed / u32::try_from(TIMED).unwrap() / BATCH,
        invocations: each(1.0),
        log: Logged {
            bytes: each(logged.bytes),
            lines: each(logged.lines),
            of_metrics: each(logged.of_metrics),
        },
        requests: 0.0,
        events: 1.0,
    })
}
