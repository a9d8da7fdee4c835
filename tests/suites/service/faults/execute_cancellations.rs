use harness::{Fault, Service, cancel_next_day};
use reqwest::Method;
use serde_json::json;

use super::{TIMES, Times, after, all, before};

/// Outcome of a sweep that finds one cancellation due and meets a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    /// The sweep has executed the cancellation.
    Executed,
    /// The sweep has found the cancellation executed already. It can't know that it did so itself.
    Skipped,
    /// The sweep has failed as a whole, so that the schedule invokes it again.
    Failed,
}

/// Sweeps with a fault on the wire, and again without it.
async fn meet(operation: &str, faults: Vec<(&'static str, Fault, Times, Says, bool)>) {
    let documents: Vec<_> =
        (0..faults.len()).map(|n| json!({"subscriptionId": id(n), "status": "ACTIVATED"})).collect();
    let database = Service::start_seeded(&documents).await;
    let mut requests = 0;
    for (n, (name, fault, times, says, executed)) in faults.into_iter().enumerate() {
        // A service of its own: 16 shards that can't be read use up the retries that the SDK allows.
        let (service, wire) = Service::start_wired_to(&database).await;
        let (id, scenario) = (id(n), format!("{operation}: {name} {times:?}"));
        service.set_clock(harness::START).await;
        assert_eq!(service.cancel(&id, &cancel_next_day()).await.status, 200);
        service.set_clock("2026-02-01T00:00:00Z").await;

        match times {
            Times::Once => wire.next(operation, [fault]),
            Times::Always => wire.always(operation, fault),
        }
        let swept = service.send(Method::POST, "/_local/execute-cancellations", &[], b"").await;
        wire.clear_faults();
        match says {
            Says::Failed => {
                assert_eq!(swept.status, 500, "{scenario}");
                assert!(swept.text().contains("not available"), "{scenario}: {}", swept.text());
            }
            Says::Executed => assert_eq!(swept.json()["executed"], 1, "{scenario}"),
            Says::Skipped => assert_eq!(swept.json()["skipped"], 1, "{scenario}"),
        }
        assert_eq!(database.version(&id).await, if executed { 3 } else { 2 }, "{scenario}");

        let again = service.execute().await;
        assert_eq!(again["executed"], u64::from(!executed), "{scenario}");
        assert_eq!(database.version(&id).await, 3, "{scenario}");
        let cancelled = database.get(&id).await.json();
        assert_eq!(cancelled["status"], "CANCELLED", "{scenario}");
        assert_eq!(cancelled["cancelledAt"], "2026-01-31T23:00:00Z", "{scenario}");
        requests += wire.seen().len();
    }
    println!("{requests} requests at the wire");
}

fn id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_read_by_the_next_sweep() {
    let mut faults = Vec::new();
    for (name, fault, _) in all() {
        // The sweep reads 16 shards. Either the one with the fault recovers, or all of them fail.
        faults.push((name, fault.clone(), Times::Once, Says::Executed, true));
        faults.push((name, fault, Times::Always, Says::Failed, false));
    }
    meet("Query", faults).await;
}

#[tokio::test]
async fn an_execution_that_did_not_arrive_is_sent_again_or_left_to_the_next_sweep() {
    let mut faults = Vec::new();
    let conflict = ("conflict", Fault::refusal("TransactionConflictException"));
    for (name, fault) in before().into_iter().chain([conflict]) {
        faults.push((name, fault.clone(), Times::Once, Says::Executed, true));
        faults.push((name, fault, Times::Always, Says::Failed, false));
    }
    meet("UpdateItem", faults).await;
}

#[tokio::test]
async fn an_execution_whose_answer_is_lost_is_done_once() {
    let mut faults = Vec::new();
    for (name, fault) in after() {
        for times in TIMES {
            let says = if times == Times::Once { Says::Skipped } else { Says::Failed };
            faults.push((name, fault.clone(), times, says, true));
        }
    }
    meet("UpdateItem", faults).await;
}
