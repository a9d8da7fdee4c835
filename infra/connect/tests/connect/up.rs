//! The command line of `connect up`: the real process, its output and its exit code.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::tempdir;

/// A running process. It is killed when the test ends.
struct Process {
    child: Child,
    addresses: Value,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// Starts `connect up --json` on free ports, and waits for its line of JSON.
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// Starts the process like [`start`](Self::start), with these environment variables.
    fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = up(&["--json", "--port", "0", "--dynamodb-port", "0"])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let addresses = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, addresses, stdout }
    }

    fn text(&self, name: &str) -> &str {
        self.addresses[name].as_str().unwrap()
    }

    async fn get(&self, subscription: &str) -> Value {
        let url = format!("{}/subscriptions/{subscription}", self.text("apiUrl"));
        let request = Client::new().get(url).header("X-Api-Key", self.text("apiKey"));
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn cancel(&self, subscription: &str) {
        let url = format!("{}/subscriptions/{subscription}/cancel", self.text("apiUrl"));
        let body = json!({"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"});
        let request = Client::new().post(url).header("X-Api-Key", self.text("apiKey")).json(&body);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    async fn execute(&self) -> Value {
        let url = format!("{}/_local/execute-cancellations", self.text("apiUrl"));
        Client::new().post(url).send().await.unwrap().json().await.unwrap()
    }

    /// Ends the process with this signal. Returns the exit code, and the output after the first line.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn up(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect"));
    command.arg("up").args(arguments);
    command
}

/// Runs `connect up` with arguments with which it can't start. Returns the exit code and the one line of its error.
#[track_caller]
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let output = up(arguments).output().unwrap();
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    (output.status.code(), stderr.trim_end().to_owned())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn connect_up_with_json_prints_one_line_and_ends_well_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let process = Process::start(&["--memory"]);
        assert_eq!(process.text("tenant"), "demo");
        assert_eq!(process.addresses["subscriptionIds"].as_array().unwrap().len(), 8);
        assert!(process.text("dynamodbUrl").starts_with("http://127.0.0.1:"));
        let id = process.addresses["subscriptionIds"][0].as_str().unwrap();
        assert_eq!(process.get(id).await["status"], "ACTIVATED");
        assert_eq!(process.end(signal), (Some(0), String::new()));
    }
}

#[tokio::test]
async fn a_restart_keeps_the_data_and_the_next_sweep_catches_up() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("made/on/the/way");
    let first = Process::start(&["--data", path(&data), "--now", "2026-01-31T12:00:00Z", "--tick", "0"]);
    let id = first.addresses["subscriptionIds"][0].as_str().unwrap().to_owned();
    let key = first.text("apiKey").to_owned();
    first.cancel(&id).await;
    let scheduled = first.get(&id).await;
    assert_eq!(scheduled["pendingStatus"]["scheduledAt"], "2026-02-01");
    assert_eq!(first.end("TERM").0, Some(0));

    let second = Process::start(&["--data", path(&data), "--now", "2026-02-03T12:00:00Z", "--tick", "0"]);
    assert_eq!(second.text("apiKey"), key);
    assert_eq!(second.get(&id).await, scheduled);
    assert_eq!(second.execute().await["executed"], 1);
    assert_eq!(second.get(&id).await["cancelledAt"], "2026-02-01T00:00:00Z");
}

#[tokio::test]
async fn the_service_sweeps_by_itself_from_the_start() {
    let folder = tempdir().unwrap();
    let data = path(folder.path());
    let first = Process::start(&["--data", data, "--now", "2026-01-31T12:00:00Z", "--tick", "0"]);
    let id = first.addresses["subscriptionIds"][0].as_str().unwrap().to_owned();
    first.cancel(&id).await;
    assert_eq!(first.end("TERM").0, Some(0));

    // The first tick comes at the start.
    let second = Process::start(&["--data", data, "--now", "2026-02-03T12:00:00Z"]);
    for _ in 0..1_000 {
        if second.get(&id).await["status"] == "CANCELLED" {
            return;
        }
    }
    panic!("nothing was swept");
}

#[test]
fn a_data_folder_serves_one_process_at_a_time() {
    let folder = tempdir().unwrap();
    let data = path(folder.path());
    let first = Process::start(&["--data", data]);
    let (code, line) = failure(&["--data", data, "--port", "0", "--dynamodb-port", "0"]);
    assert_eq!(code, Some(1));
    assert!(line.contains("in use by another process"), "{line}");
    drop(first);
    assert_eq!(Process::start(&["--data", data]).end("TERM").0, Some(0));
}

#[test]
fn the_demo_key_for_an_external_database_is_new_and_readable_only_by_its_owner() {
    let database = Process::start(&["--memory"]);
    let folder = tempdir().unwrap();
    let url = database.text("dynamodbUrl");
    let process = Process::start(&["--data", path(folder.path()), "--dynamodb-endpoint", url]);
    assert_ne!(process.text("apiKey"), database.text("apiKey"));
    let file = folder.path().join("demo-api-key");
    assert_eq!(fs::read_to_string(&file).unwrap().trim_end(), process.text("apiKey"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn the_service_uses_a_database_that_already_runs() {
    let database = Process::start(&["--memory"]);
    let url = database.text("dynamodbUrl");
    let mut child = up(&["--json", "--memory", "--port", "0", "--dynamodb-endpoint", url])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let addresses: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(addresses["dynamodbUrl"], url);
    // Both keys are valid for the one demo tenant.
    assert_ne!(addresses["apiKey"], database.text("apiKey"));
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, line) = failure(&["--memory", "--port", &port]);
    assert_eq!(code, Some(1));
    assert!(line.contains(&port) && line.contains("--port"), "{line}");

    let (code, line) = failure(&["--memory", "--port", "0", "--dynamodb-port", &port]);
    assert_eq!(code, Some(1));
    assert!(line.contains(&port) && line.contains("--dynamodb-port"), "{line}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("data");
    let (code, line) = failure(&["--data", path(&below), "--port", "0", "--dynamodb-port", "0"]);
    assert_eq!(code, Some(1));
    assert!(line.contains(path(&below)), "{line}");
}

#[test]
fn a_file_that_is_not_a_database_is_named() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("dynamodb.sqlite"), "not a database, but long enough to be read as one")
        .unwrap();
    let (code, line) = failure(&["--data", path(folder.path()), "--port", "0", "--dynamodb-port", "0"]);
    assert_eq!(code, Some(1));
    assert!(line.contains("dynamodb.sqlite"), "{line}");
}

#[test]
fn a_broken_seed_file_is_named_with_its_line() {
    let folder = tempdir().unwrap();
    let seed = folder.path().join("seed.ndjson");
    let good = r#"{"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "ACTIVATED"}"#;
    fs::write(&seed, format!("{good}\n{{\"status\": \"ACTIVATED\"}}\n")).unwrap();
    let (code, line) = failure(&["--memory", "--port", "0", "--seed", path(&seed)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("seed.ndjson, line 2: missing field `subscriptionId`"), "{line}");

    let (code, line) = failure(&["--memory", "--port", "0", "--seed", "nowhere.ndjson"]);
    assert_eq!(code, Some(1));
    assert!(line.contains("nowhere.ndjson"), "{line}");
}

#[test]
fn an_invalid_option_value_is_named() {
    for (arguments, named) in [
        (["--time-zone", "Mars/Olympus"], "Mars/Olympus"),
        (["--now", "yesterday"], "yesterday"),
        (["--now", "+12345-01-01T00:00:00Z"], "1970 to 9998"),
        (["--port", "x"], "--port"),
        (["--tick", "-1"], "-1"),
    ] {
        let (code, line) = failure(&arguments);
        assert_eq!(code, Some(2));
        assert!(line.contains(named), "{line}");
    }
}

#[tokio::test]
async fn the_demo_works_at_the_first_and_the_last_instant_of_a_clock() {
    for now in ["1970-01-01T00:00:00Z", "9998-12-31T23:59:59Z"] {
        let process = Process::start(&["--memory", "--now", now, "--tick", "0"]);
        let ids = process.addresses["subscriptionIds"].as_array().unwrap();
        assert_eq!(process.get(ids[7].as_str().unwrap()).await["status"], "CANCELLED", "{now}");
    }
}

#[test]
fn an_unreachable_database_is_named() {
    // Nothing listens on a port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let (code, line) = failure(&["--memory", "--port", "0", "--dynamodb-endpoint", &url]);
    assert_eq!(code, Some(1));
    assert!(line.contains(&url), "{line}");
}

#[tokio::test]
async fn a_proxy_from_the_environment_is_not_used_for_this_machine() {
    // Nothing listens on this port.
    let nowhere = "http://127.0.0.1:9";
    let proxies = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, nowhere));
    let process = Process::start_with(&["--memory", "--tick", "0"], &proxies);
    let id = process.addresses["subscriptionIds"][0].as_str().unwrap().to_owned();
    assert_eq!(process.get(&id).await["status"], "ACTIVATED");
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect"));
    let list = ["tenants", "list", "--json", "--dynamodb-endpoint", process.text("dynamodbUrl")];
    let listed = command.args(list).envs(proxies).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
}

#[test]
fn a_failing_proxy_to_a_database_is_named_without_its_password() {
    let proxies = [("HTTP_PROXY", "http://user:secret@127.0.0.1:9"), ("NO_PROXY", "")];
    for arguments in [["up", "--memory", "--port=0"].as_slice(), &["tenants", "list"], &["doctor"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_connect"));
        command.args(["--dynamodb-endpoint", "http://database.example:8000"]).args(arguments).envs(proxies);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("through the proxy http://127.0.0.1:9"), "{arguments:?}: {said}");
        assert!(!said.contains("secret"), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn the_process_stops_in_time_although_a_client_has_sent_half_a_head() {
    let process = Process::start(&["--memory", "--tick", "0"]);
    let mut clients = Vec::new();
    for url in ["apiUrl", "dynamodbUrl"] {
        let address = process.text(url).trim_start_matches("http://").to_owned();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nHost: loc").unwrap();
        clients.push(client);
    }
    let begun = Instant::now();
    assert_eq!(process.end("TERM").0, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    // The receiver accepts connections, and never answers.
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events", receiver.local_addr().unwrap());
    let mut process = Process::start(&["--memory", "--tick", "0", "--webhook", &url]);
    let id = process.addresses["subscriptionIds"][0].as_str().unwrap().to_owned();
    process.cancel(&id).await;
    let (mut posted, _) = receiver.accept().unwrap();
    posted.read_exact(&mut [0; 4]).unwrap();

    let begun = Instant::now();
    let signal = |id: u32| {
        let sent = Command::new("kill").args(["-s", "TERM", &id.to_string()]).status().unwrap();
        assert!(sent.success());
    };
    signal(process.child.id());
    // Repeated, because two signals count as one until the process has handled the first.
    let ended = loop {
        signal(process.child.id());
        if let Some(ended) = process.child.try_wait().unwrap() {
            break ended;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(ended.code(), Some(1));
    assert!(begun.elapsed() < Duration::from_secs(4), "it did not wait: {:?}", begun.elapsed());
}

#[cfg(unix)]
#[tokio::test]
async fn stored_files_are_readable_only_by_their_owner() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    // An earlier version left this file readable for everybody.
    fs::create_dir(&data).unwrap();
    fs::write(data.join("lock"), "").unwrap();
    fs::set_permissions(data.join("lock"), fs::Permissions::from_mode(0o644)).unwrap();
    let process = Process::start(&["--tick", "0", "--data", data.to_str().unwrap()]);
    let id = process.addresses["subscriptionIds"][0].as_str().unwrap().to_owned();
    process.cancel(&id).await;
    let mut files: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(files.len() >= 3, "{files:?}");
    assert_eq!(process.end("TERM").0, Some(0));
    files.extend(fs::read_dir(&data).unwrap().map(|entry| entry.unwrap()));
    for file in files.iter().filter(|file| file.path().exists()) {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.path().display());
    }
}
