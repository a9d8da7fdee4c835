//! Stand-ins for Amazon EventBridge and SQS: a bus for events, the rule that puts each into the queue of deliveries, and a queue for
//! changes that can't be events.
//!
//! The bus accepts events, and remembers the last ones for the status. The functions reach it and the queues over HTTP, as on AWS.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{SecondsFormat, TimeDelta};
use domain::identifiers::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use service::clock::Clock;
use tracing::error;
use uuid::Uuid;

use crate::queue::{NewMessage, Queue};

/// The path of all of them on the service.
pub const PATH: &str = "/_local/aws";
/// The name of the bus.
pub const NAME: &str = "connect-subscriptions";
/// The URL that names the queue of failed events.
pub const FAILED_EVENTS: &str = "http://localhost/000000000000/failed-events";
/// The URL that names the queue of deliveries.
pub const WEBHOOKS: &str = "http://localhost/000000000000/webhooks";

/// Number of events that are remembered for the status.
const REMEMBERED: usize = 10;

/// A bus, and the queue that its events go into.
pub struct Bus {
    last: Mutex<VecDeque<LastEvent>>,
    queue: Arc<Queue>,
    clock: Clock,
}

/// One of the last events.
#[derive(Clone, Debug)]
pub struct LastEvent {
    /// The tenant.
    pub tenant: TenantId,
    /// The event as it is published.
    pub event: Value,
}

impl Bus {
    /// Creates a bus whose events go into this queue, which has this clock.
    #[must_use]
    pub fn new(queue: Arc<Queue>, clock: Clock) -> Self {
        Self { last: Mutex::default(), queue, clock }
    }

    /// Returns the last events, the latest first.
    #[must_use]
    pub fn last(&self) -> Vec<LastEvent> {
        self.events().iter().cloned().collect()
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<LastEvent>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts an event. Fails with the code of EventBridge.
    fn put(&self, entry: Entry) -> Result<Uuid, &'static str> {
        let detail = RawValue::from_string(entry.detail).map_err(|_| "MalformedDetail")?;
        let event: Value = serde_json::from_str(detail.get()).map_err(|_| "MalformedDetail")?;
        let tenant =
            entry.resources.iter().find_map(|resource| resource.strip_prefix("tenant/")?.parse().ok());
        let tenant = tenant.ok_or("InvalidArgument")?;
        let id = Uuid::new_v4();
        let envelope = Envelope {
            version: "0",
            id,
            detail_type: &entry.detail_type,
            source: &entry.source,
            account: "000000000000",
            time: self.clock.now().to_rfc3339_opts(SecondsFormat::Secs, true),
            region: "local",
            resources: &entry.resources,
            detail: &detail,
        };
        // An envelope always has a JSON form.
        let body = serde_json::to_string(&envelope).unwrap_or_default();
        self.add(&[NewMessage { body, group: String::new(), delay: TimeDelta::zero() }])?;
        let mut last = self.events();
        last.push_front(LastEvent { tenant, event });
        last.truncate(REMEMBERED);
        Ok(id)
    }

    fn add(&self, messages: &[NewMessage]) -> Result<(), &'static str> {
        self.queue.add(messages, self.clock.now()).map_err(|cause| {
            error!(%cause, "the queue of deliveries can't be written");
            "InternalFailure"
        })
    }
}

/// An event as EventBridge puts it into a queue. The detail stays as it was put onto the bus.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope<'e> {
    version: &'static str,
    id: Uuid,
    detail_type: &'e str,
    source: &'e str,
    account: &'static str,
    time: String,
    region: &'static str,
    resources: &'e [String],
    detail: &'e RawValue,
}

/// Creates the route of all of them.
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
        "AmazonSQS.SendMessageBatch" => match serde_json::from_slice(&body) {
            Ok(SendMessageBatch { queue_url, entries }) if queue_url == WEBHOOKS => send(&bus, entries),
            Ok(_) => refuse("QueueDoesNotExist"),
            Err(_) => refuse("InvalidMessageContents"),
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
    source: String,
    detail_type: String,
    resources: Vec<String>,
    detail: String,
}

fn put_events(bus: &Bus, request: PutEvents) -> Value {
    let answer = |entry: Entry| match bus.put(entry) {
        Ok(id) => json!({"EventId": id}),
        Err(code) => json!({"ErrorCode": code, "ErrorMessage": code}),
    };
    let entries: Vec<_> = request.entries.into_iter().map(answer).collect();
    let failed = entries.iter().filter(|entry| entry.get("ErrorCode").is_some()).count();
    json!({"FailedEntryCount": failed, "Entries": entries})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessageBatch {
    queue_url: String,
    entries: Vec<BatchEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchEntry {
    id: String,
    message_body: String,
    #[serde(default)]
    delay_seconds: u32,
    #[serde(default)]
    message_group_id: String,
}

fn send(bus: &Bus, entries: Vec<BatchEntry>) -> Response {
    let message = |entry: &BatchEntry| NewMessage {
        body: entry.message_body.clone(),
        group: entry.message_group_id.clone(),
        delay: TimeDelta::seconds(entry.delay_seconds.into()),
    };
    if bus.add(&entries.iter().map(message).collect::<Vec<_>>()).is_err() {
        let error = json!({"__type": "InternalFailure"});
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(error)).into_response();
    }
    let sent =
        |entry: BatchEntry| json!({"Id": entry.id, "MessageId": Uuid::new_v4(), "MD5OfMessageBody": ""});
    let successful: Vec<_> = entries.into_iter().map(sent).collect();
    Json(json!({"Successful": successful, "Failed": []})).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_refuses_a_malformed_event_and_queues_the_others_for_delivery() {
        let queue = Arc::new(Queue::open(None).unwrap());
        let clock = Clock::stopped("2026-01-31T22:00:00Z".parse().unwrap());
        let bus = Bus::new(Arc::clone(&queue), clock.clone());
        let put = |detail: &str, resource: &str| {
            let entry = Entry {
                source: "connect.subscriptions".to_owned(),
                detail_type: "subscription.updated".to_owned(),
                resources: vec![resource.to_owned()],
                detail: detail.to_owned(),
            };
            put_events(&bus, PutEvents { entries: vec![entry] })["Entries"][0]["ErrorCode"].clone()
        };
        assert_eq!(put("{", "tenant/demo"), "MalformedDetail");
        assert_eq!(put("{}", "subscription/1"), "InvalidArgument");
        for n in 0..=REMEMBERED {
            assert_eq!(put(&json!({"eventId": n}).to_string(), "tenant/demo"), Value::Null);
        }
        let last = bus.last();
        assert_eq!((last.len(), &last[0].event["eventId"]), (REMEMBERED, &json!(REMEMBERED)));
        let taken = queue.take(100, clock.now()).unwrap();
        let first: Value = serde_json::from_str(&taken[0].body).unwrap();
        assert_eq!((taken.len(), &first["detail"]), (REMEMBERED + 1, &json!({"eventId": 0})));
    }
}
