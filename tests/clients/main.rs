//! The examples of clients do what they say: each cancels once, whatever happens to its requests.

use std::env;
use std::process::{Output, Stdio};

use harness::{ACTIVATED, CANCELLED, Fault, Held, Service};
use tokio::io::{AsyncReadExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// The clients, as `.ci/clients` has made them ready.
const CLIENTS: [&str; 4] = ["CURL_CLIENT", "PYTHON_CLIENT", "TYPESCRIPT_CLIENT", "RUST_CLIENT"];

async fn run(client: &str, api_url: &str, api_key: &str, subscription: &str) -> Output {
    let command = env::var(client).unwrap_or_else(|_| panic!("{client} is the command of a client"));
    let mut words = command.split(' ');
    let mut process = Command::new(words.next().unwrap());
    process.args(words).arg(subscription).env("CONNECT_URL", api_url).env("CONNECT_API_KEY", api_key);
    process.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap().trim()
}

/// A way to the API on which the first answer gets lost, after the service has done what was asked.
async fn losing_the_first_answer(api_url: &str) -> String {
    let api = api_url.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let (mut from_client, _to_client) = client.into_split();
        let (mut from_api, mut to_api) = TcpStream::connect(&api).await.unwrap().into_split();
        tokio::select! {
            _ = async { copy(&mut from_client, &mut to_api).await.unwrap(); std::future::pending::<()>().await } => {}
            answered = from_api.read_u8() => assert_eq!(answered.unwrap(), b'H'),
        }
        drop((from_client, _to_client, from_api, to_api));
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut api = TcpStream::connect(&api).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut api).await });
        }
    });
    url
}

#[tokio::test]
#[ignore = "needs the clients that .ci/clients makes ready"]
async fn an_answer_that_gets_lost_is_asked_for_again() {
    for client in CLIENTS {
        let service = Service::start().await;
        let way = losing_the_first_answer(&service.api_url).await;
        let output = run(client, &way, &service.api_key, ACTIVATED).await;
        assert_eq!(text(&output.stdout), "2026-02-01", "{client}: {}", text(&output.stderr));
        assert!(output.status.success(), "{client}");
        assert_eq!(service.version(ACTIVATED).await, 2, "{client} cancelled once");
        assert_eq!(service.scan("idempotency").await.len(), 1, "{client} used one key");
    }
}

#[tokio::test]
#[ignore = "needs the clients that .ci/clients makes ready"]
async fn a_key_that_is_locked_and_a_service_that_is_unavailable_are_waited_for() {
    for client in CLIENTS {
        let (database, service, wire) = Service::start_wired().await;
        // Of three requests, the first meets others all the time, the second can't be read, and the third is done.
        wire.always("TransactWriteItems", Fault::conflict());
        let third = Held::default();
        let denied = Fault::refusal("AccessDeniedException");
        wire.next("BatchGetItem", [Fault::Pass, denied, Fault::HoldRequest(third.clone())]);
        let (output, ()) = tokio::join!(run(client, &service.api_url, &service.api_key, ACTIVATED), async {
            third.reached().await;
            wire.mend();
            third.release();
        });
        let log = text(&output.stderr);
        assert_eq!(text(&output.stdout), "2026-02-01", "{client}: {log}");
        assert!(log.contains("409 idempotency_key_locked") && log.contains("500 internal_error"), "{log}");
        assert_eq!(database.version(ACTIVATED).await, 2, "{client} cancelled once");
        assert_eq!(database.scan("idempotency").await.len(), 1, "{client} used one key");
    }
}

#[tokio::test]
#[ignore = "needs the clients that .ci/clients makes ready"]
async fn a_refusal_is_not_repeated() {
    for client in CLIENTS {
        let (_database, service, wire) = Service::start_wired().await;
        let output = run(client, &service.api_url, &service.api_key, CANCELLED).await;
        assert!(!output.status.success(), "{client}");
        assert!(text(&output.stderr).contains("subscription_already_cancelled"), "{}", text(&output.stderr));
        assert_eq!(wire.seen(), ["BatchGetItem", "PutItem"], "{client} asked once");
    }
}
