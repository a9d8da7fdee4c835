use harness::{ACTIVATED, Fault, Service};
use reqwest::Method;

use super::{TIMES, Times, all};

/// Reads a subscription, or a part of it, with each of these faults on the wire, and again without it.
async fn meet(read: &str, operation: &str, faults: impl Iterator<Item = (&'static str, Fault)>) {
    let path = format!("/subscriptions{read}");
    let (_database, service, wire) = Service::start_wired().await;
    let headers = [("X-Api-Key", service.api_key.as_str())];
    let read = async || service.send(Method::GET, &path, &headers, b"").await;
    for (fault, met) in faults {
        for times in TIMES {
            match times {
                Times::Once => wire.next(operation, [met.clone()]),
                Times::Always => wire.always(operation, met.clone()),
            }
            let answer = read().await;
            wire.clear_faults();
            match times {
                Times::Once => assert_eq!(answer.status, 200, "{operation}: {fault}"),
                Times::Always => answer.assert_problem(503, "temporarily_unavailable"),
            }
            assert_eq!(read().await.status, 200, "{operation}: {fault}");
        }
    }
    println!("{} requests at the wire met {} faults", wire.seen().len(), wire.faults());
}

#[tokio::test]
async fn a_read_is_answered_or_the_caller_is_told_to_try_again() {
    let unprocessed = [("keys unprocessed", Fault::LeaveUnprocessed)];
    meet(
        &format!("/{ACTIVATED}"),
        "BatchGetItem",
        all().map(|(name, fault, _)| (name, fault)).chain(unprocessed),
    )
    .await;
}

#[tokio::test]
async fn a_read_by_reference_id_is_answered_or_the_caller_is_told_to_try_again() {
    meet("/rid_crm-1001", "GetItem", all().map(|(name, fault, _)| (name, fault))).await;
}

#[tokio::test]
async fn a_page_of_the_history_is_answered_or_the_caller_is_told_to_try_again() {
    meet(&format!("/{ACTIVATED}/history"), "Query", all().map(|(name, fault, _)| (name, fault))).await;
}

#[tokio::test]
async fn a_search_is_answered_or_the_caller_is_told_to_try_again() {
    for (query, operation) in
        [("msisdn=46701740605", "Query"), ("customerId=1", "Query"), ("referenceId=crm-1001", "GetItem")]
    {
        meet(&format!("?{query}"), operation, all().map(|(name, fault, _)| (name, fault))).await;
    }
}
