//! The binary, as Lambda runs it.

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, Service, cancel_next_day, event, lambda};
use serde_json::json;

#[tokio::test]
async fn it_executes_what_is_due_and_returns_its_summary() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    // The binary goes by the system's clock, so the date is brought to it.
    let past = AttributeValue::S("2026-01-31T23:00:00Z".to_owned());
    service.update("subscriptions", &format!("demo#{ACTIVATED}"), "SET dueAt = :value", past).await;

    let binary = env!("CARGO_BIN_EXE_execute-cancellations");
    let first = lambda::invoke(binary, &service.dynamodb_url, &event("scheduled")).await;
    let summary = first.outcome.unwrap();
    assert_eq!((&summary["due"], &summary["executed"]), (&json!(1), &json!(1)), "{summary}");
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "CANCELLED");
    let swept = first.log.iter().find(|line| line["message"] == "swept").unwrap();
    assert_eq!(swept["executed"], 1);

    let again = lambda::invoke(binary, &service.dynamodb_url, &event("scheduled")).await;
    assert_eq!(again.outcome.unwrap()["due"], 0);
}

#[tokio::test]
async fn an_event_that_is_none_of_the_schedules_is_an_error() {
    let service = Service::start().await;
    let mut event = event("scheduled");
    event["source"] = json!("aws.s3");
    let binary = env!("CARGO_BIN_EXE_execute-cancellations");
    let error = lambda::invoke(binary, &service.dynamodb_url, &event).await.outcome.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("EventBridge Scheduler"), "{error}");
}
