//! The service on one machine, as a process, and the commands of its binary.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Response};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::step::{Step, expect};

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The demo subscriptions, one a line.
pub fn demo() -> Step<Vec<Value>> {
    let text = std::fs::read_to_string(root().join("infra/local/src/demo.ndjson"))?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The binary `connect`, which is built into the folder of this one.
pub fn binary() -> Step<PathBuf> {
    Ok(env::current_exe()?.with_file_name("connect"))
}

/// A command that does not know what a stack has to say of itself.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .env_remove("SWEEP_SCHEDULE")
        .env_remove("SUBSCRIPTIONS_TABLE")
        .env_remove("IDEMPOTENCY_TABLE")
        .env_remove("TENANTS_TABLE")
        .kill_on_drop(true);
    command
}

/// Sends a signal to a process that was started here.
pub fn signal(child: &Child, signal: Signal) -> Step {
    let id = child.id().ok_or("the process has ended")?;
    let pid = Pid::from_raw(id.try_into()?).ok_or("no process")?;
    Ok(kill_process(pid, signal)?)
}

/// A process that starts others. All of them end with this value.
pub struct Group(Child);

impl Group {
    /// Starts it.
    pub fn start(command: &mut Command) -> Step<Self> {
        Ok(Self(command.process_group(0).spawn()?))
    }

    /// Ends all of them (SIGTERM), and waits for the one that was started here.
    pub async fn stop(mut self) -> Step {
        self.terminate();
        self.0.wait().await?;
        Ok(())
    }

    /// The id of the process.
    pub fn id(&self) -> Option<u32> {
        self.0.id()
    }

    fn terminate(&self) {
        let pid = self.0.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(pid) = pid {
            // They may have ended by themselves.
            let _ = kill_process_group(pid, Signal::TERM);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// The service, running. It ends with this value.
pub struct Connect {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: TempDir,
    client: Client,
    /// Where the API is.
    pub api: String,
    /// Where the database is.
    pub database: String,
    /// The demo tenant's key.
    pub key: String,
    /// The demo tenant's subscriptions.
    pub ids: Vec<String>,
}

impl Connect {
    /// Starts the binary with these options, on free ports and without a schedule, and waits until it is ready.
    pub async fn start(options: &[&str]) -> Step<Self> {
        Self::start_by(command(&binary()?), options).await
    }

    /// The same by `cargo run`, which becomes that process.
    pub async fn start_by_cargo(options: &[&str]) -> Step<Self> {
        let mut cargo = command(Path::new("cargo"));
        cargo.args(["run", "--locked", "--quiet", "--"]);
        Self::start_by(cargo, options).await
    }

    async fn start_by(mut command: Command, options: &[&str]) -> Step<Self> {
        let log = tempfile::tempdir()?;
        let file = std::fs::File::create(log.path().join("log"))?;
        let ports = ["up", "--json", "--port", "0", "--dynamodb-port", "0", "--tick", "0"];
        command.args(ports).args(options).stdout(Stdio::piped()).stderr(file);
        let mut process = command.spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let ready = timeout(Duration::from_secs(60), lines.next_line()).await;
        let Ok(Ok(Some(line))) = ready else {
            let log = std::fs::read_to_string(log.path().join("log"))?;
            return Err(format!("the service does not start: {log}").into());
        };
        let ready: Value = serde_json::from_str(&line)?;
        let text = |name: &str| ready[name].as_str().map(str::to_owned).ok_or("not ready");
        let ids = ready["subscriptionIds"].as_array().into_iter().flatten();
        Ok(Self {
            api: text("apiUrl")?,
            database: text("dynamodbUrl")?,
            key: text("apiKey")?,
            ids: ids.filter_map(Value::as_str).map(str::to_owned).collect(),
            process,
            lines,
            log,
            client: Client::new(),
        })
    }

    /// Ends it (SIGTERM), and expects it to end well, and to have printed nothing more.
    pub async fn stop(mut self) -> Step {
        signal(&self.process, Signal::TERM)?;
        let more = self.lines.next_line().await?;
        let status = self.process.wait().await?;
        if let (Some(0), None) = (status.code(), &more) {
            return Ok(());
        }
        Err(format!("the service ended with {status}, and printed {more:?}: {}", self.log()?).into())
    }

    /// What it has logged so far.
    pub fn log(&self) -> Step<String> {
        Ok(std::fs::read_to_string(self.log.path().join("log"))?)
    }

    /// A subscription.
    pub async fn get(&self, id: &str) -> Step<Value> {
        let path = format!("/subscriptions/{id}");
        self.send(Method::GET, &path, &[("X-Api-Key", &self.key)], None).await?.json()
    }

    /// Cancels a subscription with the demo tenant's key.
    pub async fn cancel(&self, id: &str, idempotency_key: &str, schedule: &str) -> Step<Answer> {
        self.cancel_as(&self.key, id, idempotency_key, schedule).await
    }

    /// Cancels a subscription.
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

    /// Sets or moves its clock.
    pub async fn clock(&self, change: &Value) -> Step {
        let answer = self.send(Method::POST, "/_local/clock", &[], Some(change)).await?;
        if answer.status == 200 { Ok(()) } else { Err(format!("the clock: {}", answer.body).into()) }
    }

    /// How many cancellations a sweep executes.
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
        let mut request = self.client.request(method, format!("{}{path}", self.api));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request.send().await?).await
    }

    /// A command on its database.
    pub fn command(&self, arguments: &[&str]) -> Step<Command> {
        let mut command = command(&binary()?);
        command.args(arguments).args(["--dynamodb-endpoint", &self.database]);
        Ok(command)
    }

    /// Runs a command on its database; what it prints, if it ends well.
    pub async fn operate(&self, arguments: &[&str]) -> Step<String> {
        let output = self.command(arguments)?.output().await?;
        if !output.status.success() {
            let notes = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("connect {}: {notes}", arguments.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// The same, as JSON.
    pub async fn operate_json(&self, arguments: &[&str]) -> Step<Value> {
        Ok(serde_json::from_str(&self.operate(&[arguments, &["--json"]].concat()).await?)?)
    }
}

/// An answer of the API.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The answer that a response is.
    pub async fn of(response: Response) -> Step<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.text().await? })
    }

    /// The body as JSON.
    pub fn json(&self) -> Step<Value> {
        Ok(serde_json::from_str(&self.body)?)
    }

    /// Expects the answer to be a replay of another, to the byte.
    pub fn expect_replay_of(&self, what: &str, first: &Self) -> Step {
        let is_replay = self.headers.get("idempotent-replayed").is_some_and(|value| value == "true");
        expect(&format!("{what} is a replay"), true, is_replay)?;
        expect("of the same bytes", true, self.body == first.body)
    }
}
