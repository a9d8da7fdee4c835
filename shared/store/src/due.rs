//! Finding the cancellations that are due, and executing one.
//!
//! The index holds an entry only while a cancellation is pending, so finding the due ones costs the same however many subscriptions
//! there are. The index is eventually consistent, and may name a cancellation that is no longer pending. So the condition of the
//! write decides, not the index.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure as OnFailure;
use chrono::{DateTime, Utc};
use domain::calendar::TimeZone;
use domain::change::Change;
use domain::execute::DueCancellation;
use domain::identifiers::TenantId;
use domain::stored::StoredSubscription;
use dynamodb::{Item, Patience, refusal, try_again};

use super::items::{
    cancellation_id, instant, key_of, number, read_due, read_subscription, read_swept_tenant, text,
};
use super::layout::{DUE_AT, DUE_SHARD, PAUSED_AT, PAUSED_FOR, PK, TIME_ZONE, tenant_key};
use super::tables::DUE_INDEX;
use super::update::ItemUpdate;
use super::{NextPage, Store, StoreError};

/// Some of the cancellations that are due in one shard, the oldest first.
pub struct DuePage {
    /// The entries of the index.
    pub entries: Vec<DueEntry>,
    /// The beginning of the next page, if there is one.
    pub next: Option<NextPage>,
}

/// One entry of the index.
pub enum DueEntry {
    /// A cancellation that is due.
    Cancellation(DueCancellation),
    /// A malformed entry, with the key of its item.
    Unreadable(String),
}

/// The part of a tenant that a sweep reads.
#[derive(Clone, Debug)]
pub struct SweptTenant {
    /// The time zone of the tenant's dates.
    pub time_zone: TimeZone,
    /// True while no cancellation of the tenant is to be executed.
    pub is_paused: bool,
    /// True if the tenant has moved to another stack.
    pub has_moved: bool,
}

/// Outcome of an execution.
#[derive(Clone, Debug, PartialEq)]
pub enum Executed {
    /// The cancellation took effect by this write.
    Done,
    /// The cancellation had taken effect before.
    Before,
    /// The cancellation was withdrawn, or replaced by another.
    Superseded,
    /// Nothing was done: the index still names the cancellation, but the subscription is no longer in the state that was decided
    /// from. This is its current state.
    Otherwise(Box<StoredSubscription>),
    /// The cancellation can't be executed, because the item is malformed.
    Malformed,
}

impl Store {
    /// Reads the cancellations in `shard` whose instant is not after `now`, one page at a time.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn due(
        &self,
        shard: u32,
        now: DateTime<Utc>,
        page: Option<NextPage>,
    ) -> Result<DuePage, StoreError> {
        let output = self
            .client
            .query()
            .table_name(&self.tables.subscriptions)
            .index_name(DUE_INDEX)
            .key_condition_expression(format!("{DUE_SHARD} = :shard AND {DUE_AT} <= :now"))
            .expression_attribute_values(":shard", number(shard))
            .expression_attribute_values(":now", instant(now))
            .set_exclusive_start_key(page.map(|NextPage(key)| key))
            .send()
            .await
            .map_err(StoreError::from_sdk)?;
        let entry = |item: Item| match read_due(&item) {
            Some(due) => DueEntry::Cancellation(due),
            None => DueEntry::Unreadable(key_of(&item).to_owned()),
        };
        Ok(DuePage {
            entries: output.items.unwrap_or_default().into_iter().map(entry).collect(),
            next: output.last_evaluated_key.map(NextPage),
        })
    }

    /// Reads the part of a tenant that a sweep needs; `None` if the tenant does not exist. A sweep has no permission to read more.
    ///
    /// # Errors
    /// The database can't be reached, or refuses; or the tenant is malformed.
    pub async fn swept_tenant(&self, tenant: &TenantId) -> Result<Option<SweptTenant>, StoreError> {
        let request = self
            .client
            .get_item()
            .table_name(&self.tables.tenants)
            .key(PK, text(tenant_key(tenant)))
            .consistent_read(true)
            .projection_expression(format!("{PK}, #{TIME_ZONE}, {PAUSED_AT}, {PAUSED_FOR}"))
            .expression_attribute_names(format!("#{TIME_ZONE}"), TIME_ZONE);
        let output = request.send().await.map_err(StoreError::from_sdk)?;
        output.item.map(|item| read_swept_tenant(tenant, &item)).transpose()
    }

    /// Executes a cancellation, on the condition of the state that the change was decided from.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another write was under way all the time; otherwise the database is unavailable
    /// or refuses. The cancellation then stays in the index.
    pub async fn execute(&self, due: &DueCancellation, change: &Change) -> Result<Executed, StoreError> {
        try_again(Patience::OfSweep, || self.try_execute(due, change)).await
    }

    async fn try_execute(&self, due: &DueCancellation, change: &Change) -> Result<Executed, StoreError> {
        let update = ItemUpdate::new(&due.tenant, due.subscription_id, change)?;
        let result = self
            .client
            .update_item()
            .table_name(&self.tables.subscriptions)
            .key(PK, text(update.key))
            .update_expression(update.expression)
            .condition_expression(update.condition)
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .send()
            .await;
        match result {
            Ok(_) => Ok(Executed::Done),
            Err(error) => match refusal(error)? {
                UpdateItemError::ConditionalCheckFailedException(failed) => {
                    Ok(failed.item.map_or(Executed::Superseded, |item| otherwise(item, due)))
                }
                // The expression is valid for every item that this service writes, so the item is at fault.
                other if other.code() == Some("ValidationException") => Ok(Executed::Malformed),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }
}

/// Returns the outcome of an execution whose condition failed because of this item.
fn otherwise(item: Item, due: &DueCancellation) -> Executed {
    let has_entry = item.contains_key(DUE_AT);
    match (cancellation_id(&item) == Some(due.cancellation_id), has_entry) {
        // The same cancellation is no longer in the index: so it has been executed.
        (true, false) => Executed::Before,
        (true, true) if item.get(DUE_AT) == Some(&instant(due.effective_at)) => {
            match read_subscription(item) {
                Ok(stored) => Executed::Otherwise(Box::new(stored)),
                Err(_) => Executed::Malformed,
            }
        }
        _ => Executed::Superseded,
    }
}
