//! Finding the cancellations that are due, and executing one.
//!
//! The index holds an entry only while a cancellation is pending, so finding what is due costs the same
//! however many subscriptions there are. It is eventually consistent and may name what is no longer
//! true; the condition of the write decides, not the index.

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
    cancellation_id, instant, key_of, number, read_due, read_subscription, read_time_zone, text,
};
use super::layout::{DUE_AT, DUE_SHARD, PK, TIME_ZONE, tenant_key};
use super::tables::DUE_INDEX;
use super::update::ItemUpdate;
use super::{NextPage, Store, StoreError};

/// Some of the cancellations that are due in one shard, the oldest first.
pub struct DuePage {
    /// What the index names.
    pub entries: Vec<DueEntry>,
    /// Where the next page begins, if there is one.
    pub next: Option<NextPage>,
}

/// One entry of the index.
pub enum DueEntry {
    /// A cancellation that is due.
    Cancellation(DueCancellation),
    /// An entry that this service did not write; the key of its item.
    Unreadable(String),
}

/// What came of an execution.
#[derive(Clone, Debug, PartialEq)]
pub enum Executed {
    /// The cancellation has taken effect, here and now.
    Done,
    /// It had taken effect before.
    Before,
    /// It is no longer the one that counts: withdrawn, or replaced by another.
    Superseded,
    /// Nothing was done: the index still names it, and the subscription is not as it was decided for. It is like this.
    Otherwise(Box<StoredSubscription>),
    /// It can't be: the item is not what this service writes.
    Malformed,
}

impl Store {
    /// The cancellations in `shard` whose instant is not after `now`.
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

    /// A tenant's time zone; `None` if there is no such tenant. A sweep may read no more of it.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn time_zone(&self, tenant: &TenantId) -> Result<Option<TimeZone>, StoreError> {
        let request = self
            .client
            .get_item()
            .table_name(&self.tables.tenants)
            .key(PK, text(tenant_key(tenant)))
            .consistent_read(true)
            .projection_expression(format!("{PK}, #{TIME_ZONE}"))
            .expression_attribute_names(format!("#{TIME_ZONE}"), TIME_ZONE);
        let output = request.send().await.map_err(StoreError::from_sdk)?;
        output.item.map(|item| read_time_zone(tenant, &item)).transpose()
    }

    /// Executes a cancellation, on the condition of what the change was decided from.
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
                // The expression is right for every item that this service writes, so it is the item.
                other if other.code() == Some("ValidationException") => Ok(Executed::Malformed),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }
}

/// What an item is that an execution was not decided for.
fn otherwise(item: Item, due: &DueCancellation) -> Executed {
    let has_entry = item.contains_key(DUE_AT);
    match (cancellation_id(&item) == Some(due.cancellation_id), has_entry) {
        // The same cancellation, and no longer in the index: then it has been executed.
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
