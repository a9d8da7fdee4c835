//! The binary, as Lambda runs it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect should panic"
)]

mod death;

use harness::{ACTIVATED, Service, event, lambda};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_cancel-subscription");

#[tokio::test]
async fn a_cancellation_is_done_once_and_replayed_by_another_process() {
    let service = Service::start().await;
    let mut event = event("cancel-subscription/ok");
    event["headers"]["x-api-key"] = json!(service.api_key);
    event["headers"]["x-actor"] = json!("agent Berg");

    let first = lambda::invoke(BINARY, &service.dynamodb_url, &event).await;
    let counted = |name: &str, by: &str| (name.into(), "Count".into(), by.into(), 1.0);
    assert_eq!(first.metrics(), [counted("CancellationsScheduled", "OTHER"), counted("Requests", "ok")]);
    let response = first.outcome.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
    assert_eq!(response["headers"].get("idempotent-replayed"), None);
    assert_eq!(service.version(ACTIVATED).await, 2);

    let again = lambda::invoke(BINARY, &service.dynamodb_url, &event).await;
    assert_eq!(again.metrics(), [counted("Requests", "replayed")]);
    let again = again.outcome.unwrap();
    assert_eq!(again["headers"]["idempotent-replayed"], "true");
    assert_eq!(again["body"], response["body"]);
    assert_eq!(service.version(ACTIVATED).await, 2);

    let log = json!(first.log).to_string();
    for secret in [service.api_key.as_str(), "Lindqvist", "Moves abroad", "Berg", "8c5e5b0e-4f0f"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn a_body_in_base64_is_decoded() {
    let service = Service::start().await;
    let mut event = event("cancel-subscription/ok");
    event["headers"]["x-api-key"] = json!(service.api_key);
    event["body"] = json!("eyJzY2hlZHVsZSI6IHsidHlwZSI6ICJDYW5jZWxOZXh0RGF5In0sICJyZWFzb24iOiAiRlJBVUQifQ==");
    event["isBase64Encoded"] = json!(true);
    let response = lambda::invoke(BINARY, &service.dynamodb_url, &event).await.outcome.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
}

#[tokio::test]
async fn an_event_with_malformed_parts_is_answered() {
    let service = Service::start().await;
    for (part, value, status) in [
        ("/rawQueryString", json!("<a b>"), 400),
        ("/rawPath", json!(":99999"), 200),
        ("/rawPath", json!("/p".repeat(35_000)), 200),
        ("/headers/host", json!("[::1"), 200),
        ("/headers/x-forwarded-proto", json!(""), 200),
        ("/requestContext/domainName", json!("a b"), 200),
        ("/requestContext/stage", json!("v 1"), 200),
        ("/isBase64Encoded", json!(true), 400),
    ] {
        let mut event = event("cancel-subscription/ok");
        event["headers"]["x-api-key"] = json!(service.api_key);
        event["headers"].as_object_mut().unwrap().remove("x-idempotency-key");
        *event.pointer_mut(part).unwrap() = value;
        let response = lambda::invoke(BINARY, &service.dynamodb_url, &event).await.outcome.unwrap();
        assert_eq!(response["statusCode"], status, "{part}: {response}");
    }
}
