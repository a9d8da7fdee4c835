//! The console: the operator's commands for a page ([`commands`]), also without the service ([`alone`]). And what only exists with the
//! service on one machine: a movable clock, sweeps on request, deliveries that are shown and sent again, the
//! stand-ins for AWS, and the status.
//!
//! Only users of this machine can use it: [`server`](crate::server) refuses all others.

pub mod alone;
mod clock;
pub mod commands;
mod deliveries;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::SecondsFormat;
use domain::calendar::{Calendar, EffectiveDate, TimeZone};
use domain::identifiers::TenantId;
use domain::subscription::Subscription;
use serde::Serialize;
use serde_json::{Value, json};
use store::{Admin, StoreError};

pub use self::clock::check_instant;
use self::clock::moved;
use self::commands::Commands;
use self::deliveries::ShownEvent;
use crate::bus::{self, Bus};
use crate::pages;
use crate::scheduler::{Execution, Scheduler};
use crate::up::Addresses;

/// The console: the parts of the service that it shows and controls.
pub struct Console {
    /// The addresses of the service.
    pub addresses: Addresses,
    /// The database with the demo tenant's subscriptions.
    pub store: Admin,
    /// A description, for people, of the place in which the database keeps its data.
    pub database: String,
    /// The demo tenant's time zone.
    pub time_zone: TimeZone,
    /// Seconds between two sweeps; 0 if sweeps run only on request.
    pub tick: u64,
    /// The scheduler, which sweeps.
    pub scheduler: Arc<Scheduler>,
    /// The bus, which takes events.
    pub bus: Arc<Bus>,
    /// The operator's commands. On a database that others use too, `connect console` has them, behind a secret link.
    pub commands: Option<Commands>,
}

/// Most subscriptions in a status.
const SHOWN: usize = 20;

/// Creates the routes under `/_local/`, and those of the pages.
pub fn routes(console: Console) -> Router {
    let bus = bus::routes(Arc::clone(&console.bus));
    let commands = console.commands.clone().map(commands::routes).unwrap_or_default();
    Router::new()
        .route("/_local/status", get(status))
        .route("/_local/api-key", get(api_key))
        .route("/_local/clock", post(move_clock))
        .route("/_local/execute-cancellations", post(execute_cancellations))
        .route("/_local/deliveries", get(deliveries::list))
        .route("/_local/events/{event_id}", get(deliveries::event))
        .route("/_local/events/{event_id}/resend", post(deliveries::send_again))
        .with_state(Arc::new(console))
        .merge(bus)
        .merge(commands)
        .merge(pages::routes())
}

/// Returns the demo key. It is not in the status, because people show each other the status.
async fn api_key(State(console): State<Arc<Console>>) -> Response {
    Json(json!({"apiKey": console.addresses.api_key})).into_response()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    api_url: String,
    dynamodb_url: String,
    tenant: TenantId,
    /// The first [`SHOWN`] subscriptions.
    subscriptions: Vec<Subscription>,
    /// The number of the others.
    more: usize,
    database: String,
    now: String,
    local_time: String,
    time_zone: TimeZone,
    next_day: Value,
    next_month: Value,
    tick: u64,
    executions: Vec<Execution>,
    events: Vec<ShownEvent>,
    /// The origin of the first webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<String>,
}

async fn status(State(console): State<Arc<Console>>) -> Response {
    match read_status(&console).await {
        Ok(status) => Json(status).into_response(),
        Err(cause) => {
            let error = json!({"message": cause.to_string()});
            (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response()
        }
    }
}

/// Reads the status.
///
/// The subscriptions are read from the database, not over the API: a page asks every two seconds, and each request to the API
/// writes a log line.
async fn read_status(console: &Console) -> Result<Status, StoreError> {
    let Addresses { api_url, dynamodb_url, tenant, subscription_ids, .. } = &console.addresses;
    let mut subscriptions = Vec::new();
    for id in subscription_ids.iter().take(SHOWN) {
        let stored = console.store.subscription(tenant, *id).await?;
        subscriptions.extend(stored.map(|stored| stored.document));
    }
    let webhooks = console.store.webhooks(tenant).await?.found;
    let mut events = Vec::new();
    for event in console.bus.last() {
        events.push(deliveries::progress(&console.store, event).await?);
    }
    let now = console.scheduler.service.clock.now();
    let calendar = Calendar::new(console.time_zone.clone(), now);
    let date = |date: EffectiveDate| json!({"date": date.date(), "instant": date.instant()});
    Ok(Status {
        more: subscription_ids.len().saturating_sub(SHOWN),
        api_url: api_url.clone(),
        dynamodb_url: dynamodb_url.clone(),
        tenant: tenant.clone(),
        subscriptions,
        database: console.database.clone(),
        now: now.to_rfc3339_opts(SecondsFormat::Secs, true),
        local_time: console.time_zone.local_time(now).format("%F %T").to_string(),
        time_zone: console.time_zone.clone(),
        next_day: date(calendar.next_day()),
        next_month: date(calendar.beginning_of_next_month()),
        tick: console.tick,
        executions: console.scheduler.executions(),
        events,
        webhook: webhooks.first().map(deliveries::origin),
    })
}

async fn move_clock(State(console): State<Arc<Console>>, body: Bytes) -> Response {
    let clock = &console.scheduler.service.clock;
    match moved(clock, &body) {
        Ok(now) => {
            clock.set(now);
            Json(json!({"now": now})).into_response()
        }
        Err(message) => (StatusCode::BAD_REQUEST, Json(json!({"message": message}))).into_response(),
    }
}

async fn execute_cancellations(State(console): State<Arc<Console>>) -> Response {
    // In a separate task, because the client may disconnect.
    let invocation = tokio::spawn(async move { console.scheduler.invoke().await });
    let cause = match invocation.await {
        Ok(Ok(summary)) => return Json(summary).into_response(),
        Ok(Err(cause)) => cause.to_string(),
        Err(cause) => cause.to_string(),
    };
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"errorMessage": cause}))).into_response()
}
