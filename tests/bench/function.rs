//! A function as a process: started like Lambda starts it, given one event after the other, and measured.
//!
//! It may be written in anything that speaks the Lambda Runtime API. Time is taken where that API is: from the moment
//! the process is started, or an event is handed out, to the moment the answer is there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use procfs::process;
use serde_json::Value;
use service::clock;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

/// Lambda ends an invocation after 15 minutes at the latest.
const LONGEST: Duration = Duration::from_secs(900);

/// A process that waits for events.
pub struct Function {
    process: Child,
    /// How long it took from its start until it asked for an event.
    pub ready: Duration,
    /// And how long until it had answered the first.
    pub first_answer: Duration,
    events: UnboundedSender<String>,
    answers: UnboundedReceiver<Answer>,
    runtime_api: JoinHandle<()>,
}

/// What came of one event.
pub struct Answer {
    /// What the function has returned.
    pub value: Value,
    /// How long after it was given the event.
    pub after: Duration,
    at: Instant,
}

struct RuntimeApi {
    events: tokio::sync::Mutex<UnboundedReceiver<String>>,
    handed_out: Mutex<Instant>,
    asked: Mutex<Option<Instant>>,
    answers: UnboundedSender<Answer>,
}

impl Function {
    /// Starts a function, and gives it its first event; that answer, too.
    pub async fn start(bootstrap: &Path, variables: &[(&str, &str)], first_event: &Value) -> (Self, Value) {
        let (events, queue) = unbounded_channel();
        let (sender, mut answers) = unbounded_channel();
        let api = Arc::new(RuntimeApi {
            events: tokio::sync::Mutex::new(queue),
            handed_out: Mutex::new(Instant::now()),
            asked: Mutex::default(),
            answers: sender,
        });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answer))
            .fallback(refuse)
            .with_state(Arc::clone(&api));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let runtime_api = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        events.send(first_event.to_string()).unwrap();

        let mut command = Command::new(bootstrap);
        command
            .env_clear()
            .envs(BTreeMap::from([
                ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", "measured"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
                ("AWS_REGION", "eu-north-1"),
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ]))
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let spawned = Instant::now();
        let process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", bootstrap.display()));
        let first = receive(&mut answers).await;
        let ready = api.asked.lock().unwrap().unwrap() - spawned;
        let function =
            Self { process, ready, first_answer: first.at - spawned, events, answers, runtime_api };
        (function, first.value)
    }

    /// Gives it one event, and waits for the answer.
    pub async fn invoke(&mut self, event: &Value) -> Answer {
        self.events.send(event.to_string()).unwrap();
        receive(&mut self.answers).await
    }

    /// The processor time that it has used so far, in user and kernel mode.
    pub fn processor_time(&self) -> Duration {
        let stat = self.status().stat().unwrap();
        let ticks = stat.utime + stat.stime;
        Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64)
    }

    /// The most memory that it has had so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status().status().unwrap().vmhwm.unwrap() * 1024
    }

    fn status(&self) -> process::Process {
        process::Process::new(self.process.id().unwrap().try_into().unwrap()).unwrap()
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.process.kill().await.unwrap();
        self.runtime_api.abort();
    }
}

async fn receive(answers: &mut UnboundedReceiver<Answer>) -> Answer {
    timeout(LONGEST, answers.recv()).await.expect("the function does not answer").unwrap()
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    api.asked.lock().unwrap().get_or_insert_with(Instant::now);
    // Once there are no more events to come, it waits until it is stopped.
    let Some(event) = api.events.lock().await.recv().await else { return std::future::pending().await };
    let headers = [
        ("lambda-runtime-aws-request-id", Uuid::new_v4().to_string()),
        ("lambda-runtime-deadline-ms", clock::deadline_in(LONGEST).to_string()),
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

/// A function that reports an error is not worth measuring.
async fn refuse(uri: Uri, body: String) -> StatusCode {
    panic!("the function reports an error at {uri}: {body}");
}

async fn answer(State(api): State<Arc<RuntimeApi>>, body: Bytes) -> StatusCode {
    let at = Instant::now();
    let after = at - *api.handed_out.lock().unwrap();
    let _ = api.answers.send(Answer { value: serde_json::from_slice(&body).unwrap(), after, at });
    StatusCode::ACCEPTED
}
