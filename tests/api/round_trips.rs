//! What an operation costs: requests to the database, counted at the wire.

use harness::{ACTIVATED, CANCELLED, Service, cancel_next_day};

#[tokio::test]
async fn a_read_is_one_request_and_one_more_by_reference_id() {
    let (_database, service, wire) = Service::start_wired().await;
    assert_eq!(service.get(ACTIVATED).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem"]);

    wire.forget();
    assert_eq!(service.get("rid_crm-1001").await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "GetItem"]);
}

#[tokio::test]
async fn a_first_cancellation_is_two_requests_and_its_replay_one() {
    let (_database, service, wire) = Service::start_wired().await;
    let body = cancel_next_day();
    assert_eq!(service.cancel_once(ACTIVATED, "k", &body).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems"]);

    wire.forget();
    assert!(service.cancel_once(ACTIVATED, "k", &body).await.is_replay());
    assert_eq!(wire.seen(), ["BatchGetItem"]);
}

#[tokio::test]
async fn a_cancellation_by_reference_id_is_three_requests_and_its_replay_one() {
    let (_database, service, wire) = Service::start_wired().await;
    let body = cancel_next_day();
    assert_eq!(service.cancel_once("rid_crm-1001", "k", &body).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "GetItem", "TransactWriteItems"]);

    wire.forget();
    assert!(service.cancel_once("rid_crm-1001", "k", &body).await.is_replay());
    assert_eq!(wire.seen(), ["BatchGetItem"]);
}

#[tokio::test]
async fn without_an_idempotency_key_there_is_no_transaction() {
    let (_database, service, wire) = Service::start_wired().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "UpdateItem"]);

    // Nothing to change, nothing to remember.
    wire.forget();
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem"]);
}

#[tokio::test]
async fn a_refusal_to_remember_is_one_write() {
    let (_database, service, wire) = Service::start_wired().await;
    assert_eq!(service.cancel_once(CANCELLED, "k", &cancel_next_day()).await.status, 409);
    assert_eq!(wire.seen(), ["BatchGetItem", "PutItem"]);
}

#[tokio::test]
async fn a_sweep_with_nothing_due_is_one_query_a_shard() {
    let (_database, service, wire) = Service::start_wired().await;
    assert_eq!(service.execute().await["due"], 0);
    assert_eq!(wire.seen(), vec!["Query"; 16]);
}

#[tokio::test]
async fn an_execution_is_one_write() {
    let (_database, service, wire) = Service::start_wired().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.set_clock("2026-02-01T00:00:00Z").await;
    wire.forget();
    assert_eq!(service.execute().await["executed"], 1);
    let seen = wire.seen();
    assert_eq!(seen.iter().filter(|operation| *operation == "UpdateItem").count(), 1);
    assert_eq!(seen.len(), 17);
}
