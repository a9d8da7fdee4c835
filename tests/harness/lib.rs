//! The service as the tests use it: the real service, on free ports, called over HTTP.
//!
//! Each test starts a service of its own, with an embedded database in memory and a clock that the test sets. So tests share
//! nothing, and run in any order. Beside the API, a test can read the tables with a DynamoDB client of its own, and put a
//! [`Wire`] between the service and the database.
//!
//! If `DYNAMODB_ENDPOINT` names another DynamoDB, the services use that one, each with tables of its own.

pub mod capacity;
pub mod contract;
mod database;
pub mod fuzz;
mod import;
pub mod lambda;
pub mod openapi;
pub mod receiver;
mod requests;
mod response;
pub mod rights;
pub mod template;
mod wire;

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use chrono::{DateTime, TimeDelta, Utc};
use domain::import::{Existing, Rules};
use domain::webhook::{Addresses, Backoff, Webhook};
use local::bus;
use local::up::{self, Options, Running};
use serde_json::{Value, json};
use service::clock::Clock;
use service::deliver::{Deliverer, DeliveryQueue, Limits};
use service::endpoint::Endpoint;
use service::ids;
use service::publish::Publisher;
use store::Store;
use store::tables::TableNames;
use tempfile::NamedTempFile;
use uuid::Uuid;

pub use self::requests::SentRequest;
pub use self::response::Response;
pub use self::wire::{Fault, Held, Wire};

/// Initial time of the clock: half an hour before February in Stockholm, the time zone of the demo tenant.
pub const START: &str = "2026-01-31T22:30:00Z";
pub const ZONE: &str = "Europe/Stockholm";

/// Pauses between attempts that are over before the queue is read again.
pub const SHORT: Backoff =
    Backoff { first: TimeDelta::milliseconds(5), longest: TimeDelta::milliseconds(100) };

/// Rules of an import that adds every subscription that does not exist yet, overdue or not.
pub const ANY_IMPORT: Rules = Rules { existing: Existing::Keep, takes_overdue: true };

/// Subscriptions of the demo tenant.
pub const ACTIVATED: &str = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0001";
pub const ACTIVATED_TOO: &str = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0002";
pub const PENDING: &str = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0005";
pub const BLOCKED: &str = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0006";
pub const PAUSED: &str = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0007";
pub const CANCELLED: &str = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0008";

/// A running service.
pub struct Service {
    pub api_url: String,
    pub dynamodb_url: String,
    pub api_key: String,
    pub subscription_ids: Vec<String>,
    pub webhook_secret: Option<String>,
    pub tables: TableNames,
    client: reqwest::Client,
    running: Mutex<Option<Running>>,
}

/// Returns names of tables that begin with this prefix.
pub fn tables_named(prefix: &str) -> TableNames {
    let named = |table| format!("{prefix}-{table}");
    let TableNames { subscriptions, idempotency, tenants, history, webhooks, deliveries } =
        TableNames::default();
    TableNames {
        subscriptions: named(subscriptions),
        idempotency: named(idempotency),
        tenants: named(tenants),
        history: named(history),
        webhooks: named(webhooks),
        deliveries: named(deliveries),
    }
}

/// Returns the variables that name these tables, as the functions and the commands read them.
pub fn variables_of(tables: &TableNames) -> [(&'static str, &str); 6] {
    let TableNames { subscriptions, idempotency, tenants, history, webhooks, deliveries } = tables;
    [
        ("SUBSCRIPTIONS_TABLE", subscriptions),
        ("IDEMPOTENCY_TABLE", idempotency),
        ("TENANTS_TABLE", tenants),
        ("HISTORY_TABLE", history),
        ("WEBHOOKS_TABLE", webhooks),
        ("DELIVERIES_TABLE", deliveries),
    ]
}

/// Returns the options for tests: a database in memory, no sweeps by a schedule, and no events published. A receiver of events has
/// a minute to answer, and the pauses between attempts are short.
pub fn options() -> Options {
    let dynamodb_endpoint = env::var("DYNAMODB_ENDPOINT").ok();
    let tables = match dynamodb_endpoint {
        None => TableNames::default(),
        Some(_) => tables_named(&Uuid::new_v4().to_string()),
    };
    Options {
        port: 0,
        dynamodb_port: 0,
        data: PathBuf::new(),
        memory: true,
        dynamodb_endpoint,
        tables,
        seed: None,
        time_zone: ZONE.parse().unwrap(),
        now: Some(instant(START)),
        tick: 0,
        webhook: None,
        limits: Limits {
            answer: Duration::from_secs(60),
            backoff: SHORT,
            peace: SHORT,
            quick: TimeDelta::seconds(60),
        },
        publishes: false,
    }
}

pub fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Returns an event as AWS sends it, from `tests/data/events`.
pub fn event(name: &str) -> Value {
    let path = format!("{}/data/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Returns a new webhook for all events, which may lead to any address.
pub fn webhook(url: &str) -> Webhook {
    Webhook {
        id: ids::webhook_id(),
        url: url.to_owned(),
        events: Vec::new(),
        addresses: Addresses::Any,
        secret: ids::webhook_secret().unwrap(),
        former: None,
        disabled: None,
        created_at: instant(START),
    }
}

/// Returns the body of a request to cancel for the next day.
pub fn cancel_next_day() -> Value {
    json!({"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"})
}

pub fn cancel_at(date: &str) -> Value {
    json!({"schedule": {"type": "CancelAtDate", "date": date}, "reason": "NO_NEED"})
}

impl Service {
    pub async fn start() -> Self {
        Self::start_with(options()).await
    }

    pub async fn start_with(options: Options) -> Self {
        // The clock stands still, so that no outcome depends on how long a test takes.
        let running = up::start_by(&options, Clock::stopped(instant(START))).await.unwrap();
        let addresses = running.addresses.clone();
        let service = Self {
            api_url: addresses.api_url,
            dynamodb_url: addresses.dynamodb_url,
            api_key: addresses.api_key,
            subscription_ids: addresses.subscription_ids.iter().map(ToString::to_string).collect(),
            webhook_secret: addresses.webhook_secret,
            tables: options.tables,
            client: reqwest::Client::new(),
            running: Mutex::new(Some(running)),
        };
        if env::var("DYNAMODB_ENDPOINT").is_ok() {
            service.keep_idempotency_records().await;
        }
        service
    }

    /// Turns off the removal of idempotency records. Another DynamoDB removes them by its own clock, by which the records of a
    /// test have long expired.
    async fn keep_idempotency_records(&self) {
        let never = TimeToLiveSpecification::builder().enabled(false).attribute_name("removeAt").build();
        let request = self.dynamodb().update_time_to_live().table_name(self.table("idempotency"));
        request.time_to_live_specification(never.unwrap()).send().await.unwrap();
    }

    /// Stops the service, as a signal would.
    pub async fn stop(&self) {
        let running = self.running.lock().unwrap().take().unwrap();
        running.stop().await.unwrap();
    }

    /// Starts a service whose demo tenant has these subscriptions, instead of the eight of the demo.
    pub async fn start_seeded(documents: &[Value]) -> Self {
        let mut seed = NamedTempFile::new().unwrap();
        for document in documents {
            writeln!(seed, "{document}").unwrap();
        }
        Self::start_with(Options { seed: Some(seed.path().to_owned()), ..options() }).await
    }

    /// Starts a service that reaches its database over a wire, which can be watched and cut. Returns two services: the first
    /// runs the database, and serves to look into it. The second one gets the requests.
    pub async fn start_wired() -> (Self, Self, Wire) {
        let database = Self::start().await;
        let (service, wire) = Self::start_wired_to(&database).await;
        (database, service, wire)
    }

    /// Starts a service that reaches the database of another service over a wire.
    pub async fn start_wired_to(database: &Self) -> (Self, Wire) {
        let wire = Wire::start(&database.dynamodb_url).await;
        let dynamodb_endpoint = Some(wire.url.clone());
        let tables = database.tables.clone();
        let service = Self::start_with(Options { dynamodb_endpoint, tables, ..options() }).await;
        wire.forget();
        (service, wire)
    }

    /// Returns the publisher that `publish-events` uses, with this service's database and bus, or at the ends of wires to them.
    pub fn publisher(&self, dynamodb_url: &str, bus_url: &str) -> Publisher {
        let of_function = |endpoint: Endpoint| endpoint.for_function("publish-events").sdk_config();
        let store = Store::new(&of_function(Endpoint::at(dynamodb_url.to_owned())), self.tables.clone());
        let aws = of_function(Endpoint::local(bus_url.to_owned()));
        Publisher::new(store, &aws, bus::NAME.to_owned(), &aws, bus::FAILED_EVENTS.to_owned())
    }

    /// Returns what `deliver-webhooks` uses, with this service's database and queue, or at the ends of wires to them.
    pub fn deliverer(&self, dynamodb_url: &str, queue_url: &str, clock: Clock, limits: Limits) -> Deliverer {
        let of_function = |endpoint: Endpoint| endpoint.for_function("deliver-webhooks").sdk_config();
        let store = Store::new(&of_function(Endpoint::at(dynamodb_url.to_owned())), self.tables.clone());
        let sqs = of_function(Endpoint::local(queue_url.to_owned()));
        Deliverer::new(store, DeliveryQueue::new(&sqs, bus::WEBHOOKS.to_owned()), clock, limits).unwrap()
    }

    /// Returns the queue of deliveries, as an operator uses it.
    pub fn queue(&self) -> DeliveryQueue {
        DeliveryQueue::new(&Endpoint::local(self.bus_url()).sdk_config(), bus::WEBHOOKS.to_owned())
    }

    /// Returns the URL of this service's bus and queues.
    pub fn bus_url(&self) -> String {
        format!("{}{}", self.api_url, bus::PATH)
    }
}
