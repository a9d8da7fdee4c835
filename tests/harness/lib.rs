//! The service as the tests use it: the real service, on free ports, called over HTTP.
//!
//! Each test starts a service of its own, with an embedded database in memory and a clock that the test sets. So tests share
//! nothing, and run in any order. Beside the API, a test can read the tables with a DynamoDB client of its own, and put a
//! [`Wire`] between the service and the database.
//!
//! If `DYNAMODB_ENDPOINT` names another DynamoDB, the services use that one, each with tables of its own.

pub mod capacity;
pub mod contract;
pub mod fuzz;
mod import;
pub mod lambda;
pub mod openapi;
pub mod receiver;
mod response;
pub mod rights;
pub mod template;
mod wire;

use std::collections::HashMap;
use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, TimeToLiveSpecification};
use chrono::{DateTime, TimeDelta, Utc};
use domain::api_key::{ApiKey, Scope, Token};
use domain::calendar::TimeZone;
use domain::import::{Existing, Rules};
use domain::tenant::Tenant;
use domain::webhook::{Addresses, Backoff, Webhook};
use local::bus;
use local::demo;
use local::up::{self, Options, Running};
use reqwest::Method;
use serde_json::{Value, json};
use service::clock::Clock;
use service::deliver::{Deliverer, DeliveryQueue, Limits};
use service::endpoint::Endpoint;
use service::ids;
use service::publish::Publisher;
use store::due::DueEntry;
use store::tables::{DUE_SHARDS, TableNames};
use store::{Admin, Store};
use tempfile::NamedTempFile;
use uuid::Uuid;

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

/// A request to the service.
pub struct SentRequest<'e> {
    pub method: &'e Method,
    pub path: &'e str,
    pub headers: &'e [(&'e str, &'e str)],
    pub body: &'e [u8],
}

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

    /// Sends a request, and checks it and its answer against the document of the API.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let url = format!("{}{path}", self.api_url);
        let mut request = self.client.request(method.clone(), url).body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = Response::read(request.send().await.unwrap()).await;
        let sent = SentRequest { method: &method, path, headers, body };
        if let Err(why) = openapi::check_exchange(&sent, &answer) {
            panic!("{method} {path}, answered {} {}: {why}", answer.status, answer.text());
        }
        answer
    }

    /// Reads a subscription with the demo key.
    pub async fn get(&self, subscription: &str) -> Response {
        self.get_as(&self.api_key, subscription).await
    }

    pub async fn get_as(&self, api_key: &str, subscription: &str) -> Response {
        let path = format!("/subscriptions/{subscription}");
        self.send(Method::GET, &path, &[("X-Api-Key", api_key)], b"").await
    }

    /// Cancels a subscription with the demo key, without an idempotency key.
    pub async fn cancel(&self, subscription: &str, body: &Value) -> Response {
        self.cancel_with(subscription, &[], body).await
    }

    /// Cancels a subscription with the demo key and an idempotency key.
    pub async fn cancel_once(&self, subscription: &str, key: &str, body: &Value) -> Response {
        self.cancel_with(subscription, &[("X-Idempotency-Key", key)], body).await
    }

    pub async fn cancel_with(&self, subscription: &str, headers: &[(&str, &str)], body: &Value) -> Response {
        let api_key = self.api_key.clone();
        let mut all = vec![("X-Api-Key", api_key.as_str())];
        all.extend(headers);
        self.cancel_as(subscription, &all, body.to_string().as_bytes()).await
    }

    /// Cancels with exactly these headers, and adds a content type if they have none.
    pub async fn cancel_as(&self, subscription: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut all = headers.to_vec();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            all.push(("Content-Type", "application/json"));
        }
        self.send(Method::POST, &format!("/subscriptions/{subscription}/cancel"), &all, body).await
    }

    /// Withdraws the cancellation of a subscription with the demo key, without an idempotency key.
    pub async fn withdraw(&self, subscription: &str) -> Response {
        self.withdraw_with(subscription, &[]).await
    }

    /// Withdraws the cancellation of a subscription with the demo key and an idempotency key.
    pub async fn withdraw_once(&self, subscription: &str, key: &str) -> Response {
        self.withdraw_with(subscription, &[("X-Idempotency-Key", key)]).await
    }

    pub async fn withdraw_with(&self, subscription: &str, headers: &[(&str, &str)]) -> Response {
        let mut all = vec![("X-Api-Key", self.api_key.as_str())];
        all.extend(headers);
        self.send(Method::DELETE, &format!("/subscriptions/{subscription}/cancel"), &all, b"").await
    }

    pub async fn set_clock(&self, now: &str) {
        self.move_clock(&json!({"now": now})).await;
    }

    pub async fn advance_clock(&self, duration: &str) {
        self.move_clock(&json!({"advance": duration})).await;
    }

    async fn move_clock(&self, to: &Value) {
        let moved = self.send(Method::POST, "/_local/clock", &[], to.to_string().as_bytes()).await;
        assert_eq!(moved.status, 200, "{}", moved.text());
    }

    /// Runs `execute-cancellations` once, and returns its summary.
    pub async fn execute(&self) -> Value {
        let swept = self.send(Method::POST, "/_local/execute-cancellations", &[], b"").await;
        assert_eq!(swept.status, 200, "{}", swept.text());
        swept.json()
    }

    /// Waits until `count` of the last events have been delivered or dropped. Returns the last events, the latest first.
    pub async fn until_delivered(&self, count: usize) -> Vec<Value> {
        let is_over = |event: &&Value| event["delivery"] != "waiting";
        self.last_events(|events| events.iter().filter(is_over).count() >= count).await
    }

    /// Waits until a subscription of the demo tenant has an entry of this version in its history. Returns its last entries, the
    /// latest first.
    pub async fn until_recorded(&self, subscription: &str, version: u64) -> Vec<Value> {
        let wanted = format!("{version:020}");
        let is_it = |item: &HashMap<_, AttributeValue>| item["revision"].as_s().unwrap().starts_with(&wanted);
        self.until_stored(subscription, |entries| entries.iter().any(is_it)).await;
        let path = format!("/subscriptions/{subscription}/history?limit=100");
        let page = self.send(Method::GET, &path, &[("X-Api-Key", &self.api_key)], b"").await;
        assert_eq!(page.status, 200, "{}", page.text());
        let Value::Array(entries) = page.json()["items"].take() else { panic!("no items") };
        entries
    }

    /// Waits until the stored history of a subscription of the demo tenant satisfies a condition. Without a stored entry, the API
    /// shows the subscription itself, so its answer does not count.
    pub async fn until_stored(
        &self,
        subscription: &str,
        are_so: impl Fn(&[HashMap<String, AttributeValue>]) -> bool,
    ) {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            while !are_so(&self.history_of(subscription).await) {
                looks.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("not recorded in time");
    }

    /// Reads the history of a subscription of the demo tenant as it is stored.
    pub async fn history_of(&self, subscription: &str) -> Vec<HashMap<String, AttributeValue>> {
        let key = AttributeValue::S(format!("demo#{subscription}"));
        let request = self.dynamodb().query().table_name(self.table("history"));
        let request = request.key_condition_expression("pk = :pk").expression_attribute_values(":pk", key);
        request.consistent_read(true).send().await.unwrap().items.unwrap_or_default()
    }

    /// Waits until an event has been posted at least `attempts` times.
    pub async fn until_posted(&self, attempts: u64) {
        let attempts = |event: &Value| event["attempts"].as_u64() >= Some(attempts);
        self.last_events(|events| events.iter().any(attempts)).await;
    }

    /// Waits until the last events satisfy a condition, and returns them.
    async fn last_events(&self, are_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            loop {
                looks.tick().await;
                let mut status = self.send(Method::GET, "/_local/status", &[], b"").await.json();
                let Value::Array(events) = status["events"].take() else { panic!("{status}") };
                if are_so(&events) {
                    return events;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("condition not met in time")
    }

    /// Returns a DynamoDB client for the test itself.
    pub fn dynamodb(&self) -> Client {
        Client::new(&Endpoint::at(self.dynamodb_url.clone()).sdk_config())
    }

    /// Returns the database as a function uses it.
    pub fn store(&self) -> Store {
        Store::new(&Endpoint::at(self.dynamodb_url.clone()).sdk_config(), self.tables.clone())
    }

    /// Returns the database as an operator uses it, to add data.
    pub fn admin(&self) -> Admin {
        self.store().into()
    }

    /// Returns the name that a table has in this service's database.
    fn table(&self, name: &str) -> &str {
        match name {
            "subscriptions" => &self.tables.subscriptions,
            "idempotency" => &self.tables.idempotency,
            "tenants" => &self.tables.tenants,
            "history" => &self.tables.history,
            "webhooks" => &self.tables.webhooks,
            "deliveries" => &self.tables.deliveries,
            other => panic!("unknown table {other}"),
        }
    }

    /// Reads an item as it is stored.
    pub async fn item(&self, table: &str, key: &str) -> Option<HashMap<String, AttributeValue>> {
        let key = AttributeValue::S(key.to_owned());
        let request = self.dynamodb().get_item().table_name(self.table(table)).key("pk", key);
        request.consistent_read(true).send().await.unwrap().item
    }

    /// Reads a subscription of the demo tenant as it is stored.
    pub async fn stored(&self, subscription: &str) -> HashMap<String, AttributeValue> {
        self.item("subscriptions", &format!("demo#{subscription}")).await.unwrap()
    }

    /// Reads all items of a table.
    pub async fn scan(&self, table: &str) -> Vec<HashMap<String, AttributeValue>> {
        let pages = self.dynamodb().scan().table_name(self.table(table)).into_paginator().items().send();
        pages.collect::<Result<_, _>>().await.unwrap()
    }

    /// Returns the ids of all tenants' subscriptions whose cancellation is due by this instant, according to the due index.
    pub async fn due(&self, by: &str) -> Vec<String> {
        let store = self.store();
        let mut due = Vec::new();
        for shard in 0..DUE_SHARDS {
            let mut next = None;
            loop {
                let page = store.due(shard, instant(by), next).await.unwrap();
                for entry in page.entries {
                    let DueEntry::Cancellation(cancellation) = entry else { panic!("unreadable entry") };
                    due.push(cancellation.subscription_id.to_string());
                }
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
        }
        due.sort();
        due
    }

    pub async fn version(&self, subscription: &str) -> u64 {
        self.stored(subscription).await["version"].as_n().unwrap().parse().unwrap()
    }

    /// Updates an item directly in the database, without the service.
    pub async fn update(&self, table: &str, key: &str, expression: &str, value: AttributeValue) {
        self.dynamodb()
            .update_item()
            .table_name(self.table(table))
            .key("pk", AttributeValue::S(key.to_owned()))
            .update_expression(expression)
            .expression_attribute_values(":value", value)
            .send()
            .await
            .unwrap();
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

    /// Adds a tenant in UTC. Returns an API key of the tenant with these scopes.
    pub async fn add_tenant(&self, tenant: &str, scopes: &[Scope]) -> String {
        let id: domain::identifiers::TenantId = tenant.parse().unwrap();
        let tenant =
            Tenant { id: id.clone(), name: tenant.to_owned(), time_zone: TimeZone::UTC, paused: None };
        self.admin().put_tenant(&tenant).await.unwrap();
        self.add_key(&id.to_string(), "k1", scopes).await.reveal()
    }

    /// Adds the API keys that the events in `tests/data/events` carry. An embedded database has them anyway.
    pub async fn add_known_keys(&self) {
        for (token, scopes) in demo::KEYS {
            let token: Token = token.parse().unwrap();
            let key = ApiKey::new(&token, scopes, instant(START));
            self.admin().add_api_key(token.tenant(), token.key_id(), &key).await.unwrap();
        }
    }

    /// Adds a webhook of the demo tenant.
    pub async fn add_webhook(&self, webhook: &Webhook) {
        assert!(self.admin().add_webhook(&"demo".parse().unwrap(), webhook).await.unwrap());
    }

    /// Adds an API key of an existing tenant, and returns its token.
    pub async fn add_key(&self, tenant: &str, key_id: &str, scopes: &[Scope]) -> Token {
        let token = ids::token(tenant.parse().unwrap(), key_id.parse().unwrap()).unwrap();
        let key = ApiKey::new(&token, scopes, instant(START));
        self.admin().add_api_key(token.tenant(), token.key_id(), &key).await.unwrap();
        token
    }
}
