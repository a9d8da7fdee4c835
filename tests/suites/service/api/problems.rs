//! Problems: every answer that is not a success.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::api_key::Scope;
use harness::{ACTIVATED, BLOCKED, CANCELLED, Fault, Response, Service, cancel_next_day};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn every_problem_code_can_be_reached_and_shows_no_internals() {
    let (database, service, wire) = Service::start_wired().await;
    let reads = database.add_key("demo", "reads", &[Scope::Read]).await.reveal();
    let body = cancel_next_day();
    let json = body.to_string();
    let key = ("X-Api-Key", service.api_key.as_str());
    let once = ("X-Idempotency-Key", "k");
    let post = |headers: Vec<(&'static str, String)>, id: &'static str, body: Vec<u8>| {
        let service = &service;
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            service.cancel_as(id, &headers, &body).await
        }
    };
    let mut answers: Vec<(u16, &str, Response)> = Vec::new();

    let path = format!("/subscriptions/{ACTIVATED}");
    answers.push((401, "api_key_missing", service.send(Method::GET, &path, &[], b"").await));
    answers.push((401, "api_key_invalid", service.get_as("garbage", ACTIVATED).await));
    answers.push((
        403,
        "insufficient_scope",
        service.cancel_as(ACTIVATED, &[("X-Api-Key", &reads)], b"{}").await,
    ));
    answers.push((400, "invalid_subscription_id", service.get("x").await));
    answers.push((404, "subscription_not_found", service.get("rid_x").await));
    answers.push((409, "subscription_already_cancelled", service.cancel(CANCELLED, &body).await));
    answers.push((409, "no_pending_cancellation", service.withdraw(ACTIVATED).await));
    answers.push((400, "malformed_json", service.cancel_as(ACTIVATED, &[key], b"{").await));
    answers.push((413, "payload_too_large", service.cancel_as(ACTIVATED, &[key], &[b' '; 32_769]).await));
    let text = vec![("X-Api-Key", service.api_key.clone()), ("Content-Type", "text/plain".to_owned())];
    answers.push((415, "unsupported_media_type", post(text, ACTIVATED, json.clone().into_bytes()).await));
    answers.push((422, "validation_failed", service.cancel(ACTIVATED, &json!({})).await));
    let no_key = service.cancel_with(ACTIVATED, &[("Idempotency-Key", "")], &body).await;
    answers.push((400, "idempotency_key_invalid", no_key));

    let path = format!("/subscriptions/{ACTIVATED}/cancel?dryRun=true");
    let headers = [key, ("Content-Type", "application/json")];
    let queried = service.send(Method::POST, &path, &headers, json.as_bytes()).await;
    answers.push((400, "unknown_parameter", queried));
    let path = format!("/subscriptions/{ACTIVATED}/history?limit=0");
    answers.push((400, "invalid_parameter", service.send(Method::GET, &path, &[key], b"").await));
    let stale = service.cancel_with(ACTIVATED, &[("If-Match", "\"0\"")], &body).await;
    answers.push((412, "precondition_failed", stale));

    service.cancel_once(ACTIVATED, "k", &body).await;
    let other = json!({"schedule": {"type": "CancelNextDay"}, "reason": "FRAUD"});
    answers.push((409, "idempotency_key_mismatch", service.cancel_with(ACTIVATED, &[once], &other).await));

    wire.always("TransactWriteItems", Fault::conflict());
    answers.push((409, "idempotency_key_locked", service.cancel_once(BLOCKED, "k2", &body).await));
    wire.always("BatchGetItem", Fault::refusal("ThrottlingException"));
    answers.push((503, "temporarily_unavailable", service.get(ACTIVATED).await));
    wire.always("BatchGetItem", Fault::refusal("AccessDeniedException"));
    answers.push((500, "internal_error", service.get(ACTIVATED).await));
    wire.clear_faults();

    for (status, code, answer) in answers {
        answer.assert_problem(status, code);
        assert_eq!(answer.header("x-request-id"), answer.json()["requestId"].as_str(), "{code}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{code}");
        let retried = ["idempotency_key_locked", "temporarily_unavailable"].contains(&code);
        assert_eq!(answer.header("retry-after"), retried.then_some("1"), "{code}");
        assert_eq!(answer.json().get("errors").is_some(), code == "validation_failed", "{code}");
        for inside in ["dynamo", "Exception", "tenants", "pk", "aws", "SDK", &service.api_key] {
            assert!(!answer.text().contains(inside), "{inside}: {}", answer.text());
        }
    }
    assert_eq!(database.version(BLOCKED).await, 1);
}

#[tokio::test]
async fn an_unreadable_item_gets_500_and_is_left_unchanged() {
    let service = Service::start().await;
    let key = format!("demo#{ACTIVATED}");
    let no_status = AttributeValue::S("LOST".to_owned());
    service
        .dynamodb()
        .update_item()
        .table_name(&service.tables.subscriptions)
        .key("pk", AttributeValue::S(key))
        .update_expression("SET document.#status = :value")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":value", no_status)
        .send()
        .await
        .unwrap();
    let answer = service.get(ACTIVATED).await;
    answer.assert_problem(500, "internal_error");
    assert!(!answer.text().contains("LOST"));
    service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await.assert_problem(500, "internal_error");
    assert_eq!(service.version(ACTIVATED).await, 1);
    assert_eq!(service.item("idempotency", "demo#k").await, None);
}

#[tokio::test]
async fn a_failing_or_unreachable_database_gets_503() {
    let (_database, service, wire) = Service::start_wired().await;
    for status in [500, 502, 503] {
        wire.always("BatchGetItem", Fault::status(status));
        service.get(ACTIVATED).await.assert_problem(503, "temporarily_unavailable");
    }
    wire.clear_faults();
    wire.always("TransactWriteItems", Fault::status(502));
    let answer = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    answer.assert_problem(503, "temporarily_unavailable");
    wire.clear_faults();

    wire.unplug().await;
    service.get(ACTIVATED).await.assert_problem(503, "temporarily_unavailable");
}
