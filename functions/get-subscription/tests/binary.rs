//! The binary, as Lambda runs it.

use harness::{Fault, Service, Wire, event, lambda};
use serde_json::{Value, json};

#[tokio::test]
async fn an_api_gateway_event_is_answered_and_secrets_stay_out_of_the_log() {
    let service = Service::start().await;
    let mut event = event("get-subscription/ok");
    event["headers"]["x-api-key"] = json!(service.api_key);
    let invocation =
        lambda::invoke(env!("CARGO_BIN_EXE_get-subscription"), &service.dynamodb_url, &event).await;

    assert_eq!(invocation.metrics(), [("Requests".into(), "Count".into(), "ok".into(), 1.0)]);
    let response = invocation.outcome.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
    let etag = response["headers"]["etag"].as_str().unwrap();
    assert!(etag.starts_with("\"1-"), "{etag}");
    assert_eq!(response["isBase64Encoded"], false);
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, service.get(harness::ACTIVATED).await.json());

    let line = invocation.log.iter().find(|line| line["message"] == "answered").unwrap();
    assert_eq!((&line["outcome"], &line["span"]["tenant"]), (&json!("ok"), &json!("demo")));
    assert_eq!(line["span"]["subscription"], harness::ACTIVATED);
    assert_eq!(line["span"]["traceId"], lambda::TRACE_ID);
    assert_eq!(line["span"]["requestId"], response["headers"]["x-request-id"]);
    let log = json!(invocation.log).to_string();
    for secret in [service.api_key.as_str(), "Lindqvist", "astrid@example.com", "+46701740605"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn an_event_from_another_source_is_an_error() {
    let service = Service::start().await;
    let event = json!({"source": "aws.s3"});
    let invocation =
        lambda::invoke(env!("CARGO_BIN_EXE_get-subscription"), &service.dynamodb_url, &event).await;
    assert!(invocation.outcome.is_err());
}

#[tokio::test]
async fn the_function_connects_before_its_first_event_and_still_answers_if_that_failed() {
    let service = Service::start().await;
    let wire = Wire::start(&service.dynamodb_url).await;
    let mut event = event("get-subscription/ok");
    event["headers"]["x-api-key"] = json!(service.api_key);
    for (fault, warnings) in [(Fault::Pass, 0), (Fault::refusal("AccessDeniedException"), 1)] {
        wire.forget();
        wire.next("BatchGetItem", [fault]);
        let invocation = lambda::invoke(env!("CARGO_BIN_EXE_get-subscription"), &wire.url, &event).await;
        assert_eq!(invocation.outcome.unwrap()["statusCode"], 200);
        assert_eq!(wire.requests("BatchGetItem").len(), 2);
        let warned = |line: &&Value| line["message"] == "no connection to the database yet";
        assert_eq!(invocation.log.iter().filter(warned).count(), warnings);
    }
}
