//! One write for everything a request decided: the change and the record of its answer, together.
//!
//! The two are a single transaction. So there is no moment between them at which a function could die
//! and leave an effect that a retry would repeat, or a record of an effect that never was; and there
//! is no lock to be left behind. Whichever of two equal requests commits first is the one; the other
//! finds the record in the failure of its own transaction, and gives its answer.
//!
//! An acknowledgement that gets lost is harmless. A transaction is sent again under the same
//! `ClientRequestToken`, which DynamoDB recognises; and a caller that repeats its request finds the
//! record. That is why a change without a record is a transaction too: a plain update that is sent again
//! could not tell its own earlier success from a change by someone else, and would undo theirs.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure as OnFailure,
    TransactWriteItem, Update,
};
use chrono::{DateTime, Utc};
use domain::cancellation::StoredSubscription;
use domain::identifiers::TenantId;
use idempotency::{IdempotencyKey, Record};
use uuid::Uuid;

use super::items::{
    Item, attribute, number, pending_attributes, read_record, read_subscription, record_item,
    subscription_key, text,
};
use super::{Store, StoreError, refusal};
use crate::retry::{Patience, try_again};

/// What came of a commit.
pub enum Committed {
    /// Everything was written.
    Done,
    /// Nothing was written: the idempotency key has this record already.
    Recorded(Record),
    /// Nothing was written: the subscription has changed, to this.
    Changed(Option<Box<StoredSubscription>>),
}

/// A transaction that is ready to be written.
///
/// However often it is tried, it is the same to the byte, under the same `ClientRequestToken`, by which
/// DynamoDB knows it for ten minutes.
pub struct Commit {
    writes: Vec<TransactWriteItem>,
    has_record: bool,
    token: Uuid,
}

/// The record to write under an idempotency key.
pub struct NewRecord<'r> {
    /// The key.
    pub key: &'r IdempotencyKey,
    /// What to keep for it.
    pub record: Record,
    /// Now: a record that has expired by then is overwritten, removed by the database or not.
    pub now: DateTime<Utc>,
}

impl Store {
    /// Prepares to write what became of a cancellation and the record of that answer, both or neither.
    ///
    /// `change` is the subscription as it shall be, with its cancellation pending, withdrawn or gone, one version after the one
    /// it was decided from; `record` is there if the request had an idempotency key.
    ///
    /// # Errors
    /// None that its types allow.
    pub fn prepare(
        &self,
        tenant: &TenantId,
        change: &StoredSubscription,
        record: Option<NewRecord<'_>>,
    ) -> Result<Commit, StoreError> {
        let has_record = record.is_some();
        let writes = self.writes(tenant, change, record)?;
        Ok(Commit { writes, has_record, token: Uuid::new_v4() })
    }

    /// Writes what was prepared, all of it or nothing. What meets another write is tried again as it is: an earlier attempt may
    /// have succeeded unheard. It is done once.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another write was under way all the time: the last attempt wrote nothing. If the
    /// database became unavailable, all may have been written or nothing; the same request again will tell.
    pub async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        try_again(Patience::OfRequest, || self.try_commit(commit)).await
    }

    async fn try_commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        let Commit { writes, has_record, token } = commit;
        let request = self.client.transact_write_items().set_transact_items(Some(writes.clone()));
        match request.client_request_token(token.to_string()).send().await {
            Ok(_) => Ok(Committed::Done),
            Err(error) => match refusal(error)? {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    explain(cancelled, *has_record)
                }
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Writes the record of an answer that changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another write was under way all the time; otherwise the database is unavailable
    /// or refuses.
    pub async fn record(&self, tenant: &TenantId, new: &NewRecord<'_>) -> Result<Committed, StoreError> {
        try_again(Patience::OfRequest, || self.try_record(tenant, new)).await
    }

    async fn try_record(&self, tenant: &TenantId, new: &NewRecord<'_>) -> Result<Committed, StoreError> {
        let result = self
            .client
            .put_item()
            .table_name(&self.tables.idempotency)
            .set_item(Some(record_item(tenant, new.key, &new.record)?))
            .condition_expression(KEY_IS_FREE)
            .expression_attribute_values(":now", number(new.now.timestamp()))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .send()
            .await;
        match result {
            Ok(_) => Ok(Committed::Done),
            Err(error) => match refusal(error)? {
                PutItemError::ConditionalCheckFailedException(failed) => recorded(failed.item),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// The writes of a commit: the record's first, if there is one.
    fn writes(
        &self,
        tenant: &TenantId,
        change: &StoredSubscription,
        record: Option<NewRecord<'_>>,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let defect = |error: BuildError| StoreError::Defect(error.to_string());
        let mut writes = Vec::new();
        if let Some(new) = record {
            let put = Put::builder()
                .table_name(&self.tables.idempotency)
                .set_item(Some(record_item(tenant, new.key, &new.record)?))
                .condition_expression(KEY_IS_FREE)
                .expression_attribute_values(":now", number(new.now.timestamp()))
                .return_values_on_condition_check_failure(OnFailure::AllOld)
                .build();
            writes.push(TransactWriteItem::builder().put(put.map_err(defect)?).build());
        }
        let (expression, values) = expression(change)?;
        let update = Update::builder()
            .table_name(&self.tables.subscriptions)
            .key("pk", text(subscription_key(tenant, change.document.subscription_id)))
            .update_expression(expression)
            .condition_expression("version = :decidedFrom")
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .build();
        writes.push(TransactWriteItem::builder().update(update.map_err(defect)?).build());
        Ok(writes)
    }
}

const KEY_IS_FREE: &str = "attribute_not_exists(pk) OR expiresAt <= :now";

/// It names the attributes it sets and leaves the others alone: the item may hold more than this
/// service knows.
const MAKE_PENDING: &str = "SET version = :version, writeId = :writeId, document.updatedAt = :updatedAt, \
    document.pendingStatus = :pendingStatus, cancellationId = :cancellationId, \
    cancellation = :cancellation, dueShard = :dueShard, dueAt = :dueAt";

/// The cancellation is kept, for reporting. Without its id and its place in the index, no sweep can execute it.
const WITHDRAW: &str = "SET version = :version, writeId = :writeId, document.updatedAt = :updatedAt, \
    cancellation = :cancellation REMOVE document.pendingStatus, cancellationId, dueShard, dueAt";

/// Nothing is kept that could be said of the cancellation: another system removed it.
const FORGET: &str = "SET version = :version, writeId = :writeId, document.updatedAt = :updatedAt \
    REMOVE document.pendingStatus, cancellationId, dueShard, dueAt";

/// The write of a change, and the values of it and of its condition.
fn expression(
    change: &StoredSubscription,
) -> Result<(&'static str, HashMap<String, AttributeValue>), StoreError> {
    let mut values = vec![
        ("decidedFrom", number(change.revision.version - 1)),
        ("version", number(change.revision.version)),
        ("writeId", attribute(&change.revision.write_id)?),
        ("updatedAt", attribute(change.document.updated_at)?),
    ];
    let expression = match (change.pending_cancellation(), &change.cancellation) {
        (Some(pending), _) => {
            values.push(("pendingStatus", attribute(&change.document.pending_status)?));
            values.extend(pending_attributes(change.document.subscription_id, pending)?);
            MAKE_PENDING
        }
        (None, Some(withdrawn)) => {
            values.push(("cancellation", attribute(withdrawn)?));
            WITHDRAW
        }
        (None, None) => FORGET,
    };
    Ok((expression, values.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect()))
}

/// What a cancelled transaction means. The record comes first: if the key is taken, its record is the
/// answer, whatever became of the subscription.
fn explain(cancelled: TransactionCanceledException, has_record: bool) -> Result<Committed, StoreError> {
    let mut failed = failed_conditions(cancelled)?.into_iter();
    let record = if has_record { failed.next().flatten() } else { None };
    match (record, failed.next().flatten()) {
        (Some(FailedCondition(item)), _) => recorded(item),
        (None, Some(FailedCondition(item))) => changed(item),
        (None, None) => Err(StoreError::Conflict),
    }
}

/// A write whose condition failed, and the item that made it fail if DynamoDB was asked for it.
pub(super) struct FailedCondition(Option<Item>);

/// Which writes of a cancelled transaction failed their condition, in their order.
///
/// # Errors
/// None did: the transaction was cancelled for another reason.
pub(super) fn failed_conditions(
    cancelled: TransactionCanceledException,
) -> Result<Vec<Option<FailedCondition>>, StoreError> {
    let codes = cancellation_codes(&cancelled);
    let reasons = cancelled.cancellation_reasons.unwrap_or_default();
    let any = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(&code.as_str()));
    if any(&["ConditionalCheckFailed"]) {
        let failed = |reason: &CancellationReason| reason.code() == Some("ConditionalCheckFailed");
        Ok(reasons
            .into_iter()
            .map(|reason| failed(&reason).then_some(FailedCondition(reason.item)))
            .collect())
    } else if any(&["TransactionConflict"]) {
        Err(StoreError::Conflict)
    } else if any(&["ThrottlingError", "ProvisionedThroughputExceeded"]) {
        Err(StoreError::Throttled)
    } else {
        Err(StoreError::Defect(format!("the database cancelled a transaction: {}", codes.join(", "))))
    }
}

/// Why a transaction was cancelled: a code for each write, `None` for one that was not the reason.
pub(super) fn cancellation_codes(cancelled: &TransactionCanceledException) -> Vec<String> {
    cancelled.cancellation_reasons().iter().map(|reason| reason.code.clone().unwrap_or_default()).collect()
}

fn recorded(item: Option<Item>) -> Result<Committed, StoreError> {
    // Without the item there is nothing to answer with; a moment later there will be.
    item.map(read_record).transpose()?.map(Committed::Recorded).ok_or(StoreError::Conflict)
}

fn changed(item: Option<Item>) -> Result<Committed, StoreError> {
    Ok(Committed::Changed(item.map(read_subscription).transpose()?.map(Box::new)))
}
