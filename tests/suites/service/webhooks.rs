//! Webhooks: an event reaches each receiver that is to have it, whatever happens on the way, and no receiver holds up another.

mod function;
mod receivers;

use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use chrono::{DateTime, TimeDelta, Utc};
use domain::identifiers::{TenantId, WebhookId};
use domain::webhook::{Attempt, Delivery, Webhook};
use harness::receiver::Receiver;
use harness::{SHORT, Service, Wire, instant, options, webhook};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use service::clock::{Clock, deadline_in};
use service::deliver::{Deliverer, Limits};
use uuid::Uuid;

/// The time at which a test begins.
const NOW: &str = "2026-01-31T22:30:00Z";
/// The type of the events, unless a test says otherwise.
const TYPE: &str = "subscription.updated";

/// The function between a queue and its receivers, at a time that the test sets.
struct Function {
    /// The service that runs the database and the queue.
    service: Service,
    database: Wire,
    queue: Wire,
    clock: Clock,
    deliverer: Deliverer,
}

/// A message that the function put into the queue.
#[derive(Clone, Debug)]
struct Sent {
    delivery: Delivery,
    body: Value,
    delay: u64,
    group: String,
}

fn limits() -> Limits {
    Limits { answer: Duration::from_millis(500), peace: SHORT, ..Limits::default() }
}

fn demo() -> TenantId {
    "demo".parse().unwrap()
}

impl Function {
    async fn start() -> Self {
        Self::start_with(limits()).await
    }

    async fn start_with(limits: Limits) -> Self {
        let service = Service::start_with(options()).await;
        let database = Wire::start(&service.dynamodb_url).await;
        let queue = Wire::start(&service.bus_url()).await;
        let clock = Clock::stopped(instant(NOW));
        let deliverer = service.deliverer(&database.url, &queue.url, clock.clone(), limits);
        Self { service, database, queue, clock, deliverer }
    }

    /// Adds a webhook of the demo tenant, which may lead to any address.
    async fn webhook(&self, url: &str) -> Webhook {
        self.add(&demo(), webhook(url)).await
    }

    async fn add(&self, tenant: &TenantId, webhook: Webhook) -> Webhook {
        assert!(self.service.admin().add_webhook(tenant, &webhook).await.unwrap());
        webhook
    }

    /// Gives messages to the function. Returns the numbers of those that must be given again.
    async fn give(&self, bodies: &[Value]) -> Vec<usize> {
        let record = |(number, body): (usize, &Value)| json!({"messageId": number.to_string(), "body": body.to_string(), "eventSource": "aws:sqs"});
        let records: Vec<_> = bodies.iter().enumerate().map(record).collect();
        let event: SqsEvent = serde_json::from_value(json!({"Records": records})).unwrap();
        let mut context = Context::default();
        context.deadline = deadline_in(Duration::from_secs(60));
        let event = LambdaEvent::new(event, context);
        let answer = deliver_webhooks::handle(&self.deliverer, event).await.unwrap();
        let again = answer.batch_item_failures.into_iter();
        again.map(|failure| failure.item_identifier.parse().unwrap()).collect()
    }

    /// Gives an event of the demo tenant to the function, and then each delivery that follows at once. Returns what follows later.
    async fn post(&self, event_id: Uuid) -> Vec<Sent> {
        assert_eq!(self.give(&[event(event_id, TYPE)]).await, [0_usize; 0]);
        let begun: Vec<_> = self.take_sent().into_iter().map(|sent| sent.body).collect();
        assert_eq!(self.give(&begun).await, [0_usize; 0]);
        self.take_sent()
    }

    /// Posts an event to the only webhook, as the post of this number that its receiver gets. It takes two seconds by the clock.
    async fn post_slowly(&self, receiver: &Receiver, number: usize) {
        let meanwhile = async {
            receiver.posted_at_all(number).await;
            self.advance(TimeDelta::seconds(2));
        };
        tokio::join!(self.post(Uuid::new_v4()), meanwhile);
    }

    /// Returns the messages that the function put into the queue since the last call.
    fn take_sent(&self) -> Vec<Sent> {
        let requests = self.queue.requests("SendMessageBatch");
        self.queue.forget();
        let entries = requests.into_iter().flat_map(|request| request["Entries"].as_array().unwrap().clone());
        entries
            .map(|entry| {
                let body: Value = serde_json::from_str(entry["MessageBody"].as_str().unwrap()).unwrap();
                Sent {
                    delivery: serde_json::from_value(body.clone()).unwrap(),
                    body,
                    delay: entry["DelaySeconds"].as_u64().unwrap_or_default(),
                    group: entry["MessageGroupId"].as_str().unwrap().to_owned(),
                }
            })
            .collect()
    }

    /// Returns the attempts to post an event of the demo tenant.
    async fn attempts(&self, event_id: Uuid) -> Vec<Attempt> {
        self.service.admin().attempts_of_event(&demo(), event_id).await.unwrap().found
    }

    fn advance(&self, by: TimeDelta) {
        self.clock.set(self.clock.now() + by);
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

/// Returns an event of the demo tenant, as the rule of the bus puts it into the queue.
fn event(event_id: Uuid, kind: &str) -> Value {
    event_of("demo", event_id, kind)
}

fn event_of(tenant: &str, event_id: Uuid, kind: &str) -> Value {
    let mut envelope = harness::event("deliver-webhooks/ok");
    let body = envelope["Records"][0]["body"].take();
    let mut envelope: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
    envelope["resources"][0] = json!(format!("tenant/{tenant}"));
    envelope["detail-type"] = json!(kind);
    envelope["detail"]["type"] = json!(kind);
    envelope["detail"]["eventId"] = json!(event_id);
    envelope
}

/// Returns the webhooks of these deliveries, sorted.
fn webhooks_of(sent: &[Sent]) -> Vec<WebhookId> {
    let mut webhooks: Vec<_> = sent.iter().map(|sent| sent.delivery.webhook_id).collect();
    webhooks.sort();
    webhooks
}
