//! Writes that arrive late: their sender has given up, and the state has changed since.

use harness::{ACTIVATED, Fault, Service, cancel_at, cancel_next_day};

#[tokio::test]
async fn a_commit_that_arrives_after_its_own_retry_changes_nothing() {
    let (database, service, wire) = Service::start_wired().await;
    let held = wire.hold_request("TransactWriteItems");
    // The first attempt times out, the second succeeds.
    let answer = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    assert_eq!((answer.status, answer.is_replay()), (200, false));
    let stored = (database.stored(ACTIVATED).await, database.item("idempotency", "demo#k").await);

    held.release();
    wire.settled().await;
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems", "TransactWriteItems"]);
    assert_eq!((database.stored(ACTIVATED).await, database.item("idempotency", "demo#k").await), stored);
}

#[tokio::test]
async fn a_commit_that_arrives_after_another_change_changes_nothing() {
    let (database, service, wire) = Service::start_wired().await;
    let held = wire.hold_request("TransactWriteItems");
    wire.always("TransactWriteItems", Fault::DropRequest);
    let given_up = service.cancel_once(ACTIVATED, "k1", &cancel_next_day()).await;
    given_up.assert_problem(503, "temporarily_unavailable");
    let other = database.cancel_once(ACTIVATED, "k2", &cancel_at("2026-06-01")).await;
    let stored = database.stored(ACTIVATED).await;

    held.release();
    wire.settled().await;
    assert_eq!(database.stored(ACTIVATED).await, stored);
    assert_eq!(database.item("idempotency", "demo#k1").await, None);
    assert_eq!(database.get(ACTIVATED).await.body, other.body);
}

#[tokio::test]
async fn a_commit_that_arrives_before_the_callers_retry_is_replayed() {
    let (database, service, wire) = Service::start_wired().await;
    let held = wire.hold_request("TransactWriteItems");
    wire.always("TransactWriteItems", Fault::DropRequest);
    let given_up = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    given_up.assert_problem(503, "temporarily_unavailable");
    assert_eq!(database.version(ACTIVATED).await, 1);

    held.release();
    wire.settled().await;
    wire.clear_faults();
    let answer = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    assert_eq!((answer.status, answer.is_replay()), (200, true));
    assert_eq!(database.version(ACTIVATED).await, 2);
}

#[tokio::test]
async fn an_execution_that_arrives_after_a_replacement_executes_nothing() {
    let (database, service, wire) = Service::start_wired().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.set_clock("2026-02-01T00:00:00Z").await;
    let held = wire.hold_request("UpdateItem");
    wire.always("UpdateItem", Fault::DropRequest);
    let swept = service.send(reqwest::Method::POST, "/_local/execute-cancellations", &[], b"").await;
    assert_eq!(swept.status, 500);
    let replacement = database.cancel(ACTIVATED, &cancel_at("2026-06-01")).await;
    assert_eq!(replacement.status, 200);

    held.release();
    wire.settled().await;
    assert_eq!(database.get(ACTIVATED).await.body, replacement.body);
}

#[tokio::test]
async fn a_retry_after_a_lost_answer_does_not_undo_another_callers_change() {
    for (key, conflicts) in [(None, 0), (Some("k"), 0), (None, 2), (Some("k"), 2)] {
        let (database, service, wire) = Service::start_wired().await;
        let held = wire.hold_answer("TransactWriteItems");
        // A retry may meet conflicts first. The third attempt here is the service's own, not the SDK's.
        wire.next("TransactWriteItems", vec![Fault::conflict(); conflicts]);
        let headers: Vec<_> = key.iter().map(|key| ("X-Idempotency-Key", *key)).collect();
        let body = cancel_next_day();
        let (first, second) = tokio::join!(service.cancel_with(ACTIVATED, &headers, &body), async {
            held.reached().await;
            // The answer is never released: the attempt times out, and the SDK retries.
            database.cancel_once(ACTIVATED, "other", &cancel_at("2026-06-01")).await
        });
        assert_eq!((first.status, second.status), (200, 200), "{key:?}, {conflicts} conflicts");
        assert_eq!(
            first.json()["pendingStatus"]["scheduledAt"],
            "2026-02-01",
            "{key:?}, {conflicts} conflicts"
        );
        assert_eq!(database.get(ACTIVATED).await.body, second.body, "{key:?}, {conflicts} conflicts");
        assert_eq!(database.version(ACTIVATED).await, 3, "{key:?}, {conflicts} conflicts");
    }
}

#[tokio::test]
async fn a_date_refused_after_midnight_is_not_scheduled_by_an_attempt_from_before_midnight() {
    let (database, service, wire) = Service::start_wired().await;
    let tomorrow = cancel_at("2026-02-01");
    let held = wire.hold_request("TransactWriteItems");
    wire.always("TransactWriteItems", Fault::DropRequest);
    let given_up = service.cancel_once(ACTIVATED, "k", &tomorrow).await;
    given_up.assert_problem(503, "temporarily_unavailable");

    // Midnight in Stockholm.
    service.set_clock("2026-01-31T23:00:01Z").await;
    wire.clear_faults();
    let refused = service.cancel_once(ACTIVATED, "k", &tomorrow).await;
    refused.assert_problem(422, "validation_failed");
    held.release();
    wire.settled().await;

    assert_eq!(database.version(ACTIVATED).await, 1);
    let again = service.cancel_once(ACTIVATED, "k", &tomorrow).await;
    assert_eq!((again.status, again.is_replay(), &again.body), (422, true, &refused.body));
    assert_eq!(service.execute().await["due"], 0);
}

#[tokio::test]
async fn an_attempt_done_before_midnight_is_replayed_to_a_retry_after_midnight() {
    let (database, service, wire) = Service::start_wired().await;
    let tomorrow = cancel_at("2026-02-01");
    let held = wire.hold_request("TransactWriteItems");
    wire.always("TransactWriteItems", Fault::DropRequest);
    service.cancel_once(ACTIVATED, "k", &tomorrow).await.assert_problem(503, "temporarily_unavailable");
    held.release();
    wire.settled().await;
    wire.clear_faults();

    service.set_clock("2026-01-31T23:00:01Z").await;
    let answer = service.cancel_once(ACTIVATED, "k", &tomorrow).await;
    assert_eq!((answer.status, answer.is_replay()), (200, true));
    assert_eq!(database.version(ACTIVATED).await, 2);
}
