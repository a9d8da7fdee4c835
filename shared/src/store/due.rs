//! Finding the cancellations that are due, and executing one.
//!
//! The index holds an entry only while a cancellation is pending, so finding what is due costs the same
//! however many subscriptions there are. It is eventually consistent and may name what is no longer
//! true; the condition of the write decides, not the index.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure as OnFailure;
use chrono::{DateTime, Utc};

use super::items::{
    Item, attribute, cancellation_id, instant, key_of, number, read_due, subscription_key, text,
};
use super::tables::DUE_INDEX;
use super::{NextPage, Store, StoreError, refusal};
use crate::cancellation::{DueCancellation, Execution};
use crate::subscription::Status;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// The cancellation has taken effect, here and now.
    Done,
    /// It had taken effect before.
    Before,
    /// It is no longer the one that counts: withdrawn, or replaced by another.
    Superseded,
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
            .key_condition_expression("dueShard = :shard AND dueAt <= :now")
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

    /// Executes a cancellation, on the condition that it is still the subscription's, for the same
    /// instant, and has not been executed. Its details stay with the subscription, for reporting.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another write was under way; otherwise the database is unavailable
    /// or refuses. The cancellation then stays in the index.
    pub async fn execute(&self, due: &DueCancellation, execution: Execution) -> Result<Executed, StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.tables.subscriptions)
            .key("pk", text(subscription_key(&due.tenant, due.subscription_id)))
            .update_expression(
                "SET version = version + :one, document.#status = :cancelled, \
                 document.cancelledAt = :cancelledAt, document.updatedAt = :updatedAt \
                 REMOVE document.pendingStatus, document.pendingMsisdn, \
                 document.pendingProductOffering, dueShard, dueAt",
            )
            .condition_expression(
                "cancellationId = :id AND dueAt = :dueAt AND document.#status <> :cancelled",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":id", text(due.cancellation_id))
            .expression_attribute_values(":dueAt", instant(due.effective_at))
            .expression_attribute_values(":cancelled", attribute(Status::Cancelled)?)
            .expression_attribute_values(":cancelledAt", attribute(execution.cancelled_at)?)
            .expression_attribute_values(":updatedAt", attribute(execution.updated_at)?)
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .send()
            .await;
        match result {
            Ok(_) => Ok(Executed::Done),
            Err(error) => match refusal(error)? {
                UpdateItemError::ConditionalCheckFailedException(failed) => {
                    // The same cancellation, and no longer in the index: then it has been executed.
                    let executed = failed.item.is_some_and(|item| {
                        cancellation_id(&item) == Some(due.cancellation_id) && !item.contains_key("dueAt")
                    });
                    Ok(if executed { Executed::Before } else { Executed::Superseded })
                }
                // The expression is right for every item that this service writes, so it is the item.
                other if other.code() == Some("ValidationException") => Ok(Executed::Malformed),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }
}
