//! A receiver of events: a server that webhooks are posted to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use local::webhook::Webhook;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::sync::watch;

use crate::openapi::check_event;
use crate::wire::socket;

/// Longest wait for an expected event.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// The answer of a receiver to an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Status(u16),
    /// No answer.
    Never,
}

/// A receiver of events.
pub struct Receiver {
    pub url: String,
    inner: Arc<Inner>,
    /// Keeps the port while nothing listens on it, so that connecting is refused and no one else gets it.
    port: TcpSocket,
}

struct Inner {
    /// Answers to the next events. Later events are answered with 204.
    next: Mutex<VecDeque<Answer>>,
    /// Events posted so far, each with the answer to it.
    posted: watch::Sender<Vec<(Value, Answer)>>,
}

impl Receiver {
    /// Starts a receiver that accepts every event, unless [`next`](Self::next) says otherwise.
    pub fn start() -> Self {
        let receiver = Self::down();
        receiver.open();
        receiver
    }

    /// Creates a receiver that refuses connections until [`open`](Self::open) is called.
    pub fn down() -> Self {
        let port = socket();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let inner = Inner { next: Mutex::default(), posted: watch::Sender::default() };
        let url = format!("http://{}/events", port.local_addr().unwrap());
        Self { url, inner: Arc::new(inner), port }
    }

    /// Accepts connections from now on.
    pub fn open(&self) {
        let listening = socket();
        listening.bind(self.port.local_addr().unwrap()).unwrap();
        let listener = listening.listen(128).unwrap();
        let routes = Router::new().route("/events", post(receive)).with_state(Arc::clone(&self.inner));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    }

    /// Sets the answers to the next events.
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.inner.next.lock().unwrap().extend(answers);
    }

    /// Returns the receiver as a webhook, with a first pause of 5 ms before a retry.
    pub fn webhook(&self) -> Webhook {
        Webhook { timeout: LONG_ENOUGH, first_pause: Duration::from_millis(5), ..self.url.parse().unwrap() }
    }

    /// Waits until `taken` events were accepted (204). Returns all events posted so far, accepted or not.
    pub async fn posted(&self, taken: usize) -> Vec<(Value, Answer)> {
        let mut posted = self.inner.posted.subscribe();
        let enough = |posted: &Vec<(Value, Answer)>| {
            posted.iter().filter(|(_, answer)| *answer == Answer::Status(204)).count() >= taken
        };
        let waiting = tokio::time::timeout(LONG_ENOUGH, posted.wait_for(enough));
        waiting.await.expect("the events did not arrive in time").unwrap().clone()
    }

    /// Waits until `count` events were posted, accepted or not.
    pub async fn posted_at_all(&self, count: usize) {
        let mut posted = self.inner.posted.subscribe();
        let waiting = tokio::time::timeout(LONG_ENOUGH, posted.wait_for(|posted| posted.len() >= count));
        waiting.await.expect("the events did not arrive in time").unwrap();
    }

    /// Waits until `count` events were accepted, and returns the accepted ones.
    pub async fn taken(&self, count: usize) -> Vec<Value> {
        let posted = self.posted(count).await.into_iter();
        posted.filter(|(_, answer)| *answer == Answer::Status(204)).map(|(event, _)| event).collect()
    }
}

async fn receive(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/json");
    let event: Value = serde_json::from_slice(&body).unwrap();
    check_event(&event).unwrap();
    let answer = inner.next.lock().unwrap().pop_front().unwrap_or(Answer::Status(204));
    inner.posted.send_modify(|posted| posted.push((event, answer)));
    match answer {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap(),
        Answer::Never => std::future::pending().await,
    }
}
