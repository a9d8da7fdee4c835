//! Delivering: each event of the bus is posted to each webhook of its tenant that takes it, until the receiver accepts it.
//!
//! The queue has two kinds of messages. An *event*, from the bus, is kept and becomes one delivery for each webhook. A *delivery* is
//! attempted: if the receiver does not accept the event, the delivery goes back into the queue, with a pause. So a receiver that is
//! down delays only its own deliveries. An event is posted at least once, always with the same id, and in no certain order.
//!
//! A delivery goes back as a new message with a delay. SQS counts a message that only stays invisible as in flight, of which a queue
//! may have 120,000: with those, one receiver that is down on the first of a month would stop all others.

pub mod address;
mod health;
mod queue;
mod resend;
mod sender;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::identifiers::{TenantId, WebhookId};
use domain::webhook::{Attempt, Backoff, Delivery, Disabled, DisabledBy, Outcome, Webhook};
use futures::future::join_all;
use metrics::{counter, histogram};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::deliveries::Kept;
use store::{Patience, Store, StoreError, try_again};
use tracing::{error, info, warn};
use uuid::Uuid;

use self::health::Health;
pub use self::queue::DeliveryQueue;
pub use self::resend::{NotSent, ping, resend};
pub use self::sender::{Post, Posted, Sender, Unusable, target};
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::environment::{EnvironmentError, required, table_names};
use crate::telemetry::{DELIVERIES, DELIVERY_AGE, OUTCOME, WEBHOOKS_DISABLED};

/// The time limits of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for a receiver to answer.
    pub answer: Duration,
    /// The pauses between the attempts of a delivery.
    pub backoff: Backoff,
    /// The times for which a receiver that fails again and again is left in peace.
    pub peace: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        let peace = Backoff { first: TimeDelta::seconds(5), longest: TimeDelta::minutes(1) };
        Self { answer: Duration::from_secs(5), backoff: Backoff::default(), peace }
    }
}

/// Everything that deliveries need.
#[derive(Debug)]
pub struct Deliverer {
    store: Store,
    queue: DeliveryQueue,
    sender: Sender,
    clock: Clock,
    backoff: Backoff,
    health: Health,
}

/// A message of the queue.
#[derive(Clone, Debug)]
pub struct Message {
    /// The id by which the queue knows it.
    pub id: String,
    /// The body: an event as EventBridge sends it, or a delivery.
    pub body: String,
}

impl Deliverer {
    /// Builds the deliverer from the environment of the Lambda function: `WEBHOOKS_TABLE`, `DELIVERIES_TABLE` and
    /// `WEBHOOK_QUEUE_URL`.
    ///
    /// # Errors
    /// A variable is not set, or certificates can't be read.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        let store = Store::new(&Endpoint::from_env()?.sdk_config(), table_names());
        let sqs = Endpoint::from_env_of("SQS")?.sdk_config();
        let queue = DeliveryQueue::new(&sqs, required("WEBHOOK_QUEUE_URL")?);
        Self::new(store, queue, Clock::system(), Limits::default())
            .map_err(|cause| EnvironmentError::Certificates(cause.to_string()))
    }

    /// Builds a deliverer. Its clock is that of the deliveries, whatever the service's clock shows.
    ///
    /// # Errors
    /// The certificates that this machine trusts can't be read.
    pub fn new(
        store: Store,
        queue: DeliveryQueue,
        clock: Clock,
        limits: Limits,
    ) -> Result<Self, std::io::Error> {
        let Limits { answer, backoff, peace } = limits;
        Ok(Self { store, queue, sender: Sender::new(answer)?, clock, backoff, health: Health::new(peace) })
    }
}

/// Handles messages of the queue, all at once. Returns the ids of those that must be given again: the queue or the database is
/// unavailable, or the message is malformed.
pub async fn deliver(deliverer: &Deliverer, messages: Vec<Message>) -> Vec<String> {
    let handled = join_all(messages.iter().map(|message| deliverer.handle(&message.body))).await;
    let again = messages.into_iter().zip(handled).filter_map(|(Message { id, .. }, handled)| match handled {
        Ok(()) => None,
        Err(cause) => {
            warn!(messageId = id, %cause, "a message must be given again");
            Some(id)
        }
    });
    again.collect()
}

/// The reason why a message must be given again.
#[derive(Debug, thiserror::Error)]
enum NotHandled {
    #[error("neither an event nor a delivery")]
    Malformed,
    #[error("the event {0} can't be kept: it is too large")]
    TooLarge(Uuid),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the queue did not take a delivery: {0}")]
    Queue(String),
}

/// An event as EventBridge sends it.
#[derive(Deserialize)]
struct Envelope<'m> {
    resources: Vec<String>,
    #[serde(borrow)]
    detail: &'m RawValue,
}

/// The members of an event that a delivery needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventHead {
    event_id: Uuid,
    r#type: String,
}

/// An event of a tenant, as it is posted.
struct Event<'m> {
    tenant: TenantId,
    head: EventHead,
    text: &'m str,
}

impl<'m> Event<'m> {
    /// Reads an event. Its text stays as the bus has it.
    fn read(body: &'m str) -> Option<Self> {
        let Envelope { resources, detail } = serde_json::from_str(body).ok()?;
        let tenant = resources.iter().find_map(|resource| resource.strip_prefix("tenant/"))?.parse().ok()?;
        Some(Self { tenant, head: serde_json::from_str(detail.get()).ok()?, text: detail.get() })
    }
}

impl Deliverer {
    async fn handle(&self, body: &str) -> Result<(), NotHandled> {
        if let Ok(delivery) = serde_json::from_str(body) {
            return self.attempt_or_wait(delivery).await;
        }
        self.begin(Event::read(body).ok_or(NotHandled::Malformed)?).await
    }

    /// Keeps an event, and begins its delivery to each webhook that takes it.
    async fn begin(&self, event: Event<'_>) -> Result<(), NotHandled> {
        let Event { tenant, head: EventHead { event_id, r#type }, text } = event;
        let webhooks = try_again(Patience::OfBus, || self.store.webhooks(&tenant)).await?;
        for webhook in &webhooks.unreadable {
            error!(webhook, "a webhook is malformed, and gets no events");
        }
        let webhooks: Vec<_> = webhooks.found.into_iter().filter(|webhook| webhook.takes(&r#type)).collect();
        if webhooks.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        match try_again(Patience::OfBus, || self.store.keep_event(&tenant, event_id, text, now)).await? {
            Kept::Done => {}
            Kept::Refused => return Err(NotHandled::TooLarge(event_id)),
        }
        let begin =
            |webhook: &Webhook| Delivery::begin(tenant.clone(), webhook.id, event_id, r#type.clone(), now);
        let (disabled, enabled): (Vec<_>, Vec<_>) =
            webhooks.iter().partition(|webhook| webhook.disabled.is_some());
        for webhook in disabled {
            self.leave_out(&begin(webhook), now).await?;
        }
        let deliveries: Vec<_> = enabled.into_iter().map(begin).collect();
        self.queue.send(&deliveries, now).await.map_err(NotHandled::Queue)
    }

    /// Attempts a delivery, unless its pause is not over, or its receiver is to be left in peace.
    async fn attempt_or_wait(&self, delivery: Delivery) -> Result<(), NotHandled> {
        let now = self.clock.now();
        // The queue delays by whole seconds, and for 15 minutes at most.
        if delivery.not_before.is_some_and(|not_before| now + TimeDelta::milliseconds(500) < not_before) {
            return self.send(&delivery, now).await;
        }
        let Delivery { tenant, webhook_id, event_id, .. } = &delivery;
        // The last attempt is made in any case.
        let turn = if delivery.is_over(now) {
            self.health.begin_anyway(*webhook_id)
        } else {
            match self.health.begin(*webhook_id, now).await {
                Ok(turn) => turn,
                Err(until) => return self.wait(&delivery, until, now).await,
            }
        };
        let webhook = try_again(Patience::OfBus, || self.store.webhook(tenant, *webhook_id));
        let event = try_again(Patience::OfBus, || self.store.kept_event(tenant, *event_id));
        let (webhook, event) = futures::future::try_join(webhook, event).await?;
        let (Some(webhook), Some(event)) = (webhook, event) else {
            warn!(%tenant, webhookId = %webhook_id, eventId = %event_id, "the webhook or the event is removed");
            return Ok(());
        };
        if webhook.disabled.is_some() {
            return self.leave_out(&delivery, now).await;
        }
        let post = Post { event_id: *event_id, r#type: &delivery.r#type, event: &event, at: now };
        let posted = self.sender.post(&webhook, &post).await;
        turn.end(&posted.response, now);
        self.follow(&delivery, posted, now).await
    }

    /// Does what follows from an attempt that began at this time, and keeps it.
    async fn follow(
        &self,
        delivery: &Delivery,
        posted: Posted,
        now: DateTime<Utc>,
    ) -> Result<(), NotHandled> {
        let outcome = delivery.outcome(&posted.response, now);
        let mut after = delivery.attempted();
        if outcome == Outcome::Retrying {
            let pause = self.backoff.pause(delivery.pauses, fastrand::u8(..));
            let pause = posted.response.retry_after().map_or(pause, |asked| asked.max(pause));
            // From the end of the attempt, which may have taken seconds.
            after = after.paused(pause, self.clock.now());
            self.send(&after, self.clock.now()).await?;
        }
        if outcome == Outcome::Gone {
            self.disable(&delivery.tenant, delivery.webhook_id, now).await?;
        }
        let attempt = Attempt {
            webhook_id: delivery.webhook_id,
            event_id: delivery.event_id,
            r#type: delivery.r#type.clone(),
            number: after.attempts,
            at: now,
            milliseconds: u64::try_from(posted.after.as_millis()).unwrap_or(u64::MAX),
            status: posted.status(),
            answer: posted.answer,
            outcome,
            next_at: after.not_before.filter(|_| outcome == Outcome::Retrying),
        };
        self.conclude(delivery, &attempt, now).await;
        Ok(())
    }

    /// Puts a delivery back whose receiver is to be left in peace until then.
    async fn wait(
        &self,
        delivery: &Delivery,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), NotHandled> {
        let pause = self.backoff.pause(delivery.pauses, fastrand::u8(..)).max(until - now);
        age(delivery, now);
        self.send(&delivery.paused(pause, now), now).await
    }

    /// Keeps that an event was not posted, because its webhook is disabled. So it can be sent when the webhook is enabled again.
    async fn leave_out(&self, delivery: &Delivery, now: DateTime<Utc>) -> Result<(), NotHandled> {
        let attempt = Attempt {
            webhook_id: delivery.webhook_id,
            event_id: delivery.event_id,
            r#type: delivery.r#type.clone(),
            number: 0,
            at: now,
            milliseconds: 0,
            status: None,
            answer: "the webhook is disabled".to_owned(),
            outcome: Outcome::Disabled,
            next_at: None,
        };
        try_again(Patience::OfBus, || self.store.keep_attempt(&delivery.tenant, &attempt)).await?;
        self.tell(delivery, &attempt);
        Ok(())
    }

    async fn disable(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        now: DateTime<Utc>,
    ) -> Result<(), NotHandled> {
        let disabled = Disabled { by: DisabledBy::Gone, at: now };
        if try_again(Patience::OfBus, || self.store.disable_webhook(tenant, webhook, disabled)).await? {
            error!(%tenant, webhookId = %webhook, "a webhook is disabled: its receiver answered 410");
            counter!(WEBHOOKS_DISABLED).increment(1);
        }
        Ok(())
    }

    async fn send(&self, delivery: &Delivery, now: DateTime<Utc>) -> Result<(), NotHandled> {
        self.queue.send(std::slice::from_ref(delivery), now).await.map_err(NotHandled::Queue)
    }

    /// Keeps and counts an attempt. The event has been posted, so a failure here must not have it posted again.
    async fn conclude(&self, delivery: &Delivery, attempt: &Attempt, now: DateTime<Utc>) {
        self.tell(delivery, attempt);
        if attempt.outcome == Outcome::Retrying {
            age(delivery, now);
        }
        let kept = try_again(Patience::OfBus, || self.store.keep_attempt(&delivery.tenant, attempt)).await;
        if let Err(cause) = kept {
            let Delivery { tenant, webhook_id, event_id, .. } = delivery;
            error!(%tenant, webhookId = %webhook_id, eventId = %event_id, %cause, "an attempt can't be kept");
        }
    }

    /// Logs and counts an attempt.
    fn tell(&self, delivery: &Delivery, attempt: &Attempt) {
        let Delivery { tenant, webhook_id, event_id, .. } = delivery;
        let Attempt { number, status, milliseconds, outcome, .. } = attempt;
        let outcome = outcome.as_str();
        info!(
            %tenant,
            webhookId = %webhook_id,
            eventId = %event_id,
            attempt = number,
            status,
            milliseconds,
            outcome,
            "attempted"
        );
        counter!(DELIVERIES, OUTCOME => outcome).increment(1);
    }
}

/// Reports the age of a delivery that goes on.
fn age(delivery: &Delivery, now: DateTime<Utc>) {
    let age = (now - delivery.since).num_seconds();
    histogram!(DELIVERY_AGE).record(f64::from(i32::try_from(age).unwrap_or(i32::MAX)));
}
