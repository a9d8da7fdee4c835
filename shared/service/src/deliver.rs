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
use domain::webhook::{Attempt, Backoff, Delivery, Disabled, DisabledBy, Outcome, PING};
use futures::future::join_all;
use metrics::{counter, histogram};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::deliveries::Kept;
use store::{Patience, Store, StoreError, try_again};
use tracing::{error, info, warn};
use uuid::Uuid;

use self::health::{Health, Refused};
pub use self::queue::DeliveryQueue;
pub use self::resend::{NotSent, ping, resend};
pub use self::sender::{Post, Posted, Sender, Unusable, target};
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::environment::{EnvironmentError, required, table_names};
use crate::telemetry::{DELIVERIES, DELIVERY_AGE, MESSAGES_GIVEN_AGAIN, OUTCOME, WEBHOOKS_DISABLED};

/// The time limits of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for a receiver to answer.
    pub answer: Duration,
    /// The pauses between the attempts of a delivery.
    pub backoff: Backoff,
    /// The times for which a receiver that fails again and again is left in peace.
    pub peace: Backoff,
    /// Longest time of an attempt that is not slow.
    pub quick: TimeDelta,
}

impl Default for Limits {
    fn default() -> Self {
        let peace = Backoff { first: TimeDelta::seconds(5), longest: TimeDelta::minutes(1) };
        Self {
            answer: Duration::from_secs(5),
            backoff: Backoff::default(),
            peace,
            quick: TimeDelta::seconds(1),
        }
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
            .map_err(|cause| EnvironmentError::Roots(cause.to_string()))
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
        let Limits { answer, backoff, peace, quick } = limits;
        let health = Health::new(peace, quick);
        Ok(Self { store, queue, sender: Sender::new(answer)?, clock, backoff, health })
    }
}

/// Handles messages of the queue, all at once. Returns the ids of those that must be given again: the queue or the database is
/// unavailable, or the message is malformed.
pub async fn deliver(deliverer: &Deliverer, messages: Vec<Message>) -> Vec<String> {
    let bodies: Vec<_> = messages.iter().map(|message| Body::read(&message.body)).collect();
    let first = bodies.first().and_then(webhook_of);
    let alone = first.is_some() && bodies.iter().all(|body| webhook_of(body) == first);
    let handled = join_all(bodies.into_iter().map(|body| deliverer.handle(body, alone))).await;
    let again = messages.into_iter().zip(handled).filter_map(|(Message { id, .. }, handled)| match handled {
        Ok(()) => None,
        Err(cause) => {
            warn!(messageId = id, %cause, "a message must be given again");
            counter!(MESSAGES_GIVEN_AGAIN).increment(1);
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

/// The body of a message.
enum Body<'m> {
    Event(Event<'m>),
    Delivery(Delivery),
}

impl<'m> Body<'m> {
    fn read(body: &'m str) -> Option<Self> {
        serde_json::from_str(body).map(Self::Delivery).ok().or_else(|| Event::read(body).map(Self::Event))
    }
}

/// Returns the webhook of a delivery.
fn webhook_of(body: &Option<Body<'_>>) -> Option<WebhookId> {
    match body {
        Some(Body::Delivery(delivery)) => Some(delivery.webhook_id),
        Some(Body::Event(_)) | None => None,
    }
}

impl Deliverer {
    /// Handles a message. `alone` tells that all messages of its batch have the same receiver.
    async fn handle(&self, body: Option<Body<'_>>, alone: bool) -> Result<(), NotHandled> {
        match body {
            Some(Body::Delivery(delivery)) => self.attempt_or_wait(delivery, alone).await,
            Some(Body::Event(event)) => self.begin(event).await,
            None => Err(NotHandled::Malformed),
        }
    }

    /// Keeps an event, and begins its delivery to each webhook that takes it.
    async fn begin(&self, event: Event<'_>) -> Result<(), NotHandled> {
        let Event { tenant, head: EventHead { event_id, r#type }, text } = event;
        let webhooks = try_again(Patience::OfBus, || self.store.webhooks(&tenant)).await?;
        // The delivery to a malformed webhook fails until the webhook is readable again.
        let malformed = webhooks.unreadable.iter().filter_map(|name| name.rsplit('#').next()?.parse().ok());
        let malformed: Vec<WebhookId> = malformed.collect();
        let webhooks: Vec<_> = webhooks.found.into_iter().filter(|webhook| webhook.takes(&r#type)).collect();
        if webhooks.is_empty() && malformed.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        match try_again(Patience::OfBus, || self.store.keep_event(&tenant, event_id, text, now)).await? {
            Kept::Done => {}
            // It is about a subscription that was erased since. Its receivers get the event that says so.
            Kept::Erased => return Ok(()),
            Kept::Refused => return Err(NotHandled::TooLarge(event_id)),
        }
        let begin = |id: WebhookId| Delivery::begin(tenant.clone(), id, event_id, r#type.clone(), now);
        let (disabled, enabled): (Vec<_>, Vec<_>) =
            webhooks.iter().partition(|webhook| webhook.disabled.is_some());
        let begun = enabled.iter().map(|webhook| webhook.id).chain(malformed).map(begin);
        self.queue.send(&begun.collect::<Vec<_>>(), now).await.map_err(NotHandled::Queue)?;
        for webhook in disabled {
            self.leave_out(&begin(webhook.id), Outcome::Disabled, "the webhook is disabled", now).await?;
        }
        Ok(())
    }

    /// Attempts a delivery, unless its pause is not over, or its receiver gets no event now.
    async fn attempt_or_wait(&self, delivery: Delivery, alone: bool) -> Result<(), NotHandled> {
        let now = self.clock.now();
        // The queue delays by whole seconds, and for 15 minutes at most.
        if delivery.not_before.is_some_and(|not_before| now + TimeDelta::milliseconds(500) < not_before) {
            return self.send(&delivery, now).await;
        }
        let Delivery { tenant, webhook_id, event_id, .. } = &delivery;
        let turn = match self.health.begin(*webhook_id, alone, now).await {
            Ok(turn) => turn,
            Err(_) if delivery.r#type == PING => self.health.begin_anyway(*webhook_id),
            Err(Refused::Busy(_)) if delivery.is_over(now) => self.health.begin_anyway(*webhook_id),
            Err(Refused::Failing(_)) if delivery.is_too_late(now) => {
                let why = "the receiver has failed again and again until now";
                return self.leave_out(&delivery, Outcome::GivenUp, why, now).await;
            }
            Err(refused) => return self.wait(&delivery, refused, now).await,
        };
        let webhook = try_again(Patience::OfBus, || self.store.webhook(tenant, *webhook_id));
        let event = try_again(Patience::OfBus, || self.store.kept_event(tenant, *event_id));
        let (webhook, event) = futures::future::try_join(webhook, event).await?;
        let Some(webhook) = webhook else {
            warn!(%tenant, webhookId = %webhook_id, eventId = %event_id, "the webhook is removed");
            return Ok(());
        };
        let Some(event) = event else {
            return self.leave_out(&delivery, Outcome::GivenUp, "the event is not kept any more", now).await;
        };
        if webhook.disabled.is_some() {
            return self.leave_out(&delivery, Outcome::Disabled, "the webhook is disabled", now).await;
        }
        let post = Post { event_id: *event_id, r#type: &delivery.r#type, event: &event, at: now };
        let posted = self.sender.post(&webhook, &post).await;
        turn.end(&posted.response, now, self.clock.now());
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
        self.conclude(delivery, &attempt, now).await
    }

    /// Puts a delivery back whose receiver gets no event now.
    async fn wait(
        &self,
        delivery: &Delivery,
        refused: Refused,
        now: DateTime<Utc>,
    ) -> Result<(), NotHandled> {
        let delivery = match refused {
            Refused::Failing(until) => {
                let pause = self.backoff.pause(delivery.pauses, fastrand::u8(..));
                delivery.paused(pause.max(until - now), now)
            }
            // Not a failure, so its next pause is not longer.
            Refused::Busy(until) => Delivery { pauses: delivery.pauses, ..delivery.paused(until - now, now) },
        };
        age(&delivery, now);
        self.send(&delivery, now).await
    }

    /// Keeps that an event is not posted. So it can be sent again on request.
    async fn leave_out(
        &self,
        delivery: &Delivery,
        outcome: Outcome,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<(), NotHandled> {
        let attempt = Attempt {
            webhook_id: delivery.webhook_id,
            event_id: delivery.event_id,
            r#type: delivery.r#type.clone(),
            number: 0,
            at: now,
            milliseconds: 0,
            status: None,
            answer: why.to_owned(),
            outcome,
            next_at: None,
        };
        self.conclude(delivery, &attempt, now).await
    }

    async fn disable(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        now: DateTime<Utc>,
    ) -> Result<(), NotHandled> {
        // Told first: after a lost acknowledgement, the update would not say that it was this one.
        error!(%tenant, webhookId = %webhook, "a webhook is disabled: its receiver answered 410");
        counter!(WEBHOOKS_DISABLED).increment(1);
        let disabled = Disabled { by: DisabledBy::Gone, at: now };
        try_again(Patience::OfBus, || self.store.disable_webhook(tenant, webhook, disabled)).await?;
        Ok(())
    }

    async fn send(&self, delivery: &Delivery, now: DateTime<Utc>) -> Result<(), NotHandled> {
        self.queue.send(std::slice::from_ref(delivery), now).await.map_err(NotHandled::Queue)
    }

    /// Keeps and counts an attempt. An attempt after which the delivery ends without success must be kept, as only that says so.
    async fn conclude(
        &self,
        delivery: &Delivery,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> Result<(), NotHandled> {
        let kept = try_again(Patience::OfBus, || self.store.keep_attempt(&delivery.tenant, attempt)).await;
        match kept {
            Err(cause) if attempt.outcome.is_failure() => return Err(cause.into()),
            // Otherwise the event would be posted again.
            Err(cause) => {
                let Delivery { tenant, webhook_id, event_id, .. } = delivery;
                error!(%tenant, webhookId = %webhook_id, eventId = %event_id, %cause, "an attempt can't be kept");
            }
            Ok(()) => {}
        }
        self.tell(delivery, attempt);
        if matches!(attempt.outcome, Outcome::Retrying | Outcome::GivenUp) {
            age(delivery, now);
        }
        Ok(())
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

/// Reports the age of a delivery whose event the receiver does not have.
fn age(delivery: &Delivery, now: DateTime<Utc>) {
    let age = (now - delivery.since).num_seconds();
    histogram!(DELIVERY_AGE).record(f64::from(i32::try_from(age).unwrap_or(i32::MAX)));
}
