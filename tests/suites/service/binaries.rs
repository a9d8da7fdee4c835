//! The release binaries: each starts and answers an event. `.ci/binaries` builds them and names their folder.

use std::env;

use harness::{ACTIVATED, Service, event, lambda};
use serde_json::{Value, json};

async fn invoke(service: &Service, function: &str) -> Value {
    let folder =
        env::var("BINARIES").expect("BINARIES is the folder of the binaries, named after their functions");
    let (binary, event) = (format!("{folder}/{function}"), event(&format!("{function}/ok")));
    let invocation = match function {
        "publish-events" => {
            lambda::invoke_publisher(&binary, &service.dynamodb_url, &service.bus_url(), &event).await
        }
        "deliver-webhooks" => {
            lambda::invoke_deliverer(&binary, &service.dynamodb_url, &service.bus_url(), &event).await
        }
        _ => lambda::invoke(&binary, &service.dynamodb_url, &event).await,
    };
    invocation.outcome.unwrap()
}

#[tokio::test]
#[ignore = "needs the binaries that .ci/binaries builds"]
async fn each_release_binary_answers_an_event() {
    let service = Service::start().await;
    assert_eq!(invoke(&service, "get-subscription").await["statusCode"], 200);
    assert_eq!(invoke(&service, "cancel-subscription").await["statusCode"], 200);
    assert_eq!(service.version(ACTIVATED).await, 2);
    assert_eq!(invoke(&service, "execute-cancellations").await["failed"], 0);
    for function in ["publish-events", "deliver-webhooks"] {
        assert_eq!(invoke(&service, function).await, json!({"batchItemFailures": []}));
    }
}
