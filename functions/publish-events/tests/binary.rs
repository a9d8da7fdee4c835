//! The binary, as Lambda runs it.

use harness::lambda::Invocation;
use harness::{Fault, Service, Wire, event, lambda};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_publish-events");

#[tokio::test]
async fn a_change_is_recorded_published_and_counted() {
    let service = Service::start().await;
    // The state before the change has no origin, so it gets an entry, too.
    let published = publish(&service, &service.bus_url(), &event("publish-events/ok")).await;
    assert_eq!(
        published.metrics(),
        [metric("EventsPublished", "subscription.updated", 1.0), metric("HistoryEntriesAdded", "", 2.0)]
    );
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
    let left = publish(&service, &wire.url, &records).await;
    assert_eq!(left.metrics(), [metric("EventsFailed", "", 1.0), metric("HistoryEntriesAdded", "", 2.0)]);
    assert!(!format!("{:?}", left.log).contains("Astrid"));
    let again = records["Records"][1]["dynamodb"]["SequenceNumber"].clone();
    assert_eq!(left.outcome.unwrap(), json!({"batchItemFailures": [{"itemIdentifier": again}]}));
}

#[tokio::test]
async fn an_event_from_another_source_is_an_error() {
    let nowhere = "http://127.0.0.1:9";
    let elsewhere = event("publish-events/unexpected_event");
    let error = lambda::invoke_publisher(BINARY, nowhere, nowhere, &elsewhere).await.outcome.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("stream of a DynamoDB table"), "{error}");
}

async fn publish(service: &Service, bus_url: &str, event: &Value) -> Invocation {
    lambda::invoke_publisher(BINARY, &service.dynamodb_url, bus_url, event).await
}

fn metric(name: &str, by: &str, value: f64) -> (String, String, String, f64) {
    (name.to_owned(), "Count".to_owned(), by.to_owned(), value)
}
