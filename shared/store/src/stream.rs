//! The stream of the table: each write, with the item before and after it.
//!
//! DynamoDB writes the stream together with the table, so no change is missing from it. Besides subscriptions, the table holds
//! pointers from reference ids to them. Writes of pointers count for nothing: the subscription shows the same change.

use chrono::{DateTime, Utc};
use domain::event::{Event, decide_event};
use domain::history::{HistoryEntry, entries_of_write};
use domain::identifiers::{SubscriptionId, TenantId};
use domain::stored::StoredSubscription;
use serde_dynamo::{AttributeValue, Item};

use super::items::{revision, subscription};
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

/// The entries and the event that a write makes.
pub struct Change {
    /// The entries of the history, in their order.
    pub history: Vec<HistoryEntry>,
    /// The event, if the write makes one. Adding or removing a subscription makes none: only the operator does that.
    pub event: Result<Option<TenantEvent>, UnreadableWrite>,
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

    /// Returns the entries of the history and the event that the write makes.
    ///
    /// The event is an error if the item is malformed, or its version did not grow though callers can see the change. Then the
    /// history still has an entry for what can be read.
    #[must_use]
    pub fn change(self) -> Change {
        let key = self.key().to_owned();
        let unreadable = || UnreadableWrite(key.clone());
        let nothing = |event| Change { history: Vec::new(), event };
        let Some((tenant, name)) = key.split_once('#') else {
            return nothing(Err(unreadable()));
        };
        if name.starts_with("rid_") || self.after.is_empty() {
            return nothing(Ok(None));
        }
        let (Ok(tenant), Ok(id)) = (tenant.parse::<TenantId>(), name.parse::<SubscriptionId>()) else {
            return nothing(Err(unreadable()));
        };
        let is_it = |stored: &StoredSubscription| stored.document.subscription_id == id;
        let Some(after) = subscription(self.after).filter(is_it) else {
            return nothing(Err(unreadable()));
        };
        let is_new = self.before.is_empty();
        let revision_before = revision(&self.before);
        let before = subscription(self.before).filter(is_it);
        let mut history = entries_of_write(before.as_ref(), &after, self.at);
        if let (None, Some(entry)) = (&before, history.last_mut()) {
            // What an unreadable item was is not known, but its revision may be.
            entry.follows = revision_before;
        }
        let event = match before {
            _ if is_new => Ok(None),
            None => Err(unreadable()),
            Some(before) => {
                let counts = after.revision.version > before.revision.version;
                let event = decide_event(&tenant, &before, after, self.at);
                let event = event.map(|event| TenantEvent { tenant, event });
                // The id of an event is derived from the version. With the same version, two events would have the same id.
                if counts || event.is_none() { Ok(event) } else { Err(unreadable()) }
            }
        };
        Change { history, event }
    }
}
