//! The costs of the operations, and the units behind them, as tables.

use std::time::Duration;

use harness::template::template;

use super::Taken;
use super::prices::{
    GB_OF_LOG, GB_SECOND, LINE, MILLION_EVENTS, MILLION_INVOCATIONS, MILLION_READ_UNITS, MILLION_REQUESTS,
    MILLION_WRITE_UNITS,
};
use crate::report::{Table, dollars};

/// The operations, in the order of the tables.
const OPERATIONS: [&str; 10] = [
    "GET",
    "GET cancellation",
    "GET history",
    "preview",
    "cancel",
    "audited cancel",
    "withdraw",
    "replay",
    "execution",
    "event",
];

/// Returns the price of the time of a million, without the invocations.
pub fn lambda(billed: Duration, memory: u32) -> f64 {
    billed.as_secs_f64() * 1_000_000.0 * f64::from(memory) / 1_024.0 * GB_SECOND
}

/// Returns the price of the log of a million. A line's end is a byte that CloudWatch does not count.
pub fn log(bytes: f64, lines: f64) -> f64 {
    (bytes + lines * (LINE - 1.0)) * 1_000_000.0 / 1e9 * GB_OF_LOG
}

/// Returns the length of a usual line of the gateway's log, as the template has it.
fn access_line() -> f64 {
    let stage = &template()["Resources"]["HttpStage"]["Properties"];
    let mut line = stage["AccessLogSettings"]["Format"].as_str().unwrap().to_owned();
    for (variable, value) in [
        ("$context.integration.requestId", "0637a8be-7b15-4d64-83ab-c9aaef8f50bd"),
        ("$context.integrationErrorMessage", "-"),
        ("$context.error.message", "-"),
        ("$context.responseLatency", "14"),
        ("$context.requestTime", "31/Jan/2026:22:30:00 +0000"),
        ("$context.requestId", "tbkGHQv1s2SOGB="),
        ("$context.identity.sourceIp", "203.0.113.17"),
        ("$context.routeKey", "POST /subscriptions/{subscriptionId}/cancel"),
        ("$context.status", "200"),
    ] {
        line = line.replace(variable, value);
    }
    assert!(!line.contains('$'), "{line}");
    (line + "\n").len() as f64
}

pub fn tables(all: &[Taken]) -> (Table, Table) {
    let mut units = Table::new(&[
        "operation",
        "contestant",
        "requests",
        "bytes sent",
        "read units",
        "write units",
        "emulator's account",
        "log, bytes",
        "metrics, bytes",
    ]);
    let mut costs = Table::new(&[
        "a million of",
        "contestant",
        "DynamoDB",
        "billed",
        "Lambda",
        "gateway",
        "log",
        "events",
        "all in",
        "ours / it",
    ]);
    let access_line = access_line();
    let cost = |taken: &Taken| {
        let database = taken.used.read * MILLION_READ_UNITS + taken.used.write * MILLION_WRITE_UNITS;
        let lambda = taken.invocations * MILLION_INVOCATIONS + lambda(taken.billed, taken.memory);
        let bytes = taken.log.bytes + taken.requests * access_line;
        let log = log(bytes, taken.log.lines + taken.requests);
        [database, lambda, taken.requests * MILLION_REQUESTS, log, taken.events * MILLION_EVENTS]
    };
    let all_in = |taken: &Taken| cost(taken).iter().sum::<f64>();
    for operation in OPERATIONS {
        let of = |taken: &&Taken| taken.operation == operation;
        let ours = all.iter().filter(of).find(|taken| taken.contestant == "ours").map(all_in);
        for taken in all.iter().filter(of) {
            let Taken { contestant, used, billed, log, .. } = taken;
            units.row(&[
                operation.to_owned(),
                (*contestant).to_owned(),
                used.requests.len().to_string(),
                used.bytes.to_string(),
                used.read.to_string(),
                used.write.to_string(),
                used.by_emulator.to_string(),
                format!("{:.0}", log.bytes - log.of_metrics),
                format!("{:.0}", log.of_metrics),
            ]);
            if *contestant == "floor" {
                continue;
            }
            let [database, lambda, gateway, log, events] = cost(taken);
            let part = ours.map_or(1.0, |ours| ours / all_in(taken));
            costs.row(&[
                operation.to_owned(),
                (*contestant).to_owned(),
                dollars(database),
                format!("{:.2} ms", billed.as_secs_f64() * 1_000.0),
                dollars(lambda),
                dollars(gateway),
                dollars(log),
                dollars(events),
                dollars(all_in(taken)),
                if *contestant == "ours" { String::new() } else { format!("{part:.2}") },
            ]);
        }
    }
    (units, costs)
}
