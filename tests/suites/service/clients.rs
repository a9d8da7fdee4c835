//! The example clients: each cancels exactly once, whatever happens to its requests.

mod receivers;

use std::env;
use std::pin::pin;
use std::process::{Output, Stdio};
use std::time::Duration;

use harness::{ACTIVATED, CANCELLED, Fault, Held, Service};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

/// Environment variables in which `.ci/clients` puts the commands of the clients, with tabs between the words.
const CLIENTS: [&str; 4] = ["CURL_CLIENT", "PYTHON_CLIENT", "TYPESCRIPT_CLIENT", "RUST_CLIENT"];

/// Longest run of a client. One that takes longer would wait forever.
const LONG_ENOUGH: Duration = Duration::from_secs(90);

async fn run(client: &str, api_url: &str, api_key: &str, subscription: &str) -> Output {
    let command = env::var(client).unwrap_or_else(|_| panic!("{client} must be the command of a client"));
    let mut words = command.split('\t');
    let mut process = Command::new(words.next().unwrap());
    process.args(words).arg(subscription).env("CONNECT_URL", api_url).env("CONNECT_API_KEY", api_key);
    let output = process.stdin(Stdio::null()).kill_on_drop(true).output();
    timeout(LONG_ENOUGH, output).await.unwrap_or_else(|_| panic!("{client} does not end")).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap().trim()
}

async fn assert_cancelled_once(client: &str, output: &Output, service: &Service) {
    assert_eq!(text(&output.stdout), "2026-02-01", "{client}: {}", text(&output.stderr));
    assert!(output.status.success(), "{client}");
    assert_eq!(service.version(ACTIVATED).await, 2, "{client} cancelled once");
    assert_eq!(service.scan("idempotency").await.len(), 1, "{client} used one key");
}

/// Starts a proxy to the API that breaks off the first answer after so many bytes, and returns its URL. The service has carried
/// out the request by then.
async fn breaking_off(api_url: &str, bytes: usize) -> String {
    let api = api_url.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_api, mut to_api) = TcpStream::connect(&api).await.unwrap().into_split();
        let request = tokio::spawn(async move { copy(&mut from_client, &mut to_api).await });
        let mut answer = [0; 65_536];
        let length = from_api.read(&mut answer).await.unwrap();
        to_client.write_all(&answer[..bytes.min(length - 1)]).await.unwrap();
        request.abort();
        drop((to_client, from_api));
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut api = TcpStream::connect(&api).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut api).await });
        }
    });
    url
}

#[tokio::test]
#[ignore = "needs the clients that .ci/clients prepares"]
async fn a_client_asks_again_for_a_lost_or_truncated_answer() {
    // Breaks off before the first byte, after the status, and before the last byte.
    for (client, bytes) in CLIENTS.iter().flat_map(|client| [0, 20, usize::MAX].map(|bytes| (client, bytes)))
    {
        let service = Service::start().await;
        let way = breaking_off(&service.api_url, bytes).await;
        let output = run(client, &way, &service.api_key, ACTIVATED).await;
        assert_cancelled_once(client, &output, &service).await;
    }
}

#[tokio::test]
#[ignore = "needs the clients that .ci/clients prepares"]
async fn a_client_waits_for_a_locked_key_and_for_a_failing_service() {
    for client in CLIENTS {
        let (database, service, wire) = Service::start_wired().await;
        // There are three requests. The first meets conflicts until it gives up, the read of the second is denied, and the
        // third succeeds.
        wire.always("TransactWriteItems", Fault::conflict());
        let third = Held::default();
        let denied = Fault::refusal("AccessDeniedException");
        wire.next("BatchGetItem", [Fault::Pass, denied, Fault::HoldRequest(third.clone())]);
        let mut running = pin!(run(client, &service.api_url, &service.api_key, ACTIVATED));
        tokio::select! {
            output = &mut running => panic!("{client} gave up: {}", text(&output.stderr)),
            () = third.reached() => {}
        }
        wire.clear_faults();
        third.release();
        let output = running.await;
        let log = text(&output.stderr);
        assert!(log.contains("409 idempotency_key_locked") && log.contains("500 internal_error"), "{log}");
        assert_cancelled_once(client, &output, &database).await;
    }
}

#[tokio::test]
#[ignore = "needs the clients that .ci/clients prepares"]
async fn a_client_does_not_repeat_a_refused_request() {
    for client in CLIENTS {
        let (_database, service, wire) = Service::start_wired().await;
        let output = run(client, &service.api_url, &service.api_key, CANCELLED).await;
        assert!(!output.status.success(), "{client}");
        assert!(text(&output.stderr).contains("subscription_already_cancelled"), "{}", text(&output.stderr));
        assert_eq!(wire.seen(), ["BatchGetItem", "PutItem"], "{client} asked once");
    }
}

#[tokio::test]
#[ignore = "needs the clients that .ci/clients prepares"]
async fn a_client_sends_a_reference_id_as_it_was_given() {
    for client in CLIENTS {
        let reference = "Kund 1 & ü#+;=\\\"'~";
        let document = json!({"subscriptionId": ACTIVATED, "status": "ACTIVATED", "referenceId": reference});
        let service = Service::start_seeded(&[document]).await;
        let name = format!("rid_{reference}");
        let output = run(client, &service.api_url, &service.api_key, &name).await;
        assert_cancelled_once(client, &output, &service).await;
    }
}
