//! The binary, as Lambda runs it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect should panic"
)]

use domain::webhook::Webhook;
use harness::lambda::Invocation;
use harness::receiver::{Answer, Receiver};
use harness::{Service, Wire, event, lambda, webhook};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_deliver-webhooks");

/// Adds a webhook of the demo tenant.
async fn add(service: &Service, receiver: &Receiver) -> Webhook {
    let webhook = webhook(&receiver.url.replace("http://", "http://user:hidden-password@"));
    service.add_webhook(&webhook).await;
    receiver.verify_with(&webhook.secret.reveal());
    webhook
}

/// Gives an event to the binary, and then the delivery that it becomes. Returns the second invocation.
async fn deliver(service: &Service) -> Invocation {
    let queue = Wire::start(&service.bus_url()).await;
    let begun = invoke(service, &queue.url, &event("deliver-webhooks/ok")).await;
    assert_eq!(begun.outcome.unwrap(), json!({"batchItemFailures": []}));
    let entry = queue.requests("SendMessageBatch")[0]["Entries"][0].clone();
    let mut delivery = event("deliver-webhooks/ok");
    delivery["Records"][0]["body"] = entry["MessageBody"].clone();
    invoke(service, &queue.url, &delivery).await
}

async fn invoke(service: &Service, queue_url: &str, event: &Value) -> Invocation {
    lambda::invoke_deliverer(BINARY, &service.dynamodb_url, queue_url, event).await
}

#[tokio::test]
async fn an_event_is_posted_signed_counted_and_logged_without_its_content() {
    let (service, receiver) = (Service::start().await, Receiver::start());
    let webhook = add(&service, &receiver).await;
    let posted = deliver(&service).await;
    assert_eq!(posted.metrics(), [metric("Deliveries", "DELIVERED", 1.0)]);
    let line = posted.log.iter().find(|line| line["message"] == "attempted").unwrap();
    let told =
        ["tenant", "webhookId", "eventId", "attempt", "status", "outcome"].map(|name| line[name].clone());
    let event = &receiver.taken(1).await[0];
    let expected = [
        json!("demo"),
        json!(webhook.id),
        event["eventId"].clone(),
        json!(1),
        json!(204),
        json!("DELIVERED"),
    ];
    assert_eq!(told, expected);
    assert_eq!(line["span"]["traceId"], lambda::TRACE_ID);
    let log = format!("{:?}", posted.log);
    for hidden in ["070-174", "whsec_", "hidden-password", event["data"]["subscriptionId"].as_str().unwrap()]
    {
        assert!(!log.contains(hidden), "{hidden}: {log}");
    }
    assert_eq!(posted.outcome.unwrap(), json!({"batchItemFailures": []}));
}

#[tokio::test]
async fn a_failure_and_a_receiver_that_is_gone_are_counted() {
    let (service, receiver) = (Service::start().await, Receiver::start());
    add(&service, &receiver).await;
    receiver.next([Answer::Status(500), Answer::Status(410)]);
    let failed = deliver(&service).await.metrics();
    let names: Vec<_> = failed.iter().map(|(name, unit, by, _)| [name.as_str(), unit, by]).collect();
    assert_eq!(names, [["Deliveries", "Count", "RETRYING"], ["DeliveryAge", "Seconds", ""]]);
    let gone = deliver(&service).await;
    assert_eq!(gone.metrics(), [metric("Deliveries", "GONE", 1.0), metric("WebhooksDisabled", "", 1.0)]);
}

#[tokio::test]
async fn a_message_that_must_be_given_again_is_reported() {
    let service = Service::start().await;
    let mut malformed = event("deliver-webhooks/ok");
    malformed["Records"][0]["body"] = json!("{}");
    let id = malformed["Records"][0]["messageId"].clone();
    let left = invoke(&service, &service.bus_url(), &malformed).await;
    assert_eq!(left.metrics(), [metric("MessagesGivenAgain", "", 1.0)]);
    assert_eq!(left.outcome.unwrap(), json!({"batchItemFailures": [{"itemIdentifier": id}]}));
}

#[tokio::test]
async fn an_event_from_another_source_is_an_error() {
    let nowhere = "http://127.0.0.1:9";
    let elsewhere = event("deliver-webhooks/unexpected_event");
    let error = lambda::invoke_deliverer(BINARY, nowhere, nowhere, &elsewhere).await.outcome.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("queue of SQS"), "{error}");
}

fn metric(name: &str, by: &str, value: f64) -> (String, String, String, f64) {
    (name.to_owned(), "Count".to_owned(), by.to_owned(), value)
}
