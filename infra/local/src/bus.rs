//! Amazon EventBridge and SQS for events: a bus takes them, remembers the last ones to be shown, and has them delivered to a webhook;
//! a queue takes the changes that can't be events.
//!
//! Both are reached over HTTP, as `publish-events` reaches them on AWS.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::webhook::{Deliveries, Delivery};

/// Where on the service both are reached.
pub const PATH: &str = "/_local/aws";
/// What the bus is called.
pub const NAME: &str = "connect-subscriptions";
/// What names the queue.
pub const QUEUE: &str = "http://localhost/000000000000/failed-events";

/// How many events are remembered, to be shown.
const REMEMBERED: usize = 10;
/// How many events may wait for their delivery before the bus takes no more: the others are safe in the stream.
const MOST_WAITING: usize = 1_000;

/// A bus and a queue.
#[derive(Default)]
pub struct Bus {
    state: Mutex<Events>,
    webhook: Option<Deliveries>,
}

#[derive(Default)]
struct Events {
    /// How many there have been.
    accepted: u64,
    /// Those that are to be delivered, by their numbers: the first one is 1.
    undelivered: BTreeSet<u64>,
    /// The last ones, the latest first.
    last: VecDeque<ShownEvent>,
}

/// An event, to be shown.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownEvent {
    #[serde(skip)]
    number: u64,
    /// As it is published.
    event: Value,
    /// What has become of its delivery; absent if there is no webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<Progress>,
    /// How often it has been posted.
    attempts: u32,
}

/// What has become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// It is tried again.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// The receiver refuses it, or has not taken it for a day.
    Dropped,
}

impl Bus {
    /// One whose events go to a webhook, if there is one.
    #[must_use]
    pub fn new(webhook: Option<Deliveries>) -> Self {
        Self { state: Mutex::default(), webhook }
    }

    /// What delivers its events to a webhook, if there is one.
    #[must_use]
    pub fn webhook(&self) -> Option<&Deliveries> {
        self.webhook.as_ref()
    }

    /// How many events there have been.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.events().accepted
    }

    /// How many of them, from the first one on, have been delivered or dropped.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        let events = self.events();
        events.undelivered.first().map_or(events.accepted, |first| first - 1)
    }

    /// The last events, the latest first.
    #[must_use]
    pub fn last(&self) -> Vec<ShownEvent> {
        self.events().last.iter().cloned().collect()
    }

    /// Takes down how far the delivery of an event has come.
    pub fn progress(&self, number: u64, progress: Progress) {
        let mut events = self.events();
        if progress != Progress::Waiting {
            events.undelivered.remove(&number);
        }
        if let Some(shown) = events.last.iter_mut().find(|shown| shown.number == number) {
            shown.delivery = Some(progress);
            shown.attempts += 1;
        }
    }

    /// Takes an event, unless too many wait for their delivery.
    fn accept(self: &Arc<Self>, body: String, event: Value) -> bool {
        let mut events = self.events();
        if events.undelivered.len() >= MOST_WAITING {
            return false;
        }
        events.accepted += 1;
        let number = events.accepted;
        let delivery = self.webhook.as_ref().map(|_| Progress::Waiting);
        let about = event.pointer("/data/subscriptionId").map(Value::to_string).unwrap_or_default();
        events.last.push_front(ShownEvent { number, event, delivery, attempts: 0 });
        events.last.truncate(REMEMBERED);
        if let Some(deliveries) = &self.webhook {
            events.undelivered.insert(number);
            // Within the lock, so that they are delivered in the order of their numbers.
            deliveries.deliver(self, Delivery { number, about, body, since: Instant::now() });
        }
        true
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The route that both are reached by.
pub fn routes(bus: Arc<Bus>) -> Router {
    Router::new().route(PATH, post(answer)).route(&format!("{PATH}/"), post(answer)).with_state(bus)
}

async fn answer(State(bus): State<Arc<Bus>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    match target {
        "AWSEvents.PutEvents" => match serde_json::from_slice(&body) {
            Ok(request) => Json(put_events(&bus, request)).into_response(),
            Err(_) => refuse("ValidationException"),
        },
        // The function has logged what is in a message.
        "AmazonSQS.SendMessage" => match serde_json::from_slice::<Value>(&body) {
            Ok(message) if message.get("MessageBody").is_some() => {
                Json(json!({"MessageId": Uuid::new_v4()})).into_response()
            }
            _ => refuse("InvalidMessageContents"),
        },
        _ => refuse("UnknownOperationException"),
    }
}

fn refuse(code: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"__type": code}))).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    detail: String,
}

fn put_events(bus: &Arc<Bus>, request: PutEvents) -> Value {
    let answer = |entry: Entry| match serde_json::from_str::<Value>(&entry.detail) {
        Ok(event) if event.pointer("/data/subscriptionId").is_some() => {
            if bus.accept(entry.detail, event) {
                json!({"EventId": Uuid::new_v4()})
            } else {
                json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "Too many events are not delivered."})
            }
        }
        _ => json!({"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}),
    };
    let entries: Vec<_> = request.entries.into_iter().map(answer).collect();
    let failed = entries.iter().filter(|entry| entry.get("ErrorCode").is_some()).count();
    json!({"FailedEntryCount": failed, "Entries": entries})
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn the_bus_refuses_a_malformed_event_and_throttles_when_too_many_events_wait() {
        let stopped = CancellationToken::new();
        stopped.cancel();
        let nowhere = "http://127.0.0.1:9/".parse().unwrap();
        let bus = Arc::new(Bus::new(Some(Deliveries::new(nowhere, stopped).unwrap())));
        let put = |detail: Value| {
            let entries = vec![Entry { detail: detail.to_string() }];
            put_events(&bus, PutEvents { entries })["Entries"][0]["ErrorCode"].clone()
        };
        let event = || json!({"data": {"subscriptionId": Uuid::new_v4()}});
        assert_eq!(put(json!({})), "MalformedDetail");
        for _ in 0..MOST_WAITING {
            assert_eq!(put(event()), Value::Null);
        }
        assert_eq!(put(event()), "ThrottlingException");
        assert_eq!((bus.accepted(), bus.delivered(), bus.last().len()), (1_000, 0, REMEMBERED));

        // They are delivered in any order; those from the first one on count.
        bus.progress(2, Progress::Delivered);
        assert_eq!(bus.delivered(), 0);
        bus.progress(1, Progress::Dropped);
        assert_eq!(bus.delivered(), 2);
        assert_eq!(put(event()), Value::Null);
    }
}
