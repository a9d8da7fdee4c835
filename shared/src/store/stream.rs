//! What the stream of the table tells: each write, with the item before and after it.
//!
//! The stream is written with the table, so a change and its event can't part. Beside subscriptions the table holds the
//! reference ids that name them; what becomes of those is told by the subscription that has them.

use chrono::{DateTime, Utc};
use serde_dynamo::{AttributeValue, Item};

use super::items::read_version;
use crate::event::{Event, decide_event};
use crate::identifiers::{SubscriptionId, TenantId};

/// A write of one item, as the stream holds it.
pub struct Write {
    /// The key of the item.
    pub keys: Item,
    /// The item before; empty if there was none.
    pub before: Item,
    /// The item after; empty if there is none.
    pub after: Item,
    /// When it was written, by the database's clock.
    pub at: DateTime<Utc>,
}

/// What a write is to be told as.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Whose subscription it is.
    pub tenant: TenantId,
    /// What is told about it.
    pub event: Event,
}

/// A write that can't be read. It names the item, not what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not what this service writes")]
pub struct UnreadableWrite(pub String);

impl Write {
    /// The key of the item; empty if it is none of this table.
    #[must_use]
    pub fn key(&self) -> &str {
        match self.keys.get("pk") {
            Some(AttributeValue::S(key)) => key,
            _ => "",
        }
    }

    /// What it is to be told as. A subscription that is added or removed is not told: this service does neither but when it
    /// is told to, by the operator.
    ///
    /// # Errors
    /// It is not what this service writes.
    pub fn told(self) -> Result<Option<Told>, UnreadableWrite> {
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
            let (before, after) = (read_version(self.before)?, read_version(self.after)?);
            let is_one =
                before.subscription.subscription_id == id && after.subscription.subscription_id == id;
            is_one.then(|| {
                let event = decide_event(&tenant, &before, after, self.at);
                event.map(|event| Told { tenant, event })
            })
        };
        read().ok_or(UnreadableWrite(key))
    }
}
