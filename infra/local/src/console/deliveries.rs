//! The deliveries to the demo tenant's webhooks: the last attempts, the events themselves, and sending one again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::identifiers::WebhookId;
use domain::webhook::{Addresses, Attempt, DisabledBy, KEPT, Outcome, Webhook};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use service::clock::Clock;
use service::deliver::{DeliveryQueue, NotSent, resend, target};
use service::endpoint::Endpoint;
use store::{Admin, StoreError};
use uuid::Uuid;

use super::Console;
use crate::bus::{self, LastEvent};

/// Most attempts that are shown.
const SHOWN: usize = 20;

/// An event in the status.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownEvent {
    /// The event as it is published.
    event: Value,
    /// The progress of its delivery; absent if no webhook takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<Progress>,
    /// Number of times that the event has been posted.
    attempts: usize,
}

/// The progress of an event to all webhooks of its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Progress {
    /// A receiver does not have the event yet, and it is tried again.
    Waiting,
    /// All receivers have the event.
    Delivered,
    /// A receiver has not accepted the event for a day, or its webhook is disabled.
    Dropped,
}

/// Reads the progress of an event.
pub(super) async fn progress(store: &Admin, last: LastEvent) -> Result<ShownEvent, StoreError> {
    let LastEvent { tenant, event } = last;
    let text = |member: &str| event.get(member).and_then(Value::as_str).unwrap_or_default();
    let webhooks = store.webhooks(&tenant).await?.found;
    let takers = webhooks.iter().filter(|webhook| webhook.takes(text("type")));
    let attempts = match text("eventId").parse() {
        Ok(event_id) => store.attempts_of_event(&tenant, event_id).await?.found,
        Err(_) => Vec::new(),
    };
    let last_outcome = |webhook: WebhookId| {
        let of_it = attempts.iter().filter(|attempt| attempt.webhook_id == webhook);
        of_it.max_by_key(|attempt| attempt.at).map(|attempt| attempt.outcome)
    };
    let outcomes: Vec<_> = takers.map(|webhook| last_outcome(webhook.id)).collect();
    let delivery = if outcomes.is_empty() {
        None
    } else if outcomes.iter().any(|outcome| outcome.is_none_or(|outcome| outcome == Outcome::Retrying)) {
        Some(Progress::Waiting)
    } else if outcomes.iter().all(|outcome| *outcome == Some(Outcome::Delivered)) {
        Some(Progress::Delivered)
    } else {
        Some(Progress::Dropped)
    };
    let attempts = attempts.iter().filter(|attempt| attempt.number > 0).count();
    Ok(ShownEvent { event, delivery, attempts })
}

/// Returns the origin of a webhook. The other parts of its URL may be secret.
pub(super) fn origin(webhook: &Webhook) -> String {
    let url = target(&webhook.url, Addresses::Any);
    url.map_or_else(|unusable| unusable.to_string(), |url| url.origin().ascii_serialization())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownWebhook {
    webhook_id: WebhookId,
    origin: String,
    events: Vec<String>,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_by: Option<DisabledBy>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownAttempt {
    webhook_id: WebhookId,
    event_id: Uuid,
    r#type: String,
    number: u32,
    at: DateTime<Utc>,
    milliseconds: u64,
    status: Option<u16>,
    answer: String,
    outcome: Outcome,
    next_at: Option<DateTime<Utc>>,
}

impl From<Attempt> for ShownAttempt {
    fn from(attempt: Attempt) -> Self {
        let Attempt {
            webhook_id,
            event_id,
            r#type,
            number,
            at,
            milliseconds,
            status,
            answer,
            outcome,
            next_at,
        } = attempt;
        Self { webhook_id, event_id, r#type, number, at, milliseconds, status, answer, outcome, next_at }
    }
}

/// Returns the webhooks, without their secrets, and the last attempts, the latest first.
pub(super) async fn list(State(console): State<Arc<Console>>) -> Response {
    answer(read(&console).await)
}

async fn read(console: &Console) -> Result<Value, StoreError> {
    let tenant = &console.addresses.tenant;
    let webhooks = console.store.webhooks(tenant).await?.found;
    let since = Clock::system().now() - KEPT;
    let mut attempts = Vec::new();
    for webhook in &webhooks {
        attempts.extend(console.store.attempts(tenant, webhook.id, since, None, SHOWN).await?.found);
    }
    attempts.sort_by_key(|attempt| std::cmp::Reverse(attempt.at));
    attempts.truncate(SHOWN);
    let shown = |webhook: Webhook| ShownWebhook {
        webhook_id: webhook.id,
        origin: origin(&webhook),
        events: webhook.events,
        created_at: webhook.created_at,
        disabled_by: webhook.disabled.map(|disabled| disabled.by),
    };
    let webhooks: Vec<_> = webhooks.into_iter().map(shown).collect();
    let attempts: Vec<_> = attempts.into_iter().map(ShownAttempt::from).collect();
    Ok(json!({"webhooks": webhooks, "attempts": attempts}))
}

/// Returns an event that is kept, as it is posted.
pub(super) async fn event(State(console): State<Arc<Console>>, Path(event_id): Path<Uuid>) -> Response {
    match console.store.kept_event(&console.addresses.tenant, event_id).await {
        Ok(Some(event)) => match RawValue::from_string(event) {
            Ok(event) => Json(event).into_response(),
            Err(cause) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &cause),
        },
        Ok(None) => refuse(StatusCode::NOT_FOUND, &NotSent::NotKept(event_id)),
        Err(cause) => refuse(StatusCode::SERVICE_UNAVAILABLE, &cause),
    }
}

/// Sends an event again to the webhooks that take it.
pub(super) async fn send_again(State(console): State<Arc<Console>>, Path(event_id): Path<Uuid>) -> Response {
    let tenant = &console.addresses.tenant;
    let sqs = Endpoint::local(format!("{}{}", console.addresses.api_url, bus::PATH)).sdk_config();
    let queue = DeliveryQueue::new(&sqs, bus::WEBHOOKS.to_owned());
    let webhooks = match console.store.webhooks(tenant).await {
        Ok(webhooks) => webhooks.found,
        Err(cause) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &cause),
    };
    match resend(&console.store, &queue, tenant, event_id, &webhooks, Clock::system().now()).await {
        Ok(sent) => Json(json!({"webhookIds": sent})).into_response(),
        Err(cause @ NotSent::NotKept(_)) => refuse(StatusCode::NOT_FOUND, &cause),
        Err(cause) => refuse(StatusCode::SERVICE_UNAVAILABLE, &cause),
    }
}

fn answer(read: Result<Value, StoreError>) -> Response {
    match read {
        Ok(value) => Json(value).into_response(),
        Err(cause) => refuse(StatusCode::SERVICE_UNAVAILABLE, &cause),
    }
}

fn refuse(status: StatusCode, cause: &dyn std::error::Error) -> Response {
    (status, Json(json!({"message": cause.to_string()}))).into_response()
}
