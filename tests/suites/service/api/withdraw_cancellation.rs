//! `DELETE /subscriptions/{subscriptionId}/cancel`.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::api_key::Scope;
use harness::{ACTIVATED, ACTIVATED_TOO, CANCELLED, Response, Service, cancel_at, cancel_next_day};
use reqwest::Method;
use serde_json::json;

/// Asserts that a replay has the status, the body and the ETag of the answer that it repeats.
fn assert_replays(replay: &Response, first: &Response) {
    assert_eq!((first.is_replay(), replay.is_replay()), (false, true));
    assert_eq!((replay.status, &replay.body), (first.status, &first.body));
    assert_eq!(replay.header("etag"), first.header("etag"));
}

#[tokio::test]
async fn a_withdrawn_cancellation_is_never_executed() {
    let service = Service::start().await;
    let before = service.get(ACTIVATED).await.json();
    service.cancel(ACTIVATED, &cancel_next_day()).await;

    let withdrawn = service.withdraw(ACTIVATED).await;
    assert_eq!((withdrawn.status, service.version(ACTIVATED).await), (200, 3));
    let mut expected = before;
    expected["updatedAt"] = withdrawn.json()["updatedAt"].clone();
    assert_eq!(withdrawn.json(), expected, "the same as before the cancellation, but for updatedAt");
    assert_eq!(service.get(ACTIVATED).await.body, withdrawn.body);
    assert_eq!(service.due("9999-01-01T00:00:00Z").await, Vec::<String>::new());

    service.set_clock("2026-02-03T00:00:00Z").await;
    assert_eq!(service.execute().await["due"], 0);
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "ACTIVATED");
}

#[tokio::test]
async fn a_withdrawn_cancellation_is_kept_with_the_key_and_time_of_the_withdrawal() {
    let service = Service::start().await;
    let other_key = service.add_key("demo", "other", &[Scope::Cancel]).await.reveal();
    let mut body = cancel_next_day();
    body["comment"] = json!("moves abroad");
    service.cancel("rid_crm-1001", &body).await;
    let mut kept = service.stored(ACTIVATED).await["cancellation"].as_m().unwrap().clone();
    let path = "/subscriptions/rid_crm-1001/cancel";
    service.advance_clock("PT10M").await;
    let withdrawn = service.send(Method::DELETE, path, &[("X-Api-Key", &other_key)], b"").await;

    let stored = service.stored(ACTIVATED).await;
    for gone in ["cancellationId", "dueShard", "dueAt"] {
        assert!(!stored.contains_key(gone), "{gone}");
    }
    let at = withdrawn.json()["updatedAt"].as_str().unwrap().to_owned();
    kept.insert("withdrawnAt".to_owned(), AttributeValue::S(at));
    kept.insert("withdrawnBy".to_owned(), AttributeValue::S("other".to_owned()));
    assert_eq!(stored["cancellation"], AttributeValue::M(kept));
}

#[tokio::test]
async fn only_a_pending_cancellation_can_be_withdrawn() {
    let service = Service::start().await;
    service.withdraw(ACTIVATED).await.assert_problem(409, "no_pending_cancellation");
    service.withdraw(CANCELLED).await.assert_problem(409, "subscription_already_cancelled");
    service.withdraw("rid_nobody").await.assert_problem(404, "subscription_not_found");
    service.withdraw("x").await.assert_problem(400, "invalid_subscription_id");
    let reads = service.add_key("demo", "reads", &[Scope::Read]).await.reveal();
    let path = format!("/subscriptions/{ACTIVATED}/cancel");
    let answer = service.send(Method::DELETE, &path, &[("X-Api-Key", &reads)], b"").await;
    answer.assert_problem(403, "insufficient_scope");
    let others = service.add_tenant("other", &Scope::ALL).await;
    let answer = service.send(Method::DELETE, &path, &[("X-Api-Key", &others)], b"").await;
    answer.assert_problem(404, "subscription_not_found");

    service.cancel(ACTIVATED, &cancel_next_day()).await;
    assert_eq!(service.withdraw(ACTIVATED).await.status, 200);
    service.withdraw(ACTIVATED).await.assert_problem(409, "no_pending_cancellation");
    assert_eq!(service.version(ACTIVATED).await, 3);
    // The subscription can be cancelled again.
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    assert_eq!(service.due("9999-01-01T00:00:00Z").await, [ACTIVATED]);
}

#[tokio::test]
async fn a_cancellation_can_be_withdrawn_until_it_is_executed() {
    let service = Service::start().await;
    for id in [ACTIVATED, ACTIVATED_TOO] {
        service.cancel(id, &cancel_next_day()).await;
    }
    service.set_clock("2026-01-31T23:00:30Z").await;
    assert_eq!(service.withdraw(ACTIVATED).await.status, 200);
    assert_eq!(service.execute().await["executed"], 1);
    service.withdraw(ACTIVATED_TOO).await.assert_problem(409, "subscription_already_cancelled");
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "ACTIVATED");
}

#[tokio::test]
async fn a_withdrawal_with_a_key_is_done_once() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let first = service.withdraw_once(ACTIVATED, "k").await;
    assert_eq!(first.status, 200);

    // The retry does not withdraw a cancellation that was scheduled meanwhile.
    service.cancel(ACTIVATED, &cancel_at("2026-06-01")).await;
    assert_replays(&service.withdraw_once(ACTIVATED, "k").await, &first);
    assert_eq!(service.due("9999-01-01T00:00:00Z").await, [ACTIVATED]);
    assert_eq!(service.version(ACTIVATED).await, 4);

    let refused = service.withdraw_once(ACTIVATED_TOO, "l").await;
    refused.assert_problem(409, "no_pending_cancellation");
    service.cancel(ACTIVATED_TOO, &cancel_next_day()).await;
    assert_replays(&service.withdraw_once(ACTIVATED_TOO, "l").await, &refused);
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_method() {
    let service = Service::start().await;
    service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    service.withdraw_once(ACTIVATED, "k").await.assert_problem(409, "idempotency_key_mismatch");
    assert_eq!(service.version(ACTIVATED).await, 2);

    service.withdraw_once(ACTIVATED, "l").await;
    let again = service.cancel_once(ACTIVATED, "l", &cancel_next_day()).await;
    again.assert_problem(409, "idempotency_key_mismatch");
    assert_eq!(service.version(ACTIVATED).await, 3);
}

#[tokio::test]
async fn the_body_of_a_withdrawal_is_ignored_but_counts_for_the_fingerprint() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let path = format!("/subscriptions/{ACTIVATED}/cancel");
    let headers = [("X-Api-Key", service.api_key.as_str()), ("X-Idempotency-Key", "k")];
    assert_eq!(service.send(Method::DELETE, &path, &headers, b"{").await.status, 200);
    assert!(service.send(Method::DELETE, &path, &headers, b"{").await.is_replay());
    let other = service.send(Method::DELETE, &path, &headers, b"").await;
    other.assert_problem(409, "idempotency_key_mismatch");
}

#[tokio::test]
async fn a_first_withdrawal_takes_two_requests_and_its_replay_one() {
    let (database, service, wire) = Service::start_wired().await;
    database.cancel(ACTIVATED, &cancel_next_day()).await;
    assert_eq!(service.withdraw_once(ACTIVATED, "k").await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems"]);
    wire.forget();
    assert!(service.withdraw_once(ACTIVATED, "k").await.is_replay());
    assert_eq!(wire.seen(), ["BatchGetItem"]);

    database.cancel(ACTIVATED, &cancel_next_day()).await;
    wire.forget();
    assert_eq!(service.withdraw("rid_crm-1001").await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "GetItem", "TransactWriteItems"]);
}

#[tokio::test]
async fn a_withdrawal_that_arrives_after_the_execution_is_refused() {
    let (database, service, wire) = Service::start_wired().await;
    database.cancel(ACTIVATED, &cancel_next_day()).await;
    let held = wire.hold_request("TransactWriteItems");
    let (answer, ()) = tokio::join!(service.withdraw_once(ACTIVATED, "k"), async {
        held.reached().await;
        database.set_clock("2026-01-31T23:00:00Z").await;
        assert_eq!(database.execute().await["executed"], 1);
        held.release();
    });
    answer.assert_problem(409, "subscription_already_cancelled");
    assert_replays(&service.withdraw_once(ACTIVATED, "k").await, &answer);
    assert_eq!(database.get(ACTIVATED).await.json()["status"], "CANCELLED");
}

#[tokio::test]
async fn an_execution_that_arrives_after_a_withdrawal_is_skipped() {
    let (database, service, wire) = Service::start_wired().await;
    database.cancel(ACTIVATED, &cancel_next_day()).await;
    database.set_clock("2026-01-31T23:00:00Z").await;
    service.set_clock("2026-01-31T23:00:00Z").await;
    let held = wire.hold_request("UpdateItem");
    let (swept, ()) = tokio::join!(service.execute(), async {
        held.reached().await;
        assert_eq!(database.withdraw(ACTIVATED).await.status, 200);
        held.release();
    });
    assert_eq!((&swept["executed"], &swept["skipped"], &swept["failed"]), (&json!(0), &json!(1), &json!(0)));
    assert_eq!(database.get(ACTIVATED).await.json()["status"], "ACTIVATED");
}

#[tokio::test]
async fn a_retried_withdrawal_without_a_key_leaves_a_later_cancellation() {
    let (database, service, wire) = Service::start_wired().await;
    database.cancel(ACTIVATED, &cancel_next_day()).await;
    let held = wire.hold_answer("TransactWriteItems");
    let (answer, ()) = tokio::join!(service.withdraw(ACTIVATED), async {
        held.reached().await;
        assert_eq!(database.cancel(ACTIVATED, &cancel_at("2026-06-01")).await.status, 200);
        // The answer is never released: the attempt times out, and the SDK retries.
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems", "TransactWriteItems"]);
    assert_eq!(database.due("9999-01-01T00:00:00Z").await, [ACTIVATED]);
    assert_eq!(database.version(ACTIVATED).await, 4);
}
