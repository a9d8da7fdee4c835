//! The service on one machine, as a process, and the commands of its binary.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use crate::process::Process;
use crate::step::{Failure, Step, expect};

/// Returns the folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."))
}

/// Reads the demo subscriptions.
pub fn demo() -> Step<Vec<Value>> {
    let text = std::fs::read_to_string(root().join("infra/local/src/demo.ndjson"))?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Returns the path of the binary `connect`, which is built into the folder of this one.
pub fn binary() -> Step<PathBuf> {
    Ok(env::current_exe()?.with_file_name("connect"))
}

/// Returns a command that runs in the workspace, without the environment variables that name a stack's tables and schedule.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .env_remove("SWEEP_SCHEDULE")
        .env_remove("SUBSCRIPTIONS_TABLE")
        .env_remove("IDEMPOTENCY_TABLE")
        .env_remove("TENANTS_TABLE")
        .env_remove("HISTORY_TABLE")
        .env_remove("WEBHOOKS_TABLE")
        .env_remove("DELIVERIES_TABLE")
        .env_remove("WEBHOOK_QUEUE_URL");
    command
}

/// Returns `cargo run`, as a newcomer starts the binary. The binary's arguments follow.
pub fn cargo_run() -> Command {
    let mut cargo = command("cargo");
    cargo.args(["run", "--locked", "--quiet", "--"]);
    cargo
}

/// Options for free ports, and for executions only on request.
pub const FREE_PORTS: [&str; 6] = ["--port", "0", "--dynamodb-port", "0", "--tick", "0"];

/// A running service. It ends when this value is dropped.
pub struct Connect {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
    client: Client,
    /// URL of the API.
    pub api: String,
    /// URL of the database.
    pub database: String,
    /// API key of the demo tenant.
    pub key: String,
    /// Ids of the demo tenant's subscriptions.
    pub ids: Vec<String>,
    /// Secret of the webhook that it was started with.
    pub webhook_secret: Option<String>,
}

impl Connect {
    /// Starts the binary with these options, on free ports and without a schedule, and waits until it is ready.
    pub async fn start(options: &[&str]) -> Step<Self> {
        Self::start_by(command(binary()?).args(["up", "--json"]).args(FREE_PORTS).args(options)).await
    }

    /// Starts the binary by `cargo run`, with only these options, and waits until it is ready. `cargo run` becomes that
    /// process.
    pub async fn start_by_cargo(options: &[&str]) -> Step<Self> {
        Self::start_by(cargo_run().args(["up", "--json"]).args(options)).await
    }

    async fn start_by(command: &mut Command) -> Step<Self> {
        let mut process = Process::start_piped(command)?;
        let mut lines = process.lines()?;
        let ready = timeout(Duration::from_secs(60), lines.next_line()).await;
        let Ok(Ok(Some(line))) = ready else { return Err(process.failure("the service does not start")) };
        let ready: Value = serde_json::from_str(&line)?;
        let text = |name: &str| ready[name].as_str().map(str::to_owned).ok_or("not ready");
        let ids = ready["subscriptionIds"].as_array().into_iter().flatten();
        Ok(Self {
            api: text("apiUrl")?,
            database: text("dynamodbUrl")?,
            key: text("apiKey")?,
            ids: ids.filter_map(Value::as_str).map(str::to_owned).collect(),
            webhook_secret: ready["webhookSecret"].as_str().map(str::to_owned),
            process,
            lines,
            client: Client::new(),
        })
    }

    /// Ends the service (SIGTERM). Expects success, and nothing more on standard output.
    pub async fn stop(mut self) -> Step {
        let status = self.process.end(Signal::TERM).await?;
        let more = self.lines.next_line().await?;
        if status.success() && more.is_none() {
            return Ok(());
        }
        Err(self.process.failure(format!("the service ended with {status}, and printed {more:?}")))
    }

    /// Returns the log of the service so far.
    pub fn log(&self) -> Step<String> {
        self.process.log()
    }

    /// Returns a failure in which the service had a part, with the end of its log.
    pub fn failure(&self, why: impl Display) -> Failure {
        self.process.failure(why)
    }

    /// Reads a subscription.
    pub async fn get(&self, id: &str) -> Step<Value> {
        let path = format!("/subscriptions/{id}");
        self.send(Method::GET, &path, &[("X-Api-Key", &self.key)], None).await?.json()
    }

    /// Cancels a subscription with the demo tenant's key.
    pub async fn cancel(&self, id: &str, idempotency_key: &str, schedule: &str) -> Step<Answer> {
        self.cancel_as(&self.key, id, idempotency_key, schedule).await
    }

    /// Cancels a subscription with this API key.
    pub async fn cancel_as(
        &self,
        key: &str,
        id: &str,
        idempotency_key: &str,
        schedule: &str,
    ) -> Step<Answer> {
        let body = json!({"schedule": {"type": schedule}, "reason": "NO_NEED"});
        let headers = [("X-Api-Key", key), ("X-Idempotency-Key", idempotency_key)];
        self.send(Method::POST, &format!("/subscriptions/{id}/cancel"), &headers, Some(&body)).await
    }

    /// Withdraws a cancellation.
    pub async fn withdraw(&self, id: &str, idempotency_key: &str) -> Step<Value> {
        let headers = [("X-Api-Key", self.key.as_str()), ("X-Idempotency-Key", idempotency_key)];
        let path = format!("/subscriptions/{id}/cancel");
        self.send(Method::DELETE, &path, &headers, None).await?.json()
    }

    /// Sets or moves the clock of the service.
    pub async fn clock(&self, change: &Value) -> Step {
        let answer = self.send(Method::POST, "/_local/clock", &[], Some(change)).await?;
        if answer.status == 200 { Ok(()) } else { Err(format!("the clock: {}", answer.body).into()) }
    }

    /// Sweeps once, and returns the number of cancellations executed.
    pub async fn execute(&self) -> Step<u64> {
        let swept = self.send(Method::POST, "/_local/execute-cancellations", &[], None).await?.json()?;
        Ok(swept["executed"].as_u64().ok_or("no summary")?)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Step<Answer> {
        Answer::to(self.client.request(method, format!("{}{path}", self.api)), headers, body).await
    }

    /// Returns an operator's command on the database of the service.
    pub fn command(&self, arguments: &[&str]) -> Step<Command> {
        let mut command = command(binary()?);
        command.args(arguments).args(["--dynamodb-endpoint", &self.database]);
        command.env("AWS_ENDPOINT_URL_SQS", format!("{}/_local/aws", self.api));
        Ok(command)
    }

    /// Runs an operator's command on the database of the service, and returns its output. An exit code other than 0 is an
    /// error.
    pub async fn operate(&self, arguments: &[&str]) -> Step<String> {
        Ok(Process::output(&mut self.command(arguments)?).await?.trim_end().to_owned())
    }

    /// Runs an operator's command with `--json`, and returns its output.
    pub async fn operate_json(&self, arguments: &[&str]) -> Step<Value> {
        Ok(serde_json::from_str(&self.operate(&[arguments, &["--json"]].concat()).await?)?)
    }
}

/// An answer of the API.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Sends a request with these headers and this body, and returns the answer.
    pub async fn to(
        mut request: RequestBuilder,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Step<Self> {
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.text().await? })
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> Step<Value> {
        Ok(serde_json::from_str(&self.body)?)
    }

    /// Expects the answer to be a replay of another one, byte for byte.
    pub fn expect_replay_of(&self, what: &str, first: &Self) -> Step {
        let is_replay = self.headers.get("idempotent-replayed").is_some_and(|value| value == "true");
        expect(&format!("{what} is a replay"), true, is_replay)?;
        expect("with the same bytes", true, self.body == first.body)
    }
}
