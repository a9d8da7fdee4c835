//! The binary, as Lambda runs it.

use harness::{Fault, Service, Wire, event, lambda};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_publish-events");

#[tokio::test]
async fn a_change_is_published_and_counted() {
    let service = Service::start().await;
    let published = lambda::invoke_publisher(BINARY, &service.bus_url(), &event("publish-events/ok")).await;
    assert_eq!(published.metrics(), [metric("EventsPublished", "subscription.updated")]);
    let line = published.log.iter().find(|line| line["message"] == "published").unwrap();
    assert_eq!(line["key"], "demo#5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0001");
    assert_eq!(line["span"]["traceId"], lambda::TRACE_ID);
    assert_eq!(published.outcome.unwrap(), json!({"batchItemFailures": []}));
}

#[tokio::test]
async fn an_unpublished_record_is_reported_and_an_unpublishable_one_is_counted() {
    let service = Service::start().await;
    let wire = Wire::start(&service.bus_url()).await;
    wire.always("PutEvents", Fault::refusal("AccessDeniedException"));
    let mut records = event("publish-events/ok");
    let mut poison = records["Records"][0].clone();
    poison["dynamodb"]["NewImage"]["document"] = json!({"S": "Astrid Lindqvist"});
    poison["dynamodb"]["SequenceNumber"] = json!("1");
    records["Records"].as_array_mut().unwrap().insert(0, poison);
    let left = lambda::invoke_publisher(BINARY, &wire.url, &records).await;
    assert_eq!(left.metrics(), [metric("EventsFailed", "")]);
    assert!(!format!("{:?}", left.log).contains("Astrid"));
    let again = records["Records"][1]["dynamodb"]["SequenceNumber"].clone();
    assert_eq!(left.outcome.unwrap(), json!({"batchItemFailures": [{"itemIdentifier": again}]}));
}

#[tokio::test]
async fn an_event_from_another_source_is_an_error() {
    let elsewhere = event("publish-events/unexpected_event");
    let error = lambda::invoke_publisher(BINARY, "http://127.0.0.1:9", &elsewhere).await.outcome.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("stream of a DynamoDB table"), "{error}");
}

fn metric(name: &str, by: &str) -> (String, String, String, f64) {
    (name.to_owned(), "Count".to_owned(), by.to_owned(), 1.0)
}
