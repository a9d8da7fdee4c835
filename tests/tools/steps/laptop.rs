//! The functions under `cargo lambda watch`, on the database of `cargo run`, as `functions/README.md` says. Each event file gets the
//! outcome that it is named after, and the routes lead to the functions. Uses the ports 3000, 8000 and 9000.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::time::timeout;
use uuid::Uuid;

use crate::connect::{Connect, command, root};
use crate::process::Process;
use crate::step::{Step, expect};
use crate::tools::{before_path, tools};

const FUNCTIONS: [&str; 5] = [
    "cancel-subscription",
    "get-subscription",
    "execute-cancellations",
    "publish-events",
    "deliver-webhooks",
];

/// Starts both, and sends all event files and a request to each route.
pub async fn run() -> Step {
    let path = before_path(&tools("aws").await?)?;
    let up = Connect::start_by_cargo(&["--memory", "--tick", "0"]).await?;
    let mut watch = command("cargo");
    watch.args(["lambda", "watch", "--invoke-address", "127.0.0.1", "--ignore-changes"]).env("PATH", &path);
    let mut watch = Process::start(&mut watch)?;
    let is_listening = async || reqwest::get("http://127.0.0.1:9000/").await.is_ok();
    watch.ready("cargo lambda watch listens", 30, is_listening).await?;
    let gone_through = async {
        events(&path).await?;
        routes().await?;
        execution(&up, &path).await
    };
    gone_through.await.map_err(|failure| watch.failure(failure))?;
    drop(watch);
    up.stop().await
}

async fn events(path: &OsString) -> Step {
    for function in FUNCTIONS {
        println!("--- cargo lambda invoke {function}");
        for file in event_files(function)? {
            let name = file.file_stem().and_then(|name| name.to_str()).ok_or("no name")?;
            let expected = match name {
                "ok_not_modified" => name,
                name if name.starts_with("ok_") => "ok",
                name => name,
            };
            expect(name, expected, outcome(function, &file, path).await?)?;
        }
    }
    Ok(())
}

/// Returns the event files of a function. Successes come first, because the other events depend on them.
fn event_files(function: &str) -> Step<Vec<PathBuf>> {
    let folder = root().join("tests/data/events").join(function);
    let mut files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Step<Vec<_>>>()?;
    let is_ok =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ok"));
    files.sort_by_key(|file| (!is_ok(file), file.clone()));
    Ok(files)
}

/// Invokes a function, and returns the outcome as the name that its event file should have.
async fn outcome(function: &str, file: &Path, path: &OsString) -> Step<String> {
    let mut invoke = command("cargo");
    invoke.args(["lambda", "invoke", "--invoke-address", "127.0.0.1", function, "--data-file"]).arg(file);
    let mut process = Process::start_piped(invoke.env("PATH", path))?;
    let (output, status) = timeout(Duration::from_secs(300), process.finish()).await??;
    if !status.success() {
        let said = format!("{output} {}", process.log()?).replace('│', " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_unexpected = said.contains("the event is from elsewhere");
        return Ok(if is_unexpected { "unexpected_event".to_owned() } else { said });
    }
    let answer: Value = serde_json::from_str(&output)?;
    let body: Value =
        answer["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
    if answer["batchItemFailures"].as_array().is_some_and(|failures| !failures.is_empty()) {
        return Ok("not published".to_owned());
    }
    Ok(match (answer["statusCode"].as_u64(), &answer["headers"]["idempotent-replayed"]) {
        (None, _) => "ok",
        (_, Value::String(_)) => "replayed",
        (Some(304), _) => "ok_not_modified",
        (Some(200), _) => "ok",
        (Some(_), _) => body["code"].as_str().unwrap_or("no code"),
    }
    .to_owned())
}

async fn routes() -> Step {
    println!("--- the routes");
    let event = std::fs::read_to_string(root().join("tests/data/events/get-subscription/ok.json"))?;
    let event: Value = serde_json::from_str(&event)?;
    let key = event["headers"]["x-api-key"].as_str().ok_or("no key")?;
    let subscription = "http://127.0.0.1:9000/subscriptions/5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0004";
    let client = Client::new();
    let send = async |method: Method, path: &str, body: Option<Value>| {
        let request = client.request(method, format!("{subscription}{path}")).header("X-Api-Key", key);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        Step::Ok(request.send().await?.json::<Value>().await?)
    };
    let read = send(Method::GET, "", None).await?;
    expect("GET", "ACTIVATED", read["status"].as_str().unwrap_or_default())?;
    let body = json!({"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"});
    let other = json!({"schedule": {"type": "CancelAtDate", "date": "2999-01-01"}, "reason": "FRAUD"});
    let cancelled = send(Method::POST, "/cancel", Some(body)).await?;
    expect("POST", "CANCELLED", cancelled["pendingStatus"]["status"].as_str().unwrap_or_default())?;
    let details = send(Method::GET, "/cancellation", None).await?;
    expect("GET cancellation", "PENDING", details["state"].as_str().unwrap_or_default())?;
    let preview = send(Method::POST, "/cancel/preview", Some(other)).await?;
    expect("POST preview", "PENDING", preview["replaces"]["state"].as_str().unwrap_or_default())?;
    let withdrawn = send(Method::DELETE, "/cancel", None).await?;
    expect("DELETE", "null", withdrawn["pendingStatus"].to_string())?;
    let history = send(Method::GET, "/history?limit=1", None).await?;
    expect("GET history", "1", history["pagination"]["limit"].to_string())
}

/// Has the sweep execute a cancellation that is due.
async fn execution(up: &Connect, path: &OsString) -> Step {
    println!("--- a due cancellation");
    let id = Uuid::new_v4();
    let pending = json!({"status": "CANCELLED", "scheduledAt": "2026-01-31"});
    let mut file = NamedTempFile::new()?;
    writeln!(file, "{}", json!({"subscriptionId": id, "status": "ACTIVATED", "pendingStatus": pending}))?;
    let name = file.path().to_str().ok_or("no path")?;
    up.operate(&["subscriptions", "import", "--tenant", "demo", "--overdue", name]).await?;
    let event = root().join("tests/data/events/execute-cancellations/ok.json");
    expect("the sweep", "ok", outcome("execute-cancellations", &event, path).await?)?;
    expect("status", "CANCELLED", up.get(&id.to_string()).await?["status"].as_str().unwrap_or_default())
}
