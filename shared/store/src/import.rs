//! Writing subscriptions from outside, many with one transaction.
//!
//! What is there is read first, and every write is conditional on it: if a caller cancels in between, the import meets what
//! they left, and decides again. A batch that can't be written together is written one by one, so that one subscription
//! does not hold up the others.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use chrono::{DateTime, Utc};
use domain::identifiers::{ReferenceId, SubscriptionId, TenantId};
use domain::import::{ImportDecision, NewSubscription, Replacement, Rules, decide_import};

use super::commit::{cancellation_codes, failed_conditions};
use super::document::{document_attribute, stored_attribute};
use super::items::{
    Item, attribute, number, pending_attributes, pointer_item, read_pointer, read_present, reference_key,
    subscription_key, text,
};
use super::{Store, StoreError, refusal};

/// How many are written together. Each is up to three writes (itself, its reference id, and the reference id that it
/// no longer has), and a transaction has at most 100.
pub const TOGETHER: usize = 33;
/// How often one that meets other writes is tried.
const MOST_ATTEMPTS: u32 = 5;

/// What came of one import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It was not there, and was written.
    Added,
    /// It was there, and was written over.
    Replaced,
    /// The same, and with it a cancellation was undone or changed that was pending or had taken effect, or one came back that was
    /// withdrawn.
    Undone,
    /// It was there, and is the same.
    Unchanged,
    /// It was there, and was left as it is.
    Kept,
    /// Its reference id belongs to another subscription; nothing was written.
    ReferenceTaken,
    /// It would be cancelled at once, as the date of its cancellation has begun; nothing was written.
    Overdue,
    /// The database can't hold it (more than 400 KB, say, or a number of 1e126); nothing was written.
    Refused,
    /// What is stored under its id or its former reference id is not what this service writes, or is written by others all the
    /// time; it was left as it is.
    Unreadable,
}

impl Imported {
    /// Why it was not imported, if it was not.
    #[must_use]
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::Added | Self::Replaced | Self::Undone | Self::Unchanged | Self::Kept => None,
            Self::ReferenceTaken => Some("referenceId: belongs to another subscription"),
            Self::Overdue => Some("pendingStatus: its date has begun, so it would be cancelled at once"),
            Self::Refused => {
                Some("the database refuses it: over 400 KB, 32 levels, a number beyond 1e126, an empty name")
            }
            Self::Unreadable => Some(
                "what is stored under its id or reference id is not what this service writes, or changes all the time",
            ),
        }
    }
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
    /// Imports up to [`TOGETHER`] subscriptions of `tenant`, all or none; what came of each, in their order. `None` if they
    /// can't be written together: one of them can't be written, or their order matters. Then each is imported for itself.
    ///
    /// The same again changes nothing. Whether a date has begun is judged by the later of `now` and the database's clock.
    ///
    /// # Errors
    /// The database can't be reached, or refuses. They may have been written then, or not.
    pub async fn import_together(
        &self,
        tenant: &TenantId,
        batch: &[NewSubscription],
        rules: Rules,
        now: DateTime<Utc>,
    ) -> Result<Option<Vec<Imported>>, StoreError> {
        Ok(self.try_import(tenant, batch, rules, now).await?.ok())
    }

    /// Imports a subscription of `tenant`. The same again changes nothing.
    ///
    /// # Errors
    /// The database can't be reached, or refuses. It may have been written then, or not. [`StoreError::Conflict`] if others
    /// are writing it all the time.
    pub async fn import(
        &self,
        tenant: &TenantId,
        new: &NewSubscription,
        rules: Rules,
        now: DateTime<Utc>,
    ) -> Result<Imported, StoreError> {
        let mut outcome = Err(StoreError::Conflict);
        for _ in 0..MOST_ATTEMPTS {
            outcome = match self.try_import(tenant, std::slice::from_ref(new), rules, now).await? {
                Ok(outcomes) => return Ok(outcomes.into_iter().next().unwrap_or(Imported::Unreadable)),
                Err(NotWritten::Invalid) => return Ok(Imported::Refused),
                // It does not stay as it was read: its former reference id names another one.
                Err(NotWritten::Changed) => Ok(Imported::Unreadable),
                Err(NotWritten::Conflict) => Err(StoreError::Conflict),
            };
            tokio::time::sleep(Duration::from_millis(50).mul_f64(0.5 + fastrand::f64())).await;
        }
        outcome
    }

    /// Reads what is there, decides, and writes all that is to be written, or nothing.
    async fn try_import(
        &self,
        tenant: &TenantId,
        batch: &[NewSubscription],
        rules: Rules,
        now: DateTime<Utc>,
    ) -> Result<Result<Vec<Imported>, NotWritten>, StoreError> {
        let subscriptions = batch.iter().map(|new| subscription_key(tenant, new.id()));
        let references = batch.iter().filter_map(NewSubscription::reference_id);
        let keys = subscriptions.chain(references.map(|reference| reference_key(tenant, reference)));
        let (mut stored, there) = self.dated_subscription_items(keys.collect()).await?;
        let now = there.map_or(now, |there| there.max(now));

        let mut outcomes = Vec::new();
        let mut writes = Vec::new();
        for new in batch {
            let present = stored.remove(&subscription_key(tenant, new.id())).map(read_present);
            let pointer = new.reference_id().map(|reference| reference_key(tenant, reference));
            let pointer = pointer.and_then(|key| stored.remove(&key)).map(read_pointer).transpose();
            let Ok(reference_is_of) = pointer else {
                outcomes.push(Imported::Unreadable);
                continue;
            };
            let decision = decide_import(new, present.as_ref(), reference_is_of, rules, now);
            let written = match &decision {
                ImportDecision::Add => self.addition(tenant, new),
                ImportDecision::Replace(replacement) => self.replacement(tenant, new, replacement),
                _ => Ok(Vec::new()),
            };
            // Nothing was asked of the database for it, so it is the subscription that is at fault, and none but it.
            let Ok(written) = written else {
                outcomes.push(Imported::Refused);
                continue;
            };
            writes.extend(written);
            outcomes.push(match decision {
                ImportDecision::Add => Imported::Added,
                ImportDecision::Replace(replacement) if replacement.undoes_cancellation => Imported::Undone,
                ImportDecision::Replace(_) => Imported::Replaced,
                ImportDecision::Unreadable => Imported::Unreadable,
                ImportDecision::Unchanged => Imported::Unchanged,
                ImportDecision::Keep => Imported::Kept,
                ImportDecision::ReferenceTaken => Imported::ReferenceTaken,
                ImportDecision::Overdue => Imported::Overdue,
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
                if codes.iter().any(|code| code == "ValidationError") {
                    return Ok(Err(NotWritten::Invalid));
                }
                match failed_conditions(cancelled) {
                    Ok(_) => Ok(Err(NotWritten::Changed)),
                    Err(StoreError::Conflict) => Ok(Err(NotWritten::Conflict)),
                    Err(other) => Err(other),
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
            ("document".to_owned(), document_attribute(new.document())?),
            ("version".to_owned(), number(1)),
            ("writeId".to_owned(), attribute(new.write_id())?),
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
        replacement: &Replacement,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let Replacement { decided_from, version, document, freed, keeps_cancellation, .. } = replacement;
        let mut expression = "SET document = :document, version = :version, writeId = :writeId".to_owned();
        let mut values = HashMap::from([
            (":document".to_owned(), document_attribute(document)?),
            (":version".to_owned(), number(version)),
            (":writeId".to_owned(), attribute(new.write_id())?),
        ]);
        let condition = match decided_from {
            Some(version) => {
                values.insert(":decidedFrom".to_owned(), stored_attribute(version));
                "version = :decidedFrom"
            }
            None => "attribute_exists(pk) AND attribute_not_exists(version)",
        };
        match new.cancellation() {
            _ if *keeps_cancellation => {}
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
            .condition_expression(condition)
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
