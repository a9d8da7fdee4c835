//! The stream of the table: each write, with the item before and after it.
//!
//! DynamoDB writes the stream together with the table, so no change is missing from it. Besides subscriptions, the table holds
//! pointers from reference ids to them. Writes of pointers make no events: the subscription shows the same change.

use chrono::{DateTime, Utc};
use domain::event::{Event, decide_event};
use domain::identifiers::{SubscriptionId, TenantId};
use serde_dynamo::{AttributeValue, Item};

use super::items::subscription;
use super::layout::PK;

/// A write of one item, as the stream holds it.
pub struct Write {
    /// The key of the item.
    pub keys: Item,
    /// The item before; empty if there was none.
    pub before: Item,
    /// The item after; empty if there is none.
    pub after: Item,
    /// The time of the write, by the database's clock.
    pub at: DateTime<Utc>,
}

/// An event, and its tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantEvent {
    /// The tenant of the subscription.
    pub tenant: TenantId,
    /// The event.
    pub event: Event,
}

/// A write that can't be read. The error names the item, but never its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is malformed, or its version did not grow")]
pub struct UnreadableWrite(pub String);

impl Write {
    /// Returns the key of the item; empty if the item does not belong to this table.
    #[must_use]
    pub fn key(&self) -> &str {
        match self.keys.get(PK) {
            Some(AttributeValue::S(key)) => key,
            _ => "",
        }
    }

    /// Returns the event that the write makes, if it makes one. Adding or removing a subscription makes none: only the operator
    /// does that.
    ///
    /// # Errors
    /// The item is malformed, or its version did not grow though callers can see the change.
    pub fn event(self) -> Result<Option<TenantEvent>, UnreadableWrite> {
        let key = self.key().to_owned();
        let Some((tenant, name)) = key.split_once('#') else {
            return Err(UnreadableWrite(key));
        };
        if name.starts_with("rid_") || self.before.is_empty() || self.after.is_empty() {
            return Ok(None);
        }
        let read = || {
            let tenant: TenantId = tenant.parse().ok()?;
            let id: SubscriptionId = name.parse().ok()?;
            let (before, after) = (subscription(self.before)?, subscription(self.after)?);
            let is_one = before.document.subscription_id == id && after.document.subscription_id == id;
            let counts = after.revision.version > before.revision.version;
            let event = decide_event(&tenant, &before, after, self.at);
            // The id of an event is derived from the version. With the same version, two events would have the same id.
            (is_one && (counts || event.is_none()))
                .then_some(event.map(|event| TenantEvent { tenant, event }))
        };
        read().ok_or(UnreadableWrite(key))
    }
}
