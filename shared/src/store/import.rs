//! Writing subscriptions from outside, many with one transaction.
//!
//! What is there is read first, and every write is conditional on it: a caller who cancels in between is not
//! overwritten; the import meets what they left, and decides again. A batch that can't be written together is written
//! one by one, so that one subscription does not hold up the others.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};

use super::commit::cancellation_codes;
use super::items::{
    Item, attribute, number, pending_attributes, pointer_item, read_pointer, read_present, reference_key,
    subscription_key, text,
};
use super::{Store, StoreError, refusal};
use crate::identifiers::{ReferenceId, SubscriptionId, TenantId};
use crate::import::{Existing, ImportDecision, NewSubscription, decide_import};

/// How many are written together. Each is up to three writes (itself, its reference id, and the reference id that it
/// no longer has), and a transaction has at most 100.
const TOGETHER: usize = 33;
/// How often one that meets other writes is tried.
const MOST_ATTEMPTS: u32 = 5;

/// What came of one import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It was not there, and was written.
    Added,
    /// It was there, and was written over.
    Replaced,
    /// It was there, and is the same.
    Unchanged,
    /// It was there, and was left as it is.
    Kept,
    /// Its reference id belongs to another subscription; nothing was written.
    ReferenceTaken,
    /// The database can't hold it (a number of over 38 digits, more than 400 KB); nothing was written.
    Refused,
    /// What is stored under its id is not what this service writes, and was left as it is.
    Unreadable,
}

/// Why a transaction wrote nothing.
enum NotWritten {
    /// Something has changed since it was read, or the order of the batch matters.
    Changed,
    /// Another write was under way.
    Conflict,
    /// The database refuses what it was given.
    Invalid,
}

impl Store {
    /// Imports subscriptions of `tenant`, as if one after the other; what came of each, in their order. The same again
    /// changes nothing.
    ///
    /// # Errors
    /// The database can't be reached, or refuses, or one of them is being written by others all the time. Some may
    /// have been written then.
    pub async fn import(
        &self,
        tenant: &TenantId,
        subscriptions: &[NewSubscription],
        existing: Existing,
    ) -> Result<Vec<Imported>, StoreError> {
        let mut outcomes = Vec::new();
        for batch in subscriptions.chunks(TOGETHER) {
            match self.import_together(tenant, batch, existing).await? {
                Ok(together) => outcomes.extend(together),
                Err(_) => {
                    for one in batch {
                        outcomes.push(self.import_one(tenant, one, existing).await?);
                    }
                }
            }
        }
        Ok(outcomes)
    }

    async fn import_one(
        &self,
        tenant: &TenantId,
        new: &NewSubscription,
        existing: Existing,
    ) -> Result<Imported, StoreError> {
        for _ in 0..MOST_ATTEMPTS {
            match self.import_together(tenant, std::slice::from_ref(new), existing).await? {
                Ok(outcomes) => return Ok(outcomes.into_iter().next().unwrap_or(Imported::Refused)),
                Err(NotWritten::Invalid) => return Ok(Imported::Refused),
                Err(NotWritten::Changed) => {}
                Err(NotWritten::Conflict) => {
                    tokio::time::sleep(Duration::from_millis(50).mul_f64(0.5 + fastrand::f64())).await;
                }
            }
        }
        Err(StoreError::Conflict)
    }

    /// Reads what is there, decides, and writes all that is to be written, or nothing.
    async fn import_together(
        &self,
        tenant: &TenantId,
        batch: &[NewSubscription],
        existing: Existing,
    ) -> Result<Result<Vec<Imported>, NotWritten>, StoreError> {
        let subscriptions = batch.iter().map(|new| subscription_key(tenant, new.id()));
        let references = batch.iter().filter_map(NewSubscription::reference_id);
        let keys = subscriptions.chain(references.map(|reference| reference_key(tenant, reference)));
        let mut stored = self.subscription_items(keys.collect()).await?;

        let mut outcomes = Vec::new();
        let mut writes = Vec::new();
        for new in batch {
            let present = stored.remove(&subscription_key(tenant, new.id())).map(read_present).transpose();
            let pointer = new.reference_id().map(|reference| reference_key(tenant, reference));
            let pointer = pointer.and_then(|key| stored.remove(&key)).map(read_pointer).transpose();
            let (Ok(present), Ok(reference_is_of)) = (present, pointer) else {
                outcomes.push(Imported::Unreadable);
                continue;
            };
            outcomes.push(match decide_import(new, present.as_ref(), reference_is_of, existing) {
                ImportDecision::Add => {
                    writes.extend(self.addition(tenant, new)?);
                    Imported::Added
                }
                ImportDecision::Replace { version, freed } => {
                    writes.extend(self.replacement(tenant, new, version, freed.as_ref())?);
                    Imported::Replaced
                }
                ImportDecision::Unchanged => Imported::Unchanged,
                ImportDecision::Keep => Imported::Kept,
                ImportDecision::ReferenceTaken => Imported::ReferenceTaken,
            });
        }
        // One before it may give up the reference id that it wants.
        if batch.len() > 1 && outcomes.contains(&Imported::ReferenceTaken) {
            return Ok(Err(NotWritten::Changed));
        }
        if writes.is_empty() {
            return Ok(Ok(outcomes));
        }
        Ok(self.write_together(writes).await?.map(|()| outcomes))
    }

    async fn write_together(
        &self,
        writes: Vec<TransactWriteItem>,
    ) -> Result<Result<(), NotWritten>, StoreError> {
        let result = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        let Err(error) = result else {
            return Ok(Ok(()));
        };
        match refusal(error)? {
            TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                let codes = cancellation_codes(&cancelled);
                let any = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(&code.as_str()));
                if any(&["ThrottlingError", "ProvisionedThroughputExceeded"]) {
                    Err(StoreError::Unavailable(codes.join(", ")))
                } else if any(&["ConditionalCheckFailed"]) {
                    Ok(Err(NotWritten::Changed))
                } else if any(&["TransactionConflict"]) {
                    Ok(Err(NotWritten::Conflict))
                } else {
                    Ok(Err(NotWritten::Invalid))
                }
            }
            other if other.code() == Some("ValidationException") => Ok(Err(NotWritten::Invalid)),
            other => Err(StoreError::from_refusal(&other)),
        }
    }

    /// The writes that add a subscription.
    fn addition(
        &self,
        tenant: &TenantId,
        new: &NewSubscription,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let mut item = Item::from([
            ("pk".to_owned(), text(subscription_key(tenant, new.id()))),
            ("document".to_owned(), attribute(new.document())?),
            ("version".to_owned(), number(1)),
        ]);
        if let Some(cancellation) = new.cancellation() {
            let pending = pending_attributes(new.id(), cancellation)?;
            item.extend(pending.map(|(name, value)| (name.to_owned(), value)));
        }
        let put = Put::builder()
            .table_name(&self.tables.subscriptions)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(defect)?;
        let mut writes = vec![TransactWriteItem::builder().put(put).build()];
        writes
            .extend(new.reference_id().map(|reference| self.point(tenant, reference, new.id())).transpose()?);
        Ok(writes)
    }

    /// The writes that put a document in the place of a subscription's. What other systems keep beside the document
    /// stays.
    fn replacement(
        &self,
        tenant: &TenantId,
        new: &NewSubscription,
        version: u64,
        freed: Option<&ReferenceId>,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let mut expression = "SET document = :document, version = :version".to_owned();
        let mut values = HashMap::from([
            (":document".to_owned(), attribute(new.document())?),
            (":decidedFrom".to_owned(), number(version)),
            (":version".to_owned(), number(version + 1)),
        ]);
        match new.cancellation() {
            Some(cancellation) => {
                for (name, value) in pending_attributes(new.id(), cancellation)? {
                    expression += &format!(", {name} = :{name}");
                    values.insert(format!(":{name}"), value);
                }
            }
            None => expression += " REMOVE cancellationId, cancellation, dueShard, dueAt",
        }
        let update = Update::builder()
            .table_name(&self.tables.subscriptions)
            .key("pk", text(subscription_key(tenant, new.id())))
            .update_expression(expression)
            .condition_expression("version = :decidedFrom")
            .set_expression_attribute_values(Some(values))
            .build()
            .map_err(defect)?;
        let mut writes = vec![TransactWriteItem::builder().update(update).build()];
        writes
            .extend(new.reference_id().map(|reference| self.point(tenant, reference, new.id())).transpose()?);
        if let Some(freed) = freed {
            let delete = Delete::builder()
                .table_name(&self.tables.subscriptions)
                .key("pk", text(reference_key(tenant, freed)))
                .condition_expression(FREE_OR_OURS)
                .expression_attribute_values(":id", text(new.id()))
                .build()
                .map_err(defect)?;
            writes.push(TransactWriteItem::builder().delete(delete).build());
        }
        Ok(writes)
    }

    /// The write that makes a reference id name a subscription.
    fn point(
        &self,
        tenant: &TenantId,
        reference: &ReferenceId,
        id: SubscriptionId,
    ) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder()
            .table_name(&self.tables.subscriptions)
            .set_item(Some(pointer_item(tenant, reference, id)))
            .condition_expression(FREE_OR_OURS)
            .expression_attribute_values(":id", text(id))
            .build()
            .map_err(defect)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

/// That a reference id names no subscription, or the one that is imported.
const FREE_OR_OURS: &str = "attribute_not_exists(pk) OR subscriptionId = :id";

fn defect(error: BuildError) -> StoreError {
    StoreError::Defect(error.to_string())
}
