use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use subscriptions::clock;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::oneshot;

const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

/// What came of an invocation.
pub struct Invocation {
    /// What the function returned, or the error it reported.
    pub outcome: Result<Value, Value>,
    /// The lines it logged.
    pub log: Vec<Value>,
}

/// Invokes the binary of a function once, as Lambda does: the binary is started, asks the Runtime API
/// for an event, and posts what it returns.
pub async fn invoke(binary: &str, dynamodb_url: &str, event: &Value) -> Invocation {
    let (sender, outcome) = oneshot::channel();
    let api = Arc::new(RuntimeApi {
        event: Mutex::new(Some(event.to_string())),
        outcome: Mutex::new(Some(sender)),
    });
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(finish))
        .with_state(api);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });

    let mut process = Command::new(binary)
        .env_clear()
        .envs(BTreeMap::from([
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "function"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_REGION", "eu-north-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url),
        ]))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(60), outcome).await.unwrap().unwrap();
    process.kill().await.unwrap();
    server.abort();
    let mut log = String::new();
    process.stdout.take().unwrap().read_to_string(&mut log).await.unwrap();
    Invocation { outcome, log: log.lines().map(|line| serde_json::from_str(line).unwrap()).collect() }
}

struct RuntimeApi {
    event: Mutex<Option<String>>,
    outcome: Mutex<Option<oneshot::Sender<Result<Value, Value>>>>,
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    let event = api.event.lock().unwrap().take();
    let Some(event) = event else {
        // There is no second event: Lambda would freeze the function here.
        return std::future::pending().await;
    };
    let headers = [
        ("lambda-runtime-aws-request-id", REQUEST_ID.to_owned()),
        ("lambda-runtime-deadline-ms", clock::deadline_in(Duration::from_secs(60)).to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-north-1:123456789012:function:f".to_owned(),
        ),
    ];
    (headers, event).into_response()
}

async fn finish(
    State(api): State<Arc<RuntimeApi>>,
    Path((id, kind)): Path<(String, String)>,
    body: Bytes,
) -> StatusCode {
    assert_eq!(id, REQUEST_ID);
    let body = serde_json::from_slice(&body).unwrap();
    let outcome = if kind == "response" { Ok(body) } else { Err(body) };
    if let Some(sender) = api.outcome.lock().unwrap().take() {
        let _ = sender.send(outcome);
    }
    StatusCode::ACCEPTED
}
