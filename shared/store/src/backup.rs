//! Backup: everything that a tenant has, as it is stored. Nothing is read into values and written anew, so what another system or a
//! later version has added is kept.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure as OnFailure;
use chrono::{DateTime, Utc};
use domain::identifiers::TenantId;
use domain::tenant::{Pause, PauseReason, Tenant};
use dynamodb::{Item, refusal};
use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;

use super::items::{pause_attributes, read_tenant, stored_reason, text};
use super::layout::{DUE_AT, PAUSED_AT, PAUSED_BY, PAUSED_FOR, PK, RESTORING, tenant_key, tenant_prefix};
use super::{Admin, NextPage, StoreError};

/// The parts of a backup, in the order in which they are restored. The history comes before the subscriptions, so that their
/// addition does not begin it anew. API keys come last: until then, no caller finds a tenant that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupPart {
    /// The tenant: its name, its time zone, and its pause.
    Tenant,
    /// The webhooks, with their secrets.
    Webhooks,
    /// The entries of the history.
    History,
    /// The answers that are recorded under idempotency keys.
    IdempotencyRecords,
    /// The subscriptions with their cancellations, and the pointers from reference ids.
    Subscriptions,
    /// The API keys: hashes of their tokens.
    ApiKeys,
}

/// Shows a part as it is written in a backup.
impl fmt::Display for BackupPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

impl BackupPart {
    /// All parts, in the order in which they are restored.
    pub const ALL: [Self; 6] = [
        Self::Tenant,
        Self::Webhooks,
        Self::History,
        Self::IdempotencyRecords,
        Self::Subscriptions,
        Self::ApiKeys,
    ];

    /// The parts in the order in which they are saved. An answer is saved before the change that it tells of, so that no saved answer
    /// tells of a change that is missing; and a change before its entry in the history.
    pub const AS_SAVED: [Self; 6] = [
        Self::Tenant,
        Self::IdempotencyRecords,
        Self::Subscriptions,
        Self::History,
        Self::Webhooks,
        Self::ApiKeys,
    ];
}

/// An item of a backup, in the JSON of DynamoDB.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackupItem(HashMap<String, AttributeValue>);

impl BackupItem {
    /// Returns the key of the item; empty if it has none.
    #[must_use]
    pub fn key(&self) -> &str {
        match self.0.get(PK) {
            Some(AttributeValue::S(key)) => key,
            _ => "",
        }
    }

    /// Returns true if the item belongs to this part of the tenant.
    #[must_use]
    pub fn belongs_to(&self, part: BackupPart, tenant: &TenantId) -> bool {
        match part {
            BackupPart::Tenant | BackupPart::Webhooks => self.key() == tenant_key(tenant),
            _ => self.key().starts_with(&tenant_prefix(tenant)),
        }
    }

    /// Returns true if the item is a subscription with a pending cancellation that is due by this time.
    #[must_use]
    pub fn is_due(&self, by: DateTime<Utc>) -> bool {
        matches!(self.0.get(DUE_AT), Some(AttributeValue::S(at)) if at.parse().is_ok_and(|at: DateTime<Utc>| at <= by))
    }

    fn is_pause(name: &str) -> bool {
        [PAUSED_AT, PAUSED_BY, PAUSED_FOR, RESTORING].contains(&name)
    }

    /// Returns true if both are the same but for a pause.
    fn is_but_for_a_pause(&self, other: &Self) -> bool {
        let rest = |item: &Self| {
            let rest = item.0.clone().into_iter().filter(|(name, _)| !Self::is_pause(name));
            rest.collect::<HashMap<_, _>>()
        };
        rest(self) == rest(other)
    }

    fn into_item(self) -> Item {
        serde_dynamo::Item::from(self.0).into()
    }
}

impl From<Item> for BackupItem {
    fn from(item: Item) -> Self {
        Self(serde_dynamo::Item::from(item).into_inner())
    }
}

/// Some items of a backup.
pub struct BackupPage {
    /// The items.
    pub items: Vec<BackupItem>,
    /// The beginning of the next page, if there is one.
    pub next: Option<NextPage>,
}

/// Outcome of restoring an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The item was added.
    Added,
    /// The same item was there.
    Present,
    /// Another item with this key was there, and stays.
    Other,
}

/// Outcome of restoring a tenant, without what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoredTenant {
    /// The tenant was added, and its cancellations are paused for the restore.
    Added,
    /// An earlier restore of this backup was interrupted.
    Begun,
    /// A tenant with this id is there, and is not being restored from this backup.
    Other,
}

impl Admin {
    /// Reads a page of a part of a backup, in no particular order.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn backup_page(
        &self,
        part: BackupPart,
        tenant: &TenantId,
        page: Option<NextPage>,
    ) -> Result<BackupPage, StoreError> {
        let (filter, value) = match part {
            BackupPart::Tenant | BackupPart::Webhooks => (format!("{PK} = :tenant"), tenant_key(tenant)),
            _ => (format!("begins_with({PK}, :tenant)"), tenant_prefix(tenant)),
        };
        let request = self.client.scan().table_name(self.table_of(part)).consistent_read(true);
        let request = request.filter_expression(filter).expression_attribute_values(":tenant", text(value));
        let request = request.set_exclusive_start_key(page.map(|NextPage(key)| key));
        let output = request.send().await.map_err(StoreError::from_sdk)?;
        Ok(BackupPage {
            items: output.items.unwrap_or_default().into_iter().map(BackupItem::from).collect(),
            next: output.last_evaluated_key.map(NextPage),
        })
    }

    /// Reads the tenant of a backup.
    ///
    /// # Errors
    /// The item is malformed.
    pub fn tenant_in(&self, tenant: &TenantId, item: &BackupItem) -> Result<Tenant, StoreError> {
        read_tenant(tenant.clone(), item.clone().into_item())
    }

    /// Adds the tenant of a backup, with this pause, which is that of the restore.
    ///
    /// # Errors
    /// The database can't be reached, or refuses; or the item is malformed.
    pub async fn restore_tenant(
        &self,
        item: BackupItem,
        backup: DateTime<Utc>,
        pause: &Pause,
    ) -> Result<RestoredTenant, StoreError> {
        let mut whole = item.clone();
        whole.0.retain(|name, _| !BackupItem::is_pause(name));
        let mut whole = whole.into_item();
        whole.extend(pause_attributes(pause));
        let restoring = stored_reason(PauseReason::Restoring(backup));
        whole.extend(restoring.clone().map(|restoring| (RESTORING.to_owned(), restoring)));
        match self.add(BackupPart::Tenant, whole).await? {
            None => Ok(RestoredTenant::Added),
            Some(there) => {
                let is_begun = there.get(RESTORING) == restoring.as_ref();
                let is_it = is_begun && BackupItem::from(there).is_but_for_a_pause(&item);
                Ok(if is_it { RestoredTenant::Begun } else { RestoredTenant::Other })
            }
        }
    }

    /// Ends a restore: puts the pause that the tenant is to have in place of that of the restore; `None` ends it. Returns false if an
    /// operator has paused the tenant meanwhile: that pause stays.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn end_restore(
        &self,
        tenant: &TenantId,
        backup: DateTime<Utc>,
        pause: Option<&Pause>,
    ) -> Result<bool, StoreError> {
        let sets: Vec<_> = pause.map(pause_attributes).into_iter().flatten().collect();
        let set = sets.iter().map(|(name, _)| format!("{name} = :{name}")).collect::<Vec<_>>().join(", ");
        let gone = [PAUSED_AT, PAUSED_BY, PAUSED_FOR, RESTORING].into_iter();
        let gone =
            gone.filter(|name| !sets.iter().any(|(set, _)| set == name)).collect::<Vec<_>>().join(", ");
        let clause =
            |word: &str, parts: String| if parts.is_empty() { parts } else { format!("{word} {parts} ") };
        let mut request = self
            .client
            .update_item()
            .table_name(&self.tables.tenants)
            .key(PK, text(tenant_key(tenant)))
            .update_expression(clause("SET", set) + &clause("REMOVE", gone))
            .condition_expression(format!("{PAUSED_FOR} = :restoring"))
            .set_expression_attribute_values(
                stored_reason(PauseReason::Restoring(backup))
                    .map(|reason| Item::from([(":restoring".to_owned(), reason)])),
            );
        for (name, value) in sets {
            request = request.expression_attribute_values(format!(":{name}"), value);
        }
        match request.send().await {
            Ok(_) => return Ok(true),
            Err(error) => match refusal(error)? {
                UpdateItemError::ConditionalCheckFailedException(_) => {}
                other => return Err(StoreError::from_refusal(&other)),
            },
        }
        let request = self.client.update_item().table_name(&self.tables.tenants);
        let request =
            request.key(PK, text(tenant_key(tenant))).update_expression(format!("REMOVE {RESTORING}"));
        request
            .condition_expression(format!("attribute_exists({PK})"))
            .send()
            .await
            .map_err(StoreError::from_sdk)?;
        Ok(false)
    }

    /// Adds an item of a backup, unless its key is taken.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn restore_item(&self, part: BackupPart, item: &BackupItem) -> Result<Restored, StoreError> {
        Ok(match self.add(part, item.clone().into_item()).await? {
            None => Restored::Added,
            Some(there) if BackupItem::from(there.clone()) == *item => Restored::Present,
            Some(_) => Restored::Other,
        })
    }

    /// Adds an item. Returns the one that is there, if its key is taken. Repeating this is harmless: it finds its own item.
    async fn add(&self, part: BackupPart, item: Item) -> Result<Option<Item>, StoreError> {
        let request = self.client.put_item().table_name(self.table_of(part)).set_item(Some(item));
        let request = request.condition_expression(format!("attribute_not_exists({PK})"));
        match request.return_values_on_condition_check_failure(OnFailure::AllOld).send().await {
            Ok(_) => Ok(None),
            Err(error) => match refusal(error)? {
                PutItemError::ConditionalCheckFailedException(failed) => {
                    Ok(Some(failed.item.unwrap_or_default()))
                }
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    fn table_of(&self, part: BackupPart) -> &str {
        let tables = &self.tables;
        match part {
            BackupPart::Tenant | BackupPart::ApiKeys => &tables.tenants,
            BackupPart::Webhooks => &tables.webhooks,
            BackupPart::History => &tables.history,
            BackupPart::IdempotencyRecords => &tables.idempotency,
            BackupPart::Subscriptions => &tables.subscriptions,
        }
    }
}
