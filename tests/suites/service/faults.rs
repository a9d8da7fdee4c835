//! Whatever happens between the service and its database, a request ends in one of three ways: it is done
//! and the caller knows; nothing was done and the caller may try again; or it is done and the caller finds
//! out by trying again. Each test meets one kind of request with every fault, at each operation it needs.

#![allow(clippy::print_stdout, reason = "the tests say how many requests met how many faults")]

mod cancel_subscription;
mod execute_cancellations;
mod get_subscription;
mod late;

use harness::Fault;

/// How often a fault meets a request: the SDK's first attempt only, or all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Times {
    Once,
    Always,
}

const TIMES: [Times; 2] = [Times::Once, Times::Always];

/// Faults after which the database has not done what it was asked.
fn before() -> Vec<(&'static str, Fault)> {
    vec![
        ("the connection breaks", Fault::DropRequest),
        ("throttled", Fault::refusal("ThrottlingException")),
        ("capacity exceeded", Fault::refusal("ProvisionedThroughputExceededException")),
        ("rate exceeded", Fault::refusal("RequestLimitExceeded")),
        ("internal error", Fault::internal_server_error()),
        ("unavailable", Fault::status(503)),
        ("bad gateway", Fault::status(502)),
    ]
}

/// Faults after which the database has done what it was asked, and the service can't know.
fn after() -> Vec<(&'static str, Fault)> {
    vec![
        ("the answer is lost", Fault::DropAnswer),
        ("the answer breaks off", Fault::CutAnswer),
        ("the answer comes too late for a gateway", Fault::GatewayTimeout),
    ]
}

/// A fault, and whether the database does what it was asked all the same. No service meets many more than
/// these: the SDK no longer retries a database that has failed too often.
fn all() -> impl Iterator<Item = (&'static str, Fault, bool)> {
    let before = before().into_iter().map(|(name, fault)| (name, fault, false));
    before.chain(after().into_iter().map(|(name, fault)| (name, fault, true)))
}
