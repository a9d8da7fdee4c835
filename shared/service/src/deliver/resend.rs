//! Sending events again: on request, as often as somebody wants, while they are kept.

use chrono::{DateTime, Utc};
use domain::identifiers::{TenantId, WebhookId};
use domain::webhook::{Delivery, LIFETIME, PING, Webhook};
use serde_json::json;
use store::deliveries::Kept;
use store::{Store, StoreError};
use uuid::Uuid;

use super::{DeliveryQueue, EventHead};

/// The reason why an event is not sent again.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// The event is not kept: it is older than 30 days, was erased, or no webhook took it.
    #[error("the event {0} is not kept: it is older than 30 days, was erased, or had no webhook")]
    NotKept(Uuid),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue failed.
    #[error("the queue of deliveries did not take an event: {0}")]
    Queue(String),
}

/// Begins new deliveries of an event to those of the webhooks that are enabled and take it. Returns the ids of these.
///
/// # Errors
/// The event is not kept; or the database or the queue can't be reached, or refuses.
pub async fn resend(
    store: &Store,
    queue: &DeliveryQueue,
    tenant: &TenantId,
    event_id: Uuid,
    webhooks: &[Webhook],
    now: DateTime<Utc>,
) -> Result<Vec<WebhookId>, NotSent> {
    let event = store.kept_event(tenant, event_id).await?.ok_or(NotSent::NotKept(event_id))?;
    let head: Option<EventHead> = serde_json::from_str(&event).ok();
    let EventHead { r#type, .. } = head.ok_or(NotSent::NotKept(event_id))?;
    // For as long as its deliveries may take.
    if store.keep_event(tenant, event_id, &event, now).await? == Kept::Erased {
        return Err(NotSent::NotKept(event_id));
    }
    let deliveries: Vec<_> = webhooks
        .iter()
        .filter(|webhook| webhook.disabled.is_none() && webhook.takes(&r#type))
        .map(|webhook| Delivery::begin(tenant.clone(), webhook.id, event_id, r#type.clone(), now))
        .collect();
    queue.send(&deliveries, now).await.map_err(NotSent::Queue)?;
    Ok(deliveries.into_iter().map(|delivery| delivery.webhook_id).collect())
}

/// Sends an event to a webhook that only says that it works, and is attempted once. Returns the id of the event.
///
/// # Errors
/// The database or the queue can't be reached, or refuses.
pub async fn ping(
    store: &Store,
    queue: &DeliveryQueue,
    tenant: &TenantId,
    webhook: WebhookId,
    now: DateTime<Utc>,
) -> Result<Uuid, NotSent> {
    let event_id = Uuid::new_v4();
    let event = json!({"eventId": event_id, "type": PING, "occurredAt": now, "data": {"webhookId": webhook}});
    match store.keep_event(tenant, event_id, &event.to_string(), now).await? {
        Kept::Done => {}
        Kept::Erased | Kept::Refused => return Err(NotSent::NotKept(event_id)),
    }
    // As if it were at its end: it is attempted once, whatever the health of the receiver.
    let begun = Delivery::begin(tenant.clone(), webhook, event_id, PING.to_owned(), now - LIFETIME);
    queue.send(&[begun], now).await.map_err(NotSent::Queue)?;
    Ok(event_id)
}
