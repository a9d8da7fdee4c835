//! Stand-ins for Amazon EventBridge and SQS: a bus for events, and a queue for changes that can't be events.
//!
//! The bus accepts events, remembers the last ones for the status, and has them delivered to a webhook. `publish-events` reaches
//! both over HTTP, as on AWS.

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

/// The path of both on the service.
pub const PATH: &str = "/_local/aws";
/// The name of the bus.
pub const NAME: &str = "connect-subscriptions";
/// The URL that names the queue.
pub const QUEUE: &str = "http://localhost/000000000000/failed-events";

/// Number of events that are remembered for the status.
const REMEMBERED: usize = 10;
/// Most events that wait for their delivery. Then the bus accepts no more; later events stay in the stream, and are not lost.
const MOST_WAITING: usize = 1_000;

/// A bus and a queue.
#[derive(Default)]
pub struct Bus {
    state: Mutex<Events>,
    webhook: Option<Deliveries>,
}

#[derive(Default)]
struct Events {
    /// Number of events accepted so far.
    accepted: u64,
    /// Numbers of the events that are still to be delivered. The first event is number 1.
    undelivered: BTreeSet<u64>,
    /// The last events, the latest first.
    last: VecDeque<ShownEvent>,
}

/// An event in the status.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownEvent {
    #[serde(skip)]
    number: u64,
    /// The event as it is published.
    event: Value,
    /// The progress of its delivery; absent if there is no webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<Progress>,
    /// Number of times that the event has been posted.
    attempts: u32,
}

/// The progress of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// The event has not been delivered yet, and is tried again.
    Waiting,
    /// The receiver has the event.
    Delivered,
    /// The receiver refused the event, or has not accepted it for a day.
    Dropped,
}

impl Bus {
    /// Creates a bus. Its events go to the webhook, if there is one.
    #[must_use]
    pub fn new(webhook: Option<Deliveries>) -> Self {
        Self { state: Mutex::default(), webhook }
    }

    /// Returns the deliveries to the webhook, if there is one.
    #[must_use]
    pub fn webhook(&self) -> Option<&Deliveries> {
        self.webhook.as_ref()
    }

    /// Returns the number of events accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.events().accepted
    }

    /// Returns the number of events delivered or dropped, counted from the first up to the first that is neither.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        let events = self.events();
        events.undelivered.first().map_or(events.accepted, |first| first - 1)
    }

    /// Returns the last events, the latest first.
    #[must_use]
    pub fn last(&self) -> Vec<ShownEvent> {
        self.events().last.iter().cloned().collect()
    }

    /// Records the outcome of an attempt to deliver an event.
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

    /// Accepts an event, unless too many wait for their delivery. Returns true if it is accepted.
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
            // Within the lock, so that events are delivered in the order of their numbers.
            deliveries.deliver(self, Delivery { number, about, body, since: Instant::now() });
        }
        true
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates the route of both.
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
        // The message is not kept: the function has logged its content.
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

        // Events are delivered in any order. Only those without a gap from the first on count.
        bus.progress(2, Progress::Delivered);
        assert_eq!(bus.delivered(), 0);
        bus.progress(1, Progress::Dropped);
        assert_eq!(bus.delivered(), 2);
        assert_eq!(put(event()), Value::Null);
    }
}
