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

/// What has not come by then will not come.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Status(u16),
    /// Not in time.
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
    /// How the next ones are answered; those after them with 204.
    next: Mutex<VecDeque<Answer>>,
    /// What was posted, and how it was answered.
    posted: watch::Sender<Vec<(Value, Answer)>>,
}

impl Receiver {
    /// One that takes what comes.
    pub fn start() -> Self {
        let receiver = Self::down();
        receiver.open();
        receiver
    }

    /// One that nobody can connect to yet.
    pub fn down() -> Self {
        let port = socket();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let inner = Inner { next: Mutex::default(), posted: watch::Sender::default() };
        let url = format!("http://{}/events", port.local_addr().unwrap());
        Self { url, inner: Arc::new(inner), port }
    }

    /// Lets connect who wants to.
    pub fn open(&self) {
        let listening = socket();
        listening.bind(self.port.local_addr().unwrap()).unwrap();
        let listener = listening.listen(128).unwrap();
        let routes = Router::new().route("/events", post(receive)).with_state(Arc::clone(&self.inner));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    }

    /// How the next events are answered.
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.inner.next.lock().unwrap().extend(answers);
    }

    /// It as a webhook, to which an event is posted again at once.
    pub fn webhook(&self) -> Webhook {
        Webhook { timeout: LONG_ENOUGH, first_pause: Duration::from_millis(5), ..self.url.parse().unwrap() }
    }

    /// Waits until so many events were posted and taken; all of them, with those that were not.
    pub async fn posted(&self, taken: usize) -> Vec<(Value, Answer)> {
        let mut posted = self.inner.posted.subscribe();
        let enough = |posted: &Vec<(Value, Answer)>| {
            posted.iter().filter(|(_, answer)| *answer == Answer::Status(204)).count() >= taken
        };
        let waiting = tokio::time::timeout(LONG_ENOUGH, posted.wait_for(enough));
        waiting.await.expect("they did not come").unwrap().clone()
    }

    /// Waits until so many events were posted, taken or not.
    pub async fn posted_at_all(&self, count: usize) {
        let mut posted = self.inner.posted.subscribe();
        let waiting = tokio::time::timeout(LONG_ENOUGH, posted.wait_for(|posted| posted.len() >= count));
        waiting.await.expect("they did not come").unwrap();
    }

    /// Waits until so many events were taken; those.
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
