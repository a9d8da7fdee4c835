//! The binary is killed at each critical moment. The caller sends the request again, to another process, and gets the one right
//! answer.

use harness::lambda::{self, Function};
use harness::{ACTIVATED, Service, Wire, event};
use serde_json::{Value, json};

use crate::BINARY;

async fn start() -> (Service, Wire, Value) {
    let database = Service::start().await;
    let wire = Wire::start(&database.dynamodb_url).await;
    let mut event = event("cancel-subscription/ok");
    event["headers"]["x-api-key"] = json!(database.api_key);
    (database, wire, event)
}

/// Sends the request again. Returns the answer, and true if it is a replay.
async fn again(database: &Service, event: &Value) -> (Value, bool) {
    let answer = lambda::invoke(BINARY, &database.dynamodb_url, event).await.outcome.unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let replayed = answer["headers"].get("idempotent-replayed").is_some();
    (answer, replayed)
}

#[tokio::test]
async fn a_kill_before_the_write_changes_nothing_and_the_retry_cancels_once() {
    for operation in ["BatchGetItem", "TransactWriteItems"] {
        let (database, wire, event) = start().await;
        let held = wire.hold_request(operation);
        let function = Function::start(BINARY, &wire.url, &event).await;
        held.reached().await;
        function.kill().await;
        wire.unplug().await;

        assert_eq!(database.version(ACTIVATED).await, 1);
        let (_, replayed) = again(&database, &event).await;
        assert!(!replayed, "{operation}");
        assert_eq!(database.version(ACTIVATED).await, 2);

        // The request that was under way arrives after all.
        held.release();
        wire.settled().await;
        assert!(again(&database, &event).await.1);
        assert_eq!(database.version(ACTIVATED).await, 2);
    }
}

#[tokio::test]
async fn a_kill_after_the_commit_loses_only_the_answer_and_the_retry_gets_it() {
    let (database, wire, event) = start().await;
    let held = wire.hold_answer("TransactWriteItems");
    let function = Function::start(BINARY, &wire.url, &event).await;
    held.reached().await;
    function.kill().await;

    assert_eq!(database.version(ACTIVATED).await, 2);
    let (answer, replayed) = again(&database, &event).await;
    assert!(replayed);
    assert_eq!(answer["body"], database.get(ACTIVATED).await.text());
    assert_eq!(database.version(ACTIVATED).await, 2);
}

#[tokio::test]
async fn a_kill_after_the_answer_changes_nothing_and_the_retry_gets_the_same_answer() {
    let (database, wire, event) = start().await;
    let mut function = Function::start(BINARY, &wire.url, &event).await;
    let first = function.outcome().await.unwrap();
    function.kill().await;

    let (answer, replayed) = again(&database, &event).await;
    assert!(replayed);
    assert_eq!(answer["body"], first["body"]);
    assert_eq!(database.version(ACTIVATED).await, 2);
}
