//! `connect events tail`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, BLOCKED, Service, cancel_at, cancel_next_day};
use serde_json::Value;

use super::{connect, process};

/// Longest time to wait for a line of output.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// A running `connect events tail` that waits for events.
struct Tail {
    process: Child,
    out: Receiver<String>,
    notes: Receiver<String>,
}

impl Tail {
    fn start(service: &Service, arguments: &[&str]) -> Self {
        let arguments = [&["events", "tail"], arguments].concat();
        let mut command = process(service, &service.dynamodb_url, &arguments);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, notes) = (lines(process.stdout.take().unwrap()), lines(process.stderr.take().unwrap()));
        let tail = Self { process, out, notes };
        assert_eq!(tail.note(), "waiting for events; Ctrl-C ends it");
        tail
    }

    fn line(&self) -> String {
        self.out.recv_timeout(LONG_ENOUGH).unwrap()
    }

    fn note(&self) -> String {
        self.notes.recv_timeout(LONG_ENOUGH).unwrap()
    }

    /// Interrupts the process. Returns the exit code.
    fn interrupt(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.process.wait().unwrap().code()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // The process still runs only if the test has failed.
        let _ = self.process.kill();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || BufReader::new(from).lines().try_for_each(|line| sender.send(line.unwrap())));
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_shown_as_they_happen() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_at("2026-03-01")).await;
    let tail = Tail::start(&service, &[]);
    let json = Tail::start(&service, &["--json"]);
    let all = Tail::start(&service, &["--from-beginning"]);
    let scheduled = service.cancel(ACTIVATED, &cancel_next_day()).await.json();
    service.cancel(BLOCKED, &cancel_next_day()).await;
    service.withdraw(BLOCKED).await;
    service.set_clock("2026-01-31T23:00:30Z").await;
    service.execute().await;

    let at = scheduled["updatedAt"].as_str().unwrap().split('.').next().unwrap().to_owned();
    assert_eq!(
        tail.line(),
        format!("{at}Z  subscription.updated    demo  {ACTIVATED}  will be CANCELLED on 2026-02-01")
    );
    assert!(tail.line().ends_with(&format!("{BLOCKED}  will be CANCELLED on 2026-02-01")));
    assert!(tail.line().ends_with(&format!("{BLOCKED}  is BLOCKED, no cancellation pending")));
    let last = format!("2026-01-31T23:00:00Z  subscription.cancelled  demo  {ACTIVATED}  is CANCELLED");
    assert_eq!(tail.line(), last);
    assert!(all.line().ends_with("will be CANCELLED on 2026-03-01"));
    let event: Value = serde_json::from_str(&json.line()).unwrap();
    harness::openapi::check_event(&event).unwrap();
    assert_eq!(event["data"], scheduled);
    for tail in [tail, json, all] {
        assert_eq!(tail.interrupt(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_events_are_left_out_and_unreadable_items_are_named() {
    let service = Service::start().await;
    let others = Tail::start(&service, &["--tenant", "acme"]);
    let demos = Tail::start(&service, &["--tenant", "demo"]);
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let key = format!("demo#{BLOCKED}");
    service.update("subscriptions", &key, "SET document = :value", AttributeValue::M([].into())).await;
    assert!(demos.line().contains(ACTIVATED));
    for tail in [&others, &demos] {
        assert_eq!(tail.note(), format!("{key} is malformed, or its version did not grow"));
    }
    assert_eq!((others.interrupt(), demos.interrupt()), (Some(0), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tail_ends_with_its_reader_though_no_event_follows() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let mut command = process(&service, &service.dynamodb_url, &["events", "tail", "--from-beginning"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, notes) =
        (BufReader::new(process.stdout.take().unwrap()), lines(process.stderr.take().unwrap()));
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    notes.recv_timeout(LONG_ENOUGH).unwrap();
    // The process closes its standard error when it ends.
    assert_eq!(notes.recv_timeout(LONG_ENOUGH), Err(RecvTimeoutError::Disconnected));
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tail_fails_for_a_missing_table_or_an_invalid_tenant() {
    let service = Service::start().await;
    let nowhere = process(&service, &service.dynamodb_url, &["events", "tail"])
        .env("SUBSCRIPTIONS_TABLE", "nothing")
        .output()
        .unwrap();
    assert!(super::Said::of(nowhere).failed(1).contains("has no stream"));
    let said = connect(&service, &["events", "tail", "--tenant", "A!"]);
    assert!(said.failed(2).contains("a tenant id has"));
}
