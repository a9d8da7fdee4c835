//! Importing subscriptions: many are written with one transaction.
//!
//! The stored items are read first, and every write is conditional on them. If a caller cancels in between, the import finds the
//! new state, and decides again.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    Delete, Put, ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem,
};
use chrono::{DateTime, Utc};
use domain::identifiers::{ReferenceId, SubscriptionId, TenantId};
use domain::import::{ImportWrite, NewSubscription, Present};
use dynamodb::{Item, Transaction, Written, defect};

use super::items::{pointer_item, read_pointer, read_present, text};
use super::layout::{PK, SUBSCRIPTION_ID, reference_key, subscription_key};
use super::update::ItemUpdate;
use super::{Admin, StoreError};

/// Most subscriptions that are written together. Each takes up to three writes (itself, its reference id, and the reference id that
/// it no longer has), and a transaction has at most 100.
pub const TOGETHER: usize = 33;

/// The items under the ids and reference ids of subscriptions that are imported.
pub struct Presents {
    items: HashMap<String, Item>,
    tenant: TenantId,
    /// The time of the read by the database's clock, if the database reports it.
    pub time: Option<DateTime<Utc>>,
}

impl Presents {
    /// Takes out the item under an id.
    #[must_use]
    pub fn subscription(&mut self, id: SubscriptionId) -> Option<Present> {
        self.items.remove(&subscription_key(&self.tenant, id)).map(read_present)
    }

    /// Takes out the id of the subscription that a reference id names.
    ///
    /// # Errors
    /// The item under it can't be read.
    pub fn named(&mut self, reference: &ReferenceId) -> Result<Option<SubscriptionId>, StoreError> {
        self.items.remove(&reference_key(&self.tenant, reference)).map(read_pointer).transpose()
    }
}

/// The writes of one import, ready for a transaction.
pub struct PreparedImport(Vec<TransactWriteItem>);

/// The outcome of a transaction of imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportsWritten {
    /// All were written.
    All,
    /// Nothing was written: something has changed since it was read, or their order matters.
    Changed,
    /// Nothing was written: another write was under way.
    Conflict,
    /// Nothing was written: the database refuses the writes as invalid.
    Invalid,
}

impl Admin {
    /// Reads the items under the ids and reference ids of up to [`TOGETHER`] subscriptions of `tenant`.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn presents(
        &self,
        tenant: &TenantId,
        batch: &[NewSubscription],
    ) -> Result<Presents, StoreError> {
        let subscriptions = batch.iter().map(|new| subscription_key(tenant, new.id()));
        let references = batch.iter().filter_map(NewSubscription::reference_id);
        let keys = subscriptions.chain(references.map(|reference| reference_key(tenant, reference)));
        let (items, time) = self.dated_subscription_items(keys.collect()).await?;
        Ok(Presents { items, tenant: tenant.clone(), time })
    }

    /// Prepares the writes of one import: the subscription, the reference id that names it, and the reference id that it no longer
    /// has.
    ///
    /// # Errors
    /// The subscription can't be stored.
    pub fn prepare_import(
        &self,
        tenant: &TenantId,
        id: SubscriptionId,
        write: &ImportWrite,
    ) -> Result<PreparedImport, StoreError> {
        let ImportWrite { change, named, freed, effect: _ } = write;
        let update = ItemUpdate::new(tenant, id, change)?;
        let mut writes = vec![update.in_transaction(&self.tables.subscriptions, OnFailure::None)?];
        if let Some(reference) = named {
            let put = Put::builder()
                .table_name(&self.tables.subscriptions)
                .set_item(Some(pointer_item(tenant, reference, id)))
                .condition_expression(free_or_ours())
                .expression_attribute_values(":id", text(id))
                .build()
                .map_err(defect)?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        if let Some(freed) = freed {
            let delete = Delete::builder()
                .table_name(&self.tables.subscriptions)
                .key(PK, text(reference_key(tenant, freed)))
                .condition_expression(free_or_ours())
                .expression_attribute_values(":id", text(id))
                .build()
                .map_err(defect)?;
            writes.push(TransactWriteItem::builder().delete(delete).build());
        }
        Ok(PreparedImport(writes))
    }

    /// Writes prepared imports, all or none.
    ///
    /// # Errors
    /// The database can't be reached, or refuses. The imports may have been written or not.
    pub async fn write_imports(&self, imports: Vec<PreparedImport>) -> Result<ImportsWritten, StoreError> {
        let writes: Vec<_> = imports.into_iter().flat_map(|PreparedImport(writes)| writes).collect();
        if writes.is_empty() {
            return Ok(ImportsWritten::All);
        }
        match Transaction::new(writes).try_write(&self.client).await {
            Ok(Written::All) => Ok(ImportsWritten::All),
            Ok(Written::Refused(_)) => Ok(ImportsWritten::Changed),
            Ok(Written::Invalid) => Ok(ImportsWritten::Invalid),
            Err(StoreError::Conflict) => Ok(ImportsWritten::Conflict),
            Err(other) => Err(other),
        }
    }
}

/// Returns the condition that a reference id names no subscription, or the imported one.
fn free_or_ours() -> String {
    format!("attribute_not_exists({PK}) OR {SUBSCRIPTION_ID} = :id")
}
