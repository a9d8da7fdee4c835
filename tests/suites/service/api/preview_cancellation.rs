//! `POST /subscriptions/{subscriptionId}/cancel/preview`: the effect that a request to cancel would have, and nothing is written.

use harness::{ACTIVATED, ACTIVATED_TOO, CANCELLED, Response, Service, cancel_at, cancel_next_day};
use reqwest::Method;
use serde_json::{Value, json};

use super::get_subscription::full_document;

async fn preview_with(
    service: &Service,
    subscription: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Response {
    let path = format!("/subscriptions/{subscription}/cancel/preview");
    let mut all = vec![("X-Api-Key", service.api_key.as_str()), ("Content-Type", "application/json")];
    all.extend(headers);
    service.send(Method::POST, &path, &all, body.to_string().as_bytes()).await
}

async fn preview(service: &Service, subscription: &str, body: &Value) -> Response {
    preview_with(service, subscription, &[], body).await
}

#[tokio::test]
async fn a_preview_tells_what_cancelling_does() {
    let service = Service::start().await;
    let next_month = json!({"schedule": {"type": "CancelAtBeginningOfNextMonth"}, "reason": "NO_NEED"});
    for body in [cancel_next_day(), next_month, cancel_at("2026-06-01")] {
        let told = preview(&service, ACTIVATED, &body).await;
        assert_eq!(told.status, 200, "{}", told.text());
        assert_eq!(told.header("etag"), None, "the answer is not about a state of the subscription");
        let told = told.json();
        let before = service.get(ACTIVATED).await.json();
        assert_eq!(told["replaces"].is_object(), before["pendingStatus"].is_object(), "{told}");
        let cancelled = service.cancel(ACTIVATED, &body).await.json();
        assert_eq!(told["scheduledAt"], cancelled["pendingStatus"]["scheduledAt"]);
        let stored = service.stored(ACTIVATED).await;
        let effective_at = stored["cancellation"].as_m().unwrap()["effectiveAt"].as_s().unwrap();
        assert_eq!(told["effectiveAt"], *effective_at);
        assert_eq!(told["timeZone"], "Europe/Stockholm");
        service.withdraw(ACTIVATED).await;
        // What would be replaced by the next one.
        service.cancel(ACTIVATED, &cancel_at("2026-12-24")).await;
    }
}

#[tokio::test]
async fn a_preview_shows_superseded_changes_porting_and_the_binding_period() {
    let service = Service::start_seeded(&[full_document()]).await;
    let told = preview(&service, &service.subscription_ids[0], &cancel_next_day()).await.json();
    assert_eq!(told["supersedes"], full_document()["pendingStatus"]);
    assert_eq!(told["porting"], full_document()["porting"]);
    assert_eq!(told["boundUntil"], "2026-01-03");
    assert_eq!(told.get("replaces"), None);
}

#[tokio::test]
async fn a_preview_is_refused_as_cancelling_is() {
    let service = Service::start().await;
    let (valid, passed) = (cancel_next_day(), cancel_at("2026-01-31"));
    for (subscription, headers, body) in [
        (CANCELLED, &[][..], &valid),
        ("rid_nobody", &[], &valid),
        ("x", &[], &valid),
        (ACTIVATED, &[], &passed),
        (ACTIVATED, &[], &json!({"reason": "BORED"})),
        (ACTIVATED, &[("If-Match", "\"0\"")], &valid),
        (ACTIVATED, &[("X-Actor", "")], &valid),
    ] {
        let refused = preview_with(&service, subscription, headers, body).await;
        let as_cancelling = service.cancel_with(subscription, headers, body).await;
        let without_id = |answer: &Response| {
            let mut problem = answer.json();
            problem.as_object_mut().unwrap().remove("requestId");
            problem
        };
        assert_eq!(refused.status, as_cancelling.status);
        assert_eq!(without_id(&refused), without_id(&as_cancelling));
        assert_eq!(refused.header("etag"), as_cancelling.header("etag"));
    }
    let query = format!("/subscriptions/{ACTIVATED}/cancel/preview?dryRun=true");
    let headers = [("X-Api-Key", service.api_key.as_str()), ("Content-Type", "application/json")];
    let refused = service.send(Method::POST, &query, &headers, valid.to_string().as_bytes()).await;
    refused.assert_problem(400, "unknown_parameter");
}

#[tokio::test]
async fn a_preview_takes_one_read_and_writes_nothing() {
    let (database, service, wire) = Service::start_wired().await;
    let body = cancel_next_day();
    let headers = [("X-Idempotency-Key", "k")];
    let told = preview_with(&service, ACTIVATED, &headers, &body).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(wire.seen(), ["BatchGetItem"]);
    wire.forget();
    assert_eq!(preview(&service, "rid_crm-1001", &body).await.status, 200);
    assert_eq!(wire.seen(), ["BatchGetItem", "GetItem"]);
    // A refusal is not recorded either.
    wire.forget();
    preview_with(&service, CANCELLED, &headers, &body)
        .await
        .assert_problem(409, "subscription_already_cancelled");
    assert_eq!(wire.seen(), ["BatchGetItem"]);

    assert_eq!(database.version(ACTIVATED).await, 1);
    assert!(database.scan("idempotency").await.is_empty());
    // The idempotency key is still free.
    assert!(!service.cancel_once(ACTIVATED_TOO, "k", &body).await.is_replay());
}
