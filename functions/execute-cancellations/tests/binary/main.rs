//! The binary, as Lambda runs it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect should panic"
)]

mod death;

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, Fault, Service, Wire, cancel_next_day, event, lambda};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_execute-cancellations");

#[tokio::test]
async fn a_sweep_executes_due_cancellations_and_returns_a_summary() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    // The binary uses the system's clock, so the test moves the date into the past.
    let past = AttributeValue::S("2026-01-31T23:00:00Z".to_owned());
    service.update("subscriptions", &format!("demo#{ACTIVATED}"), "SET dueAt = :value", past).await;

    let first = lambda::invoke(BINARY, &service.dynamodb_url, &event("execute-cancellations/ok")).await;
    let metrics = first.metrics();
    assert_eq!(metrics[0], ("CancellationsExecuted".into(), "Count".into(), "".into(), 1.0));
    let (name, unit, _, lag) = &metrics[1];
    assert_eq!((name.as_str(), unit.as_str(), metrics.len()), ("SweepLag", "Seconds", 2));
    let summary = first.outcome.unwrap();
    assert_eq!((&summary["due"], &summary["executed"]), (&json!(1), &json!(1)), "{summary}");
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "CANCELLED");
    assert_eq!(Some(*lag), summary["lagSeconds"].as_f64());
    let swept = first.log.iter().find(|line| line["message"] == "swept").unwrap();
    assert_eq!(swept["executed"], 1);
    assert_eq!(swept["span"]["traceId"], lambda::TRACE_ID);

    let again = lambda::invoke(BINARY, &service.dynamodb_url, &event("execute-cancellations/ok")).await;
    // With nothing due, a lag of 0 is reported. The alarm goes off if it is missing.
    assert_eq!(again.metrics(), [("SweepLag".into(), "Seconds".into(), "".into(), 0.0)]);
    assert_eq!(again.outcome.unwrap()["due"], 0);
}

#[tokio::test]
async fn a_sweep_with_an_unread_shard_counts_the_shard_instead_of_reporting_the_lag() {
    let service = Service::start().await;
    let wire = Wire::start(&service.dynamodb_url).await;
    wire.next("Query", [Fault::refusal("ResourceNotFoundException")]);
    let sweep = lambda::invoke(BINARY, &wire.url, &event("execute-cancellations/ok")).await;
    assert_eq!(sweep.metrics(), [("UnreadShards".into(), "Count".into(), "".into(), 1.0)]);
    assert_eq!(sweep.outcome.unwrap()["unreadShards"], 1);
}

#[tokio::test]
async fn an_event_from_another_source_is_an_error() {
    let service = Service::start().await;
    let mut event = event("execute-cancellations/ok");
    event["source"] = json!("aws.s3");
    let error = lambda::invoke(BINARY, &service.dynamodb_url, &event).await.outcome.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("EventBridge Scheduler"), "{error}");
}
