//! The binary of a function, run as Lambda runs it: a process that asks the Runtime API for one event after the other, and
//! posts each result. It may be written in any language that speaks that API. It can be killed at any moment.
//!
//! Time is measured at that API: from the start of the process, or from handing out an event, until the answer arrives.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use local::bus;
use serde_json::Value;
use service::clock;
use service::telemetry::NAMESPACE;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

/// Trace id of each invocation. X-Ray records those of [`invoke`], [`invoke_publisher`] and [`invoke_deliverer`].
pub const TRACE_ID: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// Longest duration of an invocation in a test.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Outcome and log of an invocation.
pub struct Invocation {
    /// Value that the function returned, or error that it reported.
    pub outcome: Result<Value, Value>,
    /// Log lines of the function, its metrics among them.
    pub log: Vec<Value>,
}

impl Invocation {
    /// Returns the metrics in CloudWatch's embedded metric format, sorted by name: name, unit, value of the dimension beside
    /// the function's name (empty if there is none), and value.
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

/// Invokes the binary of the function that publishes events once, with the bus and the queue at this URL.
pub async fn invoke_publisher(binary: &str, dynamodb_url: &str, bus_url: &str, event: &Value) -> Invocation {
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", bus_url),
        ("AWS_ENDPOINT_URL_SQS", bus_url),
        ("EVENT_BUS_NAME", bus::NAME),
        ("FAILED_EVENTS_QUEUE_URL", bus::FAILED_EVENTS),
    ];
    invoke_with(binary, &variables, event).await
}

/// Invokes the binary of the function that delivers events once, with the queue at this URL.
pub async fn invoke_deliverer(binary: &str, dynamodb_url: &str, sqs_url: &str, event: &Value) -> Invocation {
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url),
        ("AWS_ENDPOINT_URL_SQS", sqs_url),
        ("WEBHOOK_QUEUE_URL", bus::WEBHOOKS),
    ];
    invoke_with(binary, &variables, event).await
}

async fn invoke_with(binary: &str, variables: &[(&str, &str)], event: &Value) -> Invocation {
    let mut function = Function::spawn(Path::new(binary), variables, Stdio::piped(), TIMEOUT).await;
    function.api.is_traced.store(true, Ordering::Relaxed);
    function.give(event);
    let outcome = function.outcome().await;
    Invocation { outcome, log: function.kill().await }
}

/// A process that waits for events.
pub struct Function {
    process: Child,
    spawned: Instant,
    longest: Duration,
    events: UnboundedSender<String>,
    answers: UnboundedReceiver<Answer>,
    api: Arc<RuntimeApi>,
    runtime_api: JoinHandle<()>,
}

/// The answer to one event.
pub struct Answer {
    /// Value that the function returned, or error that it reported.
    pub outcome: Result<Value, Value>,
    /// Time from handing out the event to the answer.
    pub after: Duration,
}

struct RuntimeApi {
    longest: Duration,
    /// True if X-Ray records the invocations.
    is_traced: AtomicBool,
    events: tokio::sync::Mutex<UnboundedReceiver<String>>,
    handed_out: Mutex<Instant>,
    /// Time of the first request for an event.
    asked: watch::Sender<Option<Instant>>,
    answers: UnboundedSender<Answer>,
}

impl Function {
    /// Starts the binary of a function, which asks for an event and gets this one.
    pub async fn start(binary: &str, dynamodb_url: &str, event: &Value) -> Self {
        let variables = [("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url)];
        let function = Self::spawn(Path::new(binary), &variables, Stdio::piped(), TIMEOUT).await;
        function.give(event);
        function
    }

    /// Starts the program of a function, with these environment variables beside those of Lambda. An invocation may take at
    /// most `longest`.
    pub async fn spawn(program: &Path, variables: &[(&str, &str)], stdout: Stdio, longest: Duration) -> Self {
        let (events, queue) = unbounded_channel();
        let (sender, answers) = unbounded_channel();
        let api = Arc::new(RuntimeApi {
            longest,
            is_traced: AtomicBool::new(false),
            events: tokio::sync::Mutex::new(queue),
            handed_out: Mutex::new(Instant::now()),
            asked: watch::Sender::default(),
            answers: sender,
        });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(finish))
            .with_state(Arc::clone(&api));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let runtime_api = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(BTreeMap::from([
                ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", program.file_name().unwrap().to_str().unwrap()),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
                ("AWS_REGION", "eu-north-1"),
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
            ]))
            .envs(variables.iter().copied())
            .stdout(stdout)
            .kill_on_drop(true);
        let spawned = Instant::now();
        let process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { process, spawned, longest, events, answers, api, runtime_api }
    }

    /// Queues an event for the function.
    pub fn give(&self, event: &Value) {
        self.events.send(event.to_string()).unwrap();
    }

    /// Waits for the answer to the first event that has not been answered yet.
    pub async fn answer(&mut self) -> Answer {
        timeout(self.longest, self.answers.recv()).await.expect("the function does not answer").unwrap()
    }

    /// Waits for the next answer. Returns the function's value, or the error that it reported.
    pub async fn outcome(&mut self) -> Result<Value, Value> {
        self.answer().await.outcome
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.process.id().unwrap()
    }

    /// Waits until the process asks for its first event. Returns the time from its start until then.
    pub async fn ready(&self) -> Duration {
        let mut asked = self.api.asked.subscribe();
        let asked = timeout(self.longest, asked.wait_for(Option::is_some)).await;
        asked.expect("the function does not ask for an event").unwrap().unwrap() - self.spawned
    }

    /// Asks the process to end (SIGTERM), as Lambda does before it removes a function, and waits until it has.
    pub async fn end(mut self) {
        let id = self.id().to_string();
        assert!(Command::new("kill").arg(id).status().await.unwrap().success());
        self.process.wait().await.unwrap();
        self.runtime_api.abort();
    }

    /// Kills the process (SIGKILL), waits until it has ended, and returns its log lines.
    pub async fn kill(mut self) -> Vec<Value> {
        self.process.kill().await.unwrap();
        self.runtime_api.abort();
        let mut log = String::new();
        if let Some(mut stdout) = self.process.stdout.take() {
            stdout.read_to_string(&mut log).await.unwrap();
        }
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    api.asked.send_if_modified(|asked| asked.replace(asked.unwrap_or_else(Instant::now)).is_none());
    // Waits forever if no more events can come. Lambda would freeze the function here.
    let Some(event) = api.events.lock().await.recv().await else { return std::future::pending().await };
    let sampled = u8::from(api.is_traced.load(Ordering::Relaxed));
    let headers = [
        ("lambda-runtime-aws-request-id", Uuid::new_v4().to_string()),
        ("lambda-runtime-trace-id", format!("Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled={sampled}")),
        ("lambda-runtime-deadline-ms", clock::deadline_in(api.longest).to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-north-1:123456789012:function:f".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    let response = (headers, event).into_response();
    *api.handed_out.lock().unwrap() = Instant::now();
    response
}

async fn finish(
    State(api): State<Arc<RuntimeApi>>,
    extract::Path((_, kind)): extract::Path<(String, String)>,
    body: Bytes,
) -> StatusCode {
    let after = api.handed_out.lock().unwrap().elapsed();
    let body = serde_json::from_slice(&body).unwrap();
    let outcome = if kind == "response" { Ok(body) } else { Err(body) };
    let _ = api.answers.send(Answer { outcome, after });
    StatusCode::ACCEPTED
}
