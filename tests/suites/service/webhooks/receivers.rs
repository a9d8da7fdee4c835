//! Receivers that are slow, hostile, or not where they should be. None of them holds up the function for longer than an answer may
//! take, or makes it connect to an address that the webhook may not lead to.

use std::time::Instant;

use axum::Router;
use axum::response::Redirect;
use axum::routing::post;
use domain::webhook::{Addresses, Outcome, Webhook};
use harness::receiver::Receiver;
use harness::webhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::{Function, demo};

/// Starts a receiver that does this with each connection, once a request has begun to come. Returns its URL.
async fn receiver<F: Future<Output = ()> + Send + 'static>(
    answer: impl Fn(TcpStream) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            tokio::spawn(answer(stream));
        }
    });
    url
}

/// Posts an event to this URL. Returns the outcome of the attempt, its status, and the beginning of the answer.
async fn attempt(url: &str, addresses: Addresses) -> (Outcome, Option<u16>, String) {
    let function = Function::start().await;
    function.add(&demo(), Webhook { addresses, ..webhook(url) }).await;
    let event_id = Uuid::new_v4();
    let begun = Instant::now();
    let again = function.post(event_id).await.len();
    // Half a second for the answer, and as long for its beginning. The rest is for the database, on a busy machine.
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    let attempt = function.attempts(event_id).await.remove(0);
    assert_eq!(again, usize::from(attempt.outcome == Outcome::Retrying));
    (attempt.outcome, attempt.status, attempt.answer)
}

async fn refused(url: &str) -> String {
    let (outcome, status, answer) = attempt(url, Addresses::Any).await;
    assert_eq!((outcome, status), (Outcome::Retrying, None), "{answer}");
    answer
}

#[tokio::test]
async fn no_answer_in_time_is_a_failure_that_says_so() {
    let never = receiver(async |stream| {
        std::future::pending::<()>().await;
        drop(stream);
    });
    assert_eq!(refused(&never.await).await, "no answer within 0.5 s");
}

#[tokio::test]
async fn a_head_that_drips_is_no_answer() {
    let dripping = receiver(async |mut stream| {
        for byte in b"HTTP/1.1 200 OK\r\n".iter().chain(b"x: y\r\n".iter().cycle()) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert_eq!(refused(&dripping.await).await, "no answer within 0.5 s");
}

#[tokio::test]
async fn an_endless_answer_is_read_to_its_256th_byte() {
    let endless = receiver(async |mut stream| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while stream.write_all(&[b'x'; 64 << 10]).await.is_ok() {}
    });
    let (outcome, status, answer) = attempt(&endless.await, Addresses::Any).await;
    assert_eq!((outcome, status), (Outcome::Delivered, Some(200)));
    assert_eq!(answer, "x".repeat(256));
}

#[tokio::test]
async fn a_body_that_drips_delays_nothing_once_the_status_is_known() {
    let dripping = receiver(async |mut stream| {
        stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 100\r\n\r\nbusy \xc3").await.unwrap();
        std::future::pending::<()>().await;
    });
    let (outcome, status, answer) = attempt(&dripping.await, Addresses::Any).await;
    assert_eq!((outcome, status, answer.as_str()), (Outcome::Retrying, Some(503), "busy "));
}

#[tokio::test]
async fn something_else_than_http_is_a_failure_that_says_so() {
    let other =
        receiver(async |mut stream| stream.write_all(b"220 mail.example.com ESMTP\r\n").await.unwrap());
    assert!(refused(&other.await).await.contains("invalid HTTP"));
}

#[tokio::test]
async fn a_connection_that_closes_or_is_refused_is_a_failure_that_says_so() {
    let closing = receiver(async |stream| drop(stream));
    let answer = refused(&closing.await).await;
    assert!(answer.to_lowercase().contains("connection"), "{answer}");
    assert!(refused(&Receiver::down().url).await.contains("Connection refused"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Receiver::start();
    let to = target.url.clone();
    let routes = Router::new().route("/events", post(async move || Redirect::temporary(&to)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let (outcome, status, _) = attempt(&url, Addresses::Any).await;
    assert_eq!((outcome, status), (Outcome::Retrying, Some(307)));
    assert!(target.posted_at_all(0).await.is_empty());
}

#[tokio::test]
async fn a_webhook_for_public_addresses_never_connects_to_this_machine() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for (host, why) in [
        ("localhost", "the name leads to no public address"),
        ("127.0.0.1", "the address is not public"),
        ("[::ffff:127.0.0.1]", "the address is not public"),
        ("2130706433", "the address is not public"),
    ] {
        let (outcome, status, answer) =
            attempt(&format!("https://{host}:{port}/events"), Addresses::Public).await;
        assert_eq!((outcome, status), (Outcome::Retrying, None));
        assert!(answer.contains(why), "{host}: {answer}");
    }
    let (_, _, answer) = attempt(&format!("http://example.com:{port}/"), Addresses::Public).await;
    assert!(answer.contains("must begin with https"), "{answer}");
    assert!(listener.accept().is_err(), "something connected");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/events", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The client gives up during the handshake.
            let _ = acceptor.accept(stream).await;
        }
    });
    let answer = refused(&url).await;
    assert!(answer.contains("certificate"), "{answer}");
}
