//! The example receivers: each verifies the signature with the library of its language, processes an event once, and keeps the latest
//! state of a subscription.

use std::env;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use chrono::TimeDelta;
use domain::webhook::FormerSecret;
use harness::{ACTIVATED, Service, cancel_at, cancel_next_day, options, webhook};
use local::up::Options;
use serde_json::{Value, json};
use service::clock::Clock;
use service::deliver::resend;
use service::ids;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::LONG_ENOUGH;

/// Environment variables in which `.ci/clients` puts the commands of the receivers.
const RECEIVERS: [&str; 3] = ["PYTHON_RECEIVER", "TYPESCRIPT_RECEIVER", "RUST_RECEIVER"];

/// A receiver that runs.
struct Running {
    url: String,
    events: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Running {
    async fn start(receiver: &str, secret: &str) -> Self {
        let command =
            env::var(receiver).unwrap_or_else(|_| panic!("{receiver} must be the command of a receiver"));
        let mut words = command.split('\t');
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new(words.next().unwrap());
        process.args(words).env("WEBHOOK_SECRET", secret).env("PORT", port.to_string());
        let mut process =
            process.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let url = format!("http://127.0.0.1:{port}/events");
        let events = BufReader::new(process.stdout.take().unwrap()).lines();
        let listening = async {
            while reqwest::get(&url).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LONG_ENOUGH, listening).await.unwrap_or_else(|_| panic!("{receiver} does not listen"));
        Self { url, events, _process: process }
    }

    async fn event(&mut self) -> Value {
        let line = timeout(LONG_ENOUGH, self.events.next_line()).await.expect("no event").unwrap();
        serde_json::from_str(&line.unwrap()).unwrap()
    }
}

#[tokio::test]
#[ignore = "needs the receivers that .ci/clients prepares"]
async fn a_receiver_verifies_signatures_and_processes_each_event_once() {
    for name in RECEIVERS {
        let service = Service::start_with(Options { publishes: true, ..options() }).await;
        let mut webhook = webhook("");
        let mut receiver = Running::start(name, &webhook.secret.reveal()).await;
        webhook.url.clone_from(&receiver.url);
        // The secret is being replaced: the receiver has the former one.
        let until = Clock::system().now() + TimeDelta::hours(1);
        let secret = std::mem::replace(&mut webhook.secret, ids::webhook_secret().unwrap());
        webhook.former = Some(FormerSecret { secret, until });
        let tenant = "demo".parse().unwrap();
        service.add_webhook(&webhook).await;

        let scheduled = service.cancel(ACTIVATED, &cancel_next_day()).await.json();
        let first = receiver.event().await;
        assert_eq!((&first["data"], &first["version"]), (&scheduled, &json!(2)), "{name}");
        // The same event again, one that nobody signed, and one with a signature that is too old.
        let event_id = first["eventId"].as_str().unwrap().parse().unwrap();
        let (queue, now) = (service.queue(), Clock::system().now());
        resend(&service.store(), &queue, &tenant, event_id, std::slice::from_ref(&webhook), now)
            .await
            .unwrap();
        let client = reqwest::Client::new();
        let forged = client.post(&receiver.url).json(&first).send().await.unwrap();
        assert_eq!(forged.status(), 401, "{name}");
        let (signer, late) =
            (standardwebhooks::Webhook::new(&webhook.former.as_ref().unwrap().secret.reveal()), now);
        let late = (late - TimeDelta::minutes(6)).timestamp();
        let body = first.to_string();
        let signature = signer.unwrap().sign("x", late, body.as_bytes()).unwrap();
        let replayed = client
            .post(&receiver.url)
            .header("webhook-id", "x")
            .header("webhook-timestamp", late)
            .header("webhook-signature", signature)
            .body(body);
        assert_eq!(replayed.send().await.unwrap().status(), 401, "{name}");
        service.cancel(ACTIVATED, &cancel_at("2026-06-01")).await;
        let next = receiver.event().await;
        assert_eq!((&next["cause"], &next["version"]), (&json!("REPLACED"), &json!(3)), "{name}");
    }
}
