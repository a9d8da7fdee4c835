//! A receiver of events: a server that webhooks are posted to. It verifies the signature of each post.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use reqwest::Url;
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
    /// A status with the header `Retry-After`, in seconds.
    Later(u16, u64),
    /// A status with a body.
    Text(u16, &'static str),
    /// No answer.
    Never,
}

/// The answer that accepts an event.
const ACCEPTED: Answer = Answer::Status(204);

/// A receiver of events.
pub struct Receiver {
    pub url: String,
    inner: Arc<Inner>,
    /// Keeps the port while nothing listens on it, so that connecting is refused and no one else gets it.
    port: TcpSocket,
}

struct Inner {
    /// Answers to the next events.
    next: Mutex<VecDeque<Answer>>,
    /// Answer to later events.
    otherwise: Mutex<Answer>,
    /// The secret that must sign, once it is known.
    secret: Mutex<Option<String>>,
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
        let inner = Inner {
            next: Mutex::default(),
            otherwise: Mutex::new(ACCEPTED),
            secret: Mutex::default(),
            posted: watch::Sender::default(),
        };
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

    /// Sets the answer to all events for which no other is set.
    pub fn always(&self, answer: Answer) {
        *self.inner.otherwise.lock().unwrap() = answer;
    }

    /// Verifies the signature of all later events with this secret.
    pub fn verify_with(&self, secret: &str) {
        *self.inner.secret.lock().unwrap() = Some(secret.to_owned());
    }

    /// Verifies no signatures from now on.
    pub fn verify_no_more(&self) {
        *self.inner.secret.lock().unwrap() = None;
    }

    /// Returns the URL, parsed.
    pub fn parsed_url(&self) -> Url {
        self.url.parse().unwrap()
    }

    /// Waits until `accepted` events were accepted (204). Returns all events posted so far, accepted or not.
    pub async fn posted(&self, accepted: usize) -> Vec<(Value, Answer)> {
        let mut posted = self.inner.posted.subscribe();
        let enough = |posted: &Vec<(Value, Answer)>| {
            posted.iter().filter(|(_, answer)| *answer == ACCEPTED).count() >= accepted
        };
        let waiting = tokio::time::timeout(LONG_ENOUGH, posted.wait_for(enough));
        waiting.await.expect("the events did not arrive in time").unwrap().clone()
    }

    /// Waits until `count` events were posted, accepted or not.
    pub async fn posted_at_all(&self, count: usize) -> Vec<(Value, Answer)> {
        let mut posted = self.inner.posted.subscribe();
        let waiting = tokio::time::timeout(LONG_ENOUGH, posted.wait_for(|posted| posted.len() >= count));
        waiting.await.expect("the events did not arrive in time").unwrap().clone()
    }

    /// Waits until `count` events were accepted, and returns the accepted ones by subscription and version, which is the order in
    /// which they occurred.
    pub async fn taken(&self, count: usize) -> Vec<Value> {
        let posted = self.posted(count).await.into_iter();
        let mut taken: Vec<_> =
            posted.filter(|(_, answer)| *answer == ACCEPTED).map(|(event, _)| event).collect();
        taken.sort_by_key(|event| (event["data"]["subscriptionId"].to_string(), event["version"].as_u64()));
        taken
    }
}

async fn receive(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["content-type"], "application/json");
    let event: Value = serde_json::from_slice(&body).unwrap();
    check_event(&event).unwrap();
    assert_eq!(headers["webhook-id"], event["eventId"].as_str().unwrap());
    let secret = inner.secret.lock().unwrap().clone();
    if let Some(secret) = secret {
        standardwebhooks::Webhook::new(&secret).unwrap().verify(&body, &headers).unwrap();
    }
    let next = inner.next.lock().unwrap().pop_front();
    let answer = next.unwrap_or(*inner.otherwise.lock().unwrap());
    inner.posted.send_modify(|posted| posted.push((event, answer)));
    match answer {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Later(status, seconds) => {
            (StatusCode::from_u16(status).unwrap(), [("retry-after", seconds.to_string())]).into_response()
        }
        Answer::Text(status, text) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Answer::Never => std::future::pending().await,
    }
}
