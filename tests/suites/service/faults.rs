//! Faults between the service and its database. Whatever happens, a request ends in one of three ways. It is done, and the
//! caller knows. Or nothing was done, and the caller may retry. Or it is done, and the caller finds out by a retry. Each test
//! meets one kind of request with every fault, at each operation that the request needs.

#![allow(clippy::print_stdout, reason = "the tests print the numbers of requests and faults")]

mod cancel_subscription;
mod execute_cancellations;
mod get_subscription;
mod late;

use harness::{ACTIVATED, Fault, Service, cancel_next_day};

/// Number of attempts that meet a fault: only the SDK's first one, or all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Times {
    Once,
    Always,
}

pub(crate) const TIMES: [Times; 2] = [Times::Once, Times::Always];

/// Returns the faults after which the database has not carried out the request.
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

/// Returns the faults after which the database has carried out the request, and the service can't know.
fn after() -> Vec<(&'static str, Fault)> {
    vec![
        ("the answer is lost", Fault::DropAnswer),
        ("the answer breaks off", Fault::CutAnswer),
        ("the answer comes too late for a gateway", Fault::GatewayTimeout),
    ]
}

/// The SDK's own protection against this is off, as each attempt has a time-out of two seconds.
#[tokio::test]
async fn an_answer_that_stops_in_its_middle_is_given_up_and_asked_for_again() {
    let (_database, service, wire) = Service::start_wired().await;
    wire.next("BatchGetItem", [Fault::StallAnswer]);
    assert_eq!(service.get(ACTIVATED).await.status, 200);
    wire.next("TransactWriteItems", [Fault::StallAnswer]);
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    assert_eq!(wire.faults(), 2);
}

/// Returns all faults, with true if the database carries out the request all the same. A service can't meet many more than
/// these: the SDK stops retrying after too many failures of the database.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Fault, bool)> {
    let before = before().into_iter().map(|(name, fault)| (name, fault, false));
    before.chain(after().into_iter().map(|(name, fault)| (name, fault, true)))
}
