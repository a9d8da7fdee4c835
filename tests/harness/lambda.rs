//! The binary of a function, run as Lambda runs it: a process that asks the Runtime API for an event, and
//! posts what it returns. It can be killed at any moment.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use connect::bus;
use serde_json::Value;
use service::clock;
use service::telemetry::NAMESPACE;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The id under which X-Ray would show each invocation.
pub const TRACE_ID: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// What came of an invocation.
pub struct Invocation {
    /// What the function returned, or the error it reported.
    pub outcome: Result<Value, Value>,
    /// The lines it logged, its metrics among them.
    pub log: Vec<Value>,
}

impl Invocation {
    /// What it counted in CloudWatch's embedded metric format: the metric, its unit, the dimension beside the
    /// function's name, and the value.
    pub fn metrics(&self) -> Vec<(String, String, String, f64)> {
        let mut metrics = Vec::new();
        for line in &self.log {
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
                assert_eq!(directive["Namespace"], NAMESPACE);
                let dimensions = directive["Dimensions"][0].as_array().unwrap();
                assert_eq!(dimensions[0], "FunctionName");
                let by = dimensions.get(1).map_or("", |name| line[name.as_str().unwrap()].as_str().unwrap());
                for metric in directive["Metrics"].as_array().unwrap() {
                    let (name, unit) = (metric["Name"].as_str().unwrap(), metric["Unit"].as_str().unwrap());
                    let value = line[name].as_f64().or_else(|| line[name][0].as_f64()).unwrap();
                    metrics.push((name.to_owned(), unit.to_owned(), by.to_owned(), value));
                }
            }
        }
        metrics.sort_by(|one, other| one.0.cmp(&other.0));
        metrics
    }
}

/// Invokes the binary of a function once, in a process of its own.
pub async fn invoke(binary: &str, dynamodb_url: &str, event: &Value) -> Invocation {
    invoke_with(binary, &[("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url)], event).await
}

/// The same of the function that publishes events, with the bus and the queue at this URL.
pub async fn invoke_publisher(binary: &str, bus_url: &str, event: &Value) -> Invocation {
    let variables = [
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", bus_url),
        ("AWS_ENDPOINT_URL_SQS", bus_url),
        ("EVENT_BUS_NAME", bus::NAME),
        ("FAILED_EVENTS_QUEUE_URL", bus::QUEUE),
    ];
    invoke_with(binary, &variables, event).await
}

async fn invoke_with(binary: &str, variables: &[(&str, &str)], event: &Value) -> Invocation {
    let mut function = Function::start_with(binary, variables, event).await;
    let outcome = function.outcome().await;
    Invocation { outcome, log: function.kill().await }
}

/// A process that has been given one event.
pub struct Function {
    process: Child,
    outcome: oneshot::Receiver<Result<Value, Value>>,
    runtime_api: JoinHandle<()>,
}

impl Function {
    /// Starts the binary of a function, which asks for an event and gets this one.
    pub async fn start(binary: &str, dynamodb_url: &str, event: &Value) -> Self {
        Self::start_with(binary, &[("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url)], event).await
    }

    async fn start_with(binary: &str, variables: &[(&str, &str)], event: &Value) -> Self {
        let (sender, outcome) = oneshot::channel();
        let api = Arc::new(RuntimeApi {
            request_id: Uuid::new_v4().to_string(),
            event: Mutex::new(Some(event.to_string())),
            outcome: Mutex::new(Some(sender)),
        });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(finish))
            .with_state(api);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let runtime_api = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let name = Path::new(binary).file_name().unwrap().to_str().unwrap();
        let process = Command::new(binary)
            .env_clear()
            .envs(BTreeMap::from([
                ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", name),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
                ("AWS_REGION", "eu-north-1"),
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
            ]))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { process, outcome, runtime_api }
    }

    /// What it returns, or the error it reports.
    pub async fn outcome(&mut self) -> Result<Value, Value> {
        tokio::time::timeout(Duration::from_secs(60), &mut self.outcome).await.unwrap().unwrap()
    }

    /// Kills it (SIGKILL), and waits until it is dead; what it has logged.
    pub async fn kill(mut self) -> Vec<Value> {
        self.process.kill().await.unwrap();
        self.runtime_api.abort();
        let mut log = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut log).await.unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

struct RuntimeApi {
    request_id: String,
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
        ("lambda-runtime-aws-request-id", api.request_id.clone()),
        ("lambda-runtime-trace-id", format!("Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1")),
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
    extract::Path((id, kind)): extract::Path<(String, String)>,
    body: Bytes,
) -> StatusCode {
    assert_eq!(id, api.request_id);
    let body = serde_json::from_slice(&body).unwrap();
    let outcome = if kind == "response" { Ok(body) } else { Err(body) };
    if let Some(sender) = api.outcome.lock().unwrap().take() {
        let _ = sender.send(outcome);
    }
    StatusCode::ACCEPTED
}
