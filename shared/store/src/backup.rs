//! Backup: everything that a tenant has, as it is stored. Nothing is read into values and written anew, so what another system or a
//! later version has added is kept.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure as OnFailure;
use domain::identifiers::TenantId;
use domain::tenant::{Pause, Tenant};
use dynamodb::{Item, refusal};
use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;

use super::items::{read_tenant, tenant_item, text};
use super::layout::{PAUSED_AT, PAUSED_BY, PK, tenant_key, tenant_prefix};
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

    fn is_pause(name: &str) -> bool {
        [PAUSED_AT, PAUSED_BY].contains(&name)
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
    /// The tenant was added, and its cancellations are paused.
    Added,
    /// The same tenant was there, with its cancellations paused: an earlier restore was interrupted.
    Paused,
    /// A tenant with this id is there, and was not added by an interrupted restore.
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

    /// Adds the tenant of a backup, paused: by the pause of the backup if there is one, or by `pause`.
    ///
    /// # Errors
    /// The database can't be reached, or refuses; or the item is malformed.
    pub async fn restore_tenant(
        &self,
        tenant: &TenantId,
        item: BackupItem,
        pause: Pause,
    ) -> Result<RestoredTenant, StoreError> {
        let saved = self.tenant_in(tenant, &item)?;
        let paused = tenant_item(&Tenant { paused: saved.paused.or(Some(pause)), ..saved });
        let mut whole = item.clone().into_item();
        whole.extend(paused);
        match self.add(BackupPart::Tenant, whole).await? {
            None => Ok(RestoredTenant::Added),
            Some(there) => {
                let is_paused = there.contains_key(PAUSED_AT);
                let is_it = is_paused && BackupItem::from(there).is_but_for_a_pause(&item);
                Ok(if is_it { RestoredTenant::Paused } else { RestoredTenant::Other })
            }
        }
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
