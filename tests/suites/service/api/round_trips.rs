//! The requests to the database that each operation takes, counted at the wire, and the additional ones if the database is busy
//! or an answer is lost.

use harness::{ACTIVATED, BLOCKED, CANCELLED, Fault, Service, Wire, cancel_next_day};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_read_takes_one_request_and_one_more_by_reference_id() {
    let (_database, service, wire) = Service::start_wired().await;
    assert_eq!(service.get(ACTIVATED).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem"]);

    wire.forget();
    assert_eq!(service.get("rid_crm-1001").await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "GetItem"]);
}

#[tokio::test]
async fn a_search_takes_two_round_trips() {
    let (_database, service, wire) = Service::start_wired().await;
    for (query, by) in [("msisdn=46701740605", "Query"), ("referenceId=crm-1001", "GetItem")] {
        let headers = [("X-Api-Key", service.api_key.as_str())];
        wire.forget();
        let answer = service.send(Method::GET, &format!("/subscriptions?{query}"), &headers, b"").await;
        assert_eq!(answer.json()["items"][0]["subscriptionId"], ACTIVATED, "{}", answer.text());
        // The first two are sent together.
        let mut seen = wire.seen();
        seen[..2].sort();
        assert_eq!(seen, ["BatchGetItem", by, "BatchGetItem"]);
    }
}

#[tokio::test]
async fn a_page_of_the_history_takes_two_requests_and_one_more_by_reference_id() {
    let (_database, service, wire) = Service::start_wired().await;
    for (subscription, requests) in
        [(ACTIVATED, &["BatchGetItem", "Query"][..]), ("rid_crm-1001", &["BatchGetItem", "GetItem", "Query"])]
    {
        let path = format!("/subscriptions/{subscription}/history");
        let headers = [("X-Api-Key", service.api_key.as_str())];
        wire.forget();
        assert_eq!(service.send(Method::GET, &path, &headers, b"").await.status, 200);
        assert_eq!(wire.seen(), requests);
    }
}

#[tokio::test]
async fn a_first_cancellation_takes_two_requests_and_its_replay_one() {
    let (_database, service, wire) = Service::start_wired().await;
    let body = cancel_next_day();
    assert_eq!(service.cancel_once(ACTIVATED, "k", &body).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems"]);

    wire.forget();
    assert!(service.cancel_once(ACTIVATED, "k", &body).await.is_replay());
    assert_eq!(wire.seen(), ["BatchGetItem"]);
}

#[tokio::test]
async fn a_cancellation_by_reference_id_takes_three_requests_and_its_replay_one() {
    let (_database, service, wire) = Service::start_wired().await;
    let body = cancel_next_day();
    assert_eq!(service.cancel_once("rid_crm-1001", "k", &body).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "GetItem", "TransactWriteItems"]);

    wire.forget();
    assert!(service.cancel_once("rid_crm-1001", "k", &body).await.is_replay());
    assert_eq!(wire.seen(), ["BatchGetItem"]);
}

#[tokio::test]
async fn a_cancellation_without_a_key_takes_two_requests_and_one_if_nothing_changes() {
    let (_database, service, wire) = Service::start_wired().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems"]);

    // Nothing changes, so nothing is written.
    wire.forget();
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem"]);
}

#[tokio::test]
async fn a_recorded_refusal_takes_one_write() {
    let (_database, service, wire) = Service::start_wired().await;
    assert_eq!(service.cancel_once(CANCELLED, "k", &cancel_next_day()).await.status, 409);
    assert_eq!(wire.seen(), ["BatchGetItem", "PutItem"]);
}

#[tokio::test]
async fn a_sweep_with_nothing_due_takes_one_query_a_shard() {
    let (_database, service, wire) = Service::start_wired().await;
    assert_eq!(service.execute().await["due"], 0);
    assert_eq!(of_the_sweep(&wire), vec!["Query"; 16]);
}

/// Returns the requests of a sweep, without `DescribeTable`, by which only the service on one machine asks for the database's
/// time.
fn of_the_sweep(wire: &Wire) -> Vec<String> {
    wire.seen().into_iter().filter(|operation| operation != "DescribeTable").collect()
}

#[tokio::test]
async fn an_execution_takes_one_write() {
    let (_database, service, wire) = Service::start_wired().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.set_clock("2026-02-01T00:00:00Z").await;
    wire.forget();
    assert_eq!(service.execute().await["executed"], 1);
    let seen = of_the_sweep(&wire);
    assert_eq!(seen.iter().filter(|operation| *operation == "UpdateItem").count(), 1);
    // The tenant's time zone is read once, however many of its cancellations are due.
    assert_eq!(seen.iter().filter(|operation| *operation == "GetItem").count(), 1);
    assert_eq!(seen.len(), 16 + 2);
}

#[tokio::test]
async fn keys_that_a_busy_database_leaves_unprocessed_are_asked_for_again() {
    let (_database, service, wire) = Service::start_wired().await;
    wire.next("BatchGetItem", [Fault::LeaveUnprocessed, Fault::LeaveUnprocessed]);
    assert_eq!(service.get(ACTIVATED).await.status, 200);
    assert_eq!(wire.seen(), vec!["BatchGetItem"; 3]);

    wire.always("BatchGetItem", Fault::LeaveUnprocessed);
    service.get(ACTIVATED).await.assert_problem(503, "temporarily_unavailable");
}

#[tokio::test]
async fn a_change_whose_acknowledgement_was_lost_is_not_made_twice() {
    let (database, service, wire) = Service::start_wired().await;
    wire.next("TransactWriteItems", [Fault::GatewayTimeout]);
    let with_key = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    assert_eq!((with_key.status, with_key.is_replay()), (200, false));
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems", "TransactWriteItems"]);
    assert_eq!(database.version(ACTIVATED).await, 2);

    wire.forget();
    wire.next("TransactWriteItems", [Fault::GatewayTimeout]);
    let without_key = service.cancel(BLOCKED, &cancel_next_day()).await;
    assert_eq!(without_key.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems", "TransactWriteItems"]);
    assert_eq!(database.version(BLOCKED).await, 2);
    assert_eq!(without_key.body, database.get(BLOCKED).await.body);
}

#[tokio::test]
async fn a_retried_change_gets_its_own_answer_although_its_date_has_come_meanwhile() {
    let (database, service, wire) = Service::start_wired().await;
    let held = wire.hold_answer("TransactWriteItems");
    let body = cancel_next_day();
    let (answer, ()) = tokio::join!(service.cancel(ACTIVATED, &body), async {
        held.reached().await;
        database.set_clock("2026-02-01T00:00:00Z").await;
        assert_eq!(database.execute().await["executed"], 1);
        // The answer is never released: the attempt times out, and the SDK retries.
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["pendingStatus"]["scheduledAt"], "2026-02-01");
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems", "TransactWriteItems"]);
    assert_eq!(database.get(ACTIVATED).await.json()["status"], "CANCELLED");
    assert_eq!(database.version(ACTIVATED).await, 3);
}

#[tokio::test]
async fn a_sweep_reads_every_page_of_the_index() {
    let documents: Vec<_> = (0..60)
        .map(
            |n| json!({"subscriptionId": format!("00000000-0000-4000-8000-{n:012x}"), "status": "ACTIVATED"}),
        )
        .collect();
    let database = Service::start_seeded(&documents).await;
    let (service, wire) = Service::start_wired_to(&database).await;
    for id in &database.subscription_ids {
        service.cancel(id, &cancel_next_day()).await;
    }
    service.set_clock("2026-02-01T00:00:00Z").await;
    wire.always("Query", Fault::ShortPage(1));
    assert_eq!(service.execute().await["executed"], 60);
}
