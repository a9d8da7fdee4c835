//! `GET /subscriptions/{subscriptionId}/cancellation`: who requested a cancellation, when and why, and what came of it.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::api_key::Scope;
use harness::{ACTIVATED, ACTIVATED_TOO, CANCELLED, Response, START, Service, cancel_at, cancel_next_day};
use reqwest::Method;
use serde_json::{Value, json};

async fn read(service: &Service, subscription: &str) -> Response {
    read_as(service, &service.api_key, subscription).await
}

async fn read_as(service: &Service, api_key: &str, subscription: &str) -> Response {
    let path = format!("/subscriptions/{subscription}/cancellation");
    service.send(Method::GET, &path, &[("X-Api-Key", api_key)], b"").await
}

#[tokio::test]
async fn a_cancellation_says_what_was_requested_by_whom_and_what_came_of_it() {
    let service = Service::start().await;
    read(&service, ACTIVATED).await.assert_problem(404, "no_cancellation");

    let metadata = r#"{"ticket": "T-1", "digits": 0.10000000000000000000000000001}"#;
    let body = format!(
        r#"{{"schedule": {{"type": "CancelNextDay"}}, "reason": "OTHER", "comment": "Moves", "metadata": {metadata}}}"#
    );
    let headers = [("X-Api-Key", service.api_key.as_str()), ("X-Actor", "agent-17")];
    let cancelled = service.cancel_as(ACTIVATED, &headers, body.as_bytes()).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());

    let pending = read(&service, "rid_crm-1001").await;
    assert_eq!(pending.header("etag"), cancelled.header("etag"));
    assert!(pending.text().contains(metadata), "{}", pending.text());
    let key_id = service.api_key.split('_').nth(2).unwrap();
    let mut expected = json!({
        "cancellationId": pending.json()["cancellationId"],
        "state": "PENDING",
        "scheduledAt": "2026-02-01",
        "effectiveAt": "2026-01-31T23:00:00Z",
        "timeZone": "Europe/Stockholm",
        "reason": "OTHER",
        "comment": "Moves",
        "metadata": serde_json::from_str::<Value>(metadata).unwrap(),
        "requestedAt": START,
        "requestedBy": {"keyId": key_id, "actor": "agent-17"},
    });
    assert_eq!(pending.json(), expected);

    // With the ETag, exactly this cancellation is withdrawn.
    service.advance_clock("PT10M").await;
    let etag = pending.header("etag").unwrap();
    let other = service.add_key("demo", "other", &[Scope::Cancel]).await.reveal();
    let headers = [("X-Api-Key", other.as_str()), ("X-Actor", "agent-4"), ("If-Match", etag)];
    let path = format!("/subscriptions/{ACTIVATED}/cancel");
    assert_eq!(service.send(Method::DELETE, &path, &headers, b"").await.status, 200);
    expected["state"] = json!("WITHDRAWN");
    expected["withdrawnAt"] = json!("2026-01-31T22:40:00Z");
    expected["withdrawnBy"] = json!({"keyId": "other", "actor": "agent-4"});
    assert_eq!(read(&service, ACTIVATED).await.json(), expected);
}

#[tokio::test]
async fn an_executed_cancellation_has_the_promised_instant_and_the_time_of_its_execution() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_at("2026-06-01")).await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.set_clock("2026-01-31T23:00:41Z").await;
    assert_eq!(service.execute().await["executed"], 1);
    let executed = read(&service, ACTIVATED).await.json();
    assert_eq!(
        (&executed["state"], &executed["scheduledAt"], &executed["effectiveAt"], &executed["executedAt"]),
        (
            &json!("EXECUTED"),
            &json!("2026-02-01"),
            &json!("2026-01-31T23:00:00Z"),
            &json!("2026-01-31T23:00:41Z")
        )
    );
}

#[tokio::test]
async fn an_imported_cancellation_has_neither_reason_nor_requester() {
    let id = "a81bc81b-dead-4e5d-abff-90865d1e13b1";
    let pending = json!({"status": "CANCELLED", "scheduledAt": "2026-05-01"});
    let document = json!({"subscriptionId": id, "status": "ACTIVATED", "pendingStatus": pending});
    let service = Service::start_seeded(&[document]).await;
    let imported = read(&service, id).await.json();
    assert_eq!((&imported["state"], &imported["scheduledAt"]), (&json!("PENDING"), &json!("2026-05-01")));
    assert_eq!((imported.get("reason"), imported.get("requestedBy")), (None, None));
}

#[tokio::test]
async fn a_cancellation_whose_state_is_unclear_is_not_shown() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    // Another system writes a document without the cancellation.
    let gold = AttributeValue::S("gold".to_owned());
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET loyalty = :value REMOVE document.pendingStatus", gold).await;
    read(&service, ACTIVATED).await.assert_problem(404, "no_cancellation");
}

#[tokio::test]
async fn only_a_key_with_the_scope_reads_a_cancellation_of_its_tenant() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    for scopes in [&[][..], &[Scope::Read, Scope::Cancel]] {
        let key = service.add_key("demo", &format!("k{}", scopes.len()), scopes).await.reveal();
        let refused = read_as(&service, &key, ACTIVATED).await;
        refused.assert_problem(403, "insufficient_scope");
        assert!(refused.json()["detail"].as_str().unwrap().contains("cancellations:read"));
    }
    let key = service.add_key("demo", "reads", &[Scope::ReadCancellations]).await.reveal();
    assert_eq!(read_as(&service, &key, ACTIVATED).await.status, 200);
    service.get_as(&key, ACTIVATED).await.assert_problem(403, "insufficient_scope");
    let others = service.add_tenant("other", &Scope::ALL).await;
    read_as(&service, &others, ACTIVATED).await.assert_problem(404, "subscription_not_found");
    read_as(&service, "x", ACTIVATED).await.assert_problem(401, "api_key_invalid");
    read(&service, "x").await.assert_problem(400, "invalid_subscription_id");
    // Cancelled before this service knew the subscription.
    read(&service, CANCELLED).await.assert_problem(404, "no_cancellation");
}

#[tokio::test]
async fn a_cancellation_is_read_with_one_request_and_one_more_by_reference_id() {
    let (database, service, wire) = Service::start_wired().await;
    database.cancel(ACTIVATED, &cancel_next_day()).await;
    assert_eq!(read_as(&service, &database.api_key, ACTIVATED).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem"]);
    wire.forget();
    assert_eq!(read_as(&service, &database.api_key, "rid_crm-1001").await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "GetItem"]);
}

#[tokio::test]
async fn an_actor_is_kept_and_does_not_count_for_the_fingerprint() {
    let service = Service::start().await;
    let (body, key) = (cancel_next_day(), ("X-Idempotency-Key", "k"));
    let first = service.cancel_with(ACTIVATED, &[key, ("X-Actor", "Lindqvist, Astrid")], &body).await;
    assert_eq!(first.status, 200);
    assert!(service.cancel_with(ACTIVATED, &[key, ("X-Actor", "agent-4")], &body).await.is_replay());
    let kept = read(&service, ACTIVATED).await.json();
    assert_eq!(kept["requestedBy"]["actor"], "Lindqvist, Astrid");

    let longest = "x".repeat(128);
    assert_eq!(service.cancel_with(ACTIVATED_TOO, &[("X-Actor", &longest)], &body).await.status, 200);
    let longer = "x".repeat(129);
    for actor in ["", "ü", &longer] {
        let refused = service.cancel_with(ACTIVATED, &[key, ("X-Actor", actor)], &body).await;
        refused.assert_problem(400, "actor_invalid");
        service.withdraw_with(ACTIVATED, &[("X-Actor", actor)]).await.assert_problem(400, "actor_invalid");
    }
    assert_eq!(service.version(ACTIVATED).await, 2);
}
