//! Tenants and their API keys: an operator sets them up before a caller can do anything.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem, Update,
};
use chrono::{DateTime, Utc};
use domain::api_key::{ApiKey, Scope};
use domain::calendar::TimeZone;
use domain::identifiers::{KeyId, TenantId};
use domain::tenant::{Pause, PauseReason, Tenant};
use dynamodb::{Item, Patience, Transaction, Written, defect, invalid, refusal};

use super::items::{
    RESTORE, api_key_item, instant, key_of, pause_attributes, read_api_key, read_tenant, stored_reason,
    tenant_item, text,
};
use super::layout::{
    EXPIRES_AT, PAUSED_AT, PAUSED_BY, PAUSED_FOR, PK, RESTORING, REVOKED_AT, SCOPES, TIME_ZONE, api_key_key,
    tenant_key, tenant_prefix,
};
use super::scan::Page;
use super::{Admin, StoreError};

/// Outcome of revoking a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The key was revoked by this request.
    Now,
    /// The key had been revoked before, at this instant.
    Before(DateTime<Utc>),
    /// The tenant has no such key.
    NoKey,
}

/// Outcome of pausing a tenant's cancellations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paused {
    /// They are paused by this request.
    Now,
    /// They had been paused before, like this, and still are.
    Before(Pause),
    /// The tenant does not exist.
    NoTenant,
}

/// The end of a key that another key replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// The key stays valid until this instant.
    ValidUntil(DateTime<Utc>),
    /// The key is revoked, at this instant.
    Revoked(DateTime<Utc>),
}

impl Admin {
    /// Reads a tenant, as it is now.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, StoreError> {
        let request = self.client.get_item().table_name(&self.tables.tenants).key(PK, text(tenant_key(id)));
        let output = request.consistent_read(true).send().await.map_err(StoreError::from_sdk)?;
        output.item.map(|item| read_tenant(id.clone(), item)).transpose()
    }

    /// Reads all tenants, in the order of their ids, on one page.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn tenants(&self) -> Result<Page<Tenant>, StoreError> {
        let values = HashMap::from([(":separator".to_owned(), text("#"))]);
        let items = self.scan_tenants(&format!("NOT contains({PK}, :separator)"), values).await?;
        let mut page = items.read(|item| read_tenant(key_of(&item).parse().ok()?, item).ok());
        page.found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(page)
    }

    /// Writes a tenant, in place of the one with the same id.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn put_tenant(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let item = tenant_item(tenant);
        let request = self.client.put_item().table_name(&self.tables.tenants).set_item(Some(item));
        request.send().await.map_err(StoreError::from_sdk)?;
        Ok(())
    }

    /// Adds a tenant. Returns false if the tenant exists already; then nothing is written.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn add_tenant(&self, tenant: &Tenant) -> Result<bool, StoreError> {
        self.add_to_tenants(tenant_item(tenant)).await
    }

    /// Changes the time zone of a tenant. Returns false if the tenant does not exist. Pending cancellations keep their instants.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn set_time_zone(&self, tenant: &TenantId, time_zone: &TimeZone) -> Result<bool, StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.tables.tenants)
            .key(PK, text(tenant_key(tenant)))
            .update_expression(format!("SET #{TIME_ZONE} = :zone"))
            .condition_expression(format!("attribute_exists({PK})"))
            .expression_attribute_names(format!("#{TIME_ZONE}"), TIME_ZONE)
            .expression_attribute_values(":zone", text(time_zone.name()))
            .send()
            .await;
        match result {
            Ok(_) => Ok(true),
            Err(error) => match refusal(error)? {
                UpdateItemError::ConditionalCheckFailedException(_) => Ok(false),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Pauses the cancellations of a tenant: no sweep that reads the tenant from now on executes one. A pause that is there stays, but
    /// that of a restore is replaced: then the restore does not end it. A tenant that has moved stays so.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn pause(&self, tenant: &TenantId, pause: &Pause) -> Result<Paused, StoreError> {
        let sets: Vec<_> = pause_attributes(pause).into_iter().collect();
        let change = sets.iter().map(|(name, _)| format!("{name} = :{name}")).collect::<Vec<_>>().join(", ");
        let gone: Vec<_> = [PAUSED_BY, PAUSED_FOR]
            .into_iter()
            .filter(|name| !sets.iter().any(|(set, _)| set == name))
            .collect();
        let gone = if gone.is_empty() { String::new() } else { format!(" REMOVE {}", gone.join(", ")) };
        // For a tenant that has moved, the pause that is there is replaced, whatever it is.
        let may = match pause.reason {
            PauseReason::Moved => String::new(),
            _ => format!(" AND (attribute_not_exists({PAUSED_AT}) OR begins_with({PAUSED_FOR}, :restore))"),
        };
        let mut request = self
            .client
            .update_item()
            .table_name(&self.tables.tenants)
            .key(PK, text(tenant_key(tenant)))
            .update_expression(format!("SET {change}{gone}"))
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        if !may.is_empty() {
            request = request.expression_attribute_values(":restore", text(RESTORE));
        }
        for (name, value) in sets {
            request = request.expression_attribute_values(format!(":{name}"), value);
        }
        match request.condition_expression(format!("attribute_exists({PK}){may}")).send().await {
            Ok(_) => Ok(Paused::Now),
            Err(error) => match refusal(error)? {
                UpdateItemError::ConditionalCheckFailedException(failed) => {
                    let there = failed.item.map(|item| read_tenant(tenant.clone(), item)).transpose()?;
                    Ok(there.and_then(|tenant| tenant.paused).map_or(Paused::NoTenant, Paused::Before))
                }
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Ends this pause of a tenant's cancellations, if it is still that one: the next sweep executes those that are due. Returns false
    /// if there is another one, or none; or if the tenant is being restored.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn resume(&self, tenant: &TenantId, pause: &Pause) -> Result<bool, StoreError> {
        let same = match stored_reason(pause.reason) {
            Some(_) => format!("{PAUSED_FOR} = :reason"),
            None => format!("attribute_not_exists({PAUSED_FOR})"),
        };
        let request = self
            .client
            .update_item()
            .table_name(&self.tables.tenants)
            .key(PK, text(tenant_key(tenant)))
            .update_expression(format!("REMOVE {PAUSED_AT}, {PAUSED_BY}, {PAUSED_FOR}"))
            .condition_expression(format!(
                "{PAUSED_AT} = :at AND {same} AND attribute_not_exists({RESTORING})"
            ))
            .expression_attribute_values(":at", instant(pause.at));
        let request = match stored_reason(pause.reason) {
            Some(reason) => request.expression_attribute_values(":reason", reason),
            None => request,
        };
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match refusal(error)? {
                UpdateItemError::ConditionalCheckFailedException(_) => Ok(false),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Reads a tenant's API keys, the oldest first, on one page.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn api_keys(&self, tenant: &TenantId) -> Result<Page<(KeyId, ApiKey)>, StoreError> {
        let values = HashMap::from([(":tenant".to_owned(), text(tenant_prefix(tenant)))]);
        let items = self.scan_tenants(&format!("begins_with({PK}, :tenant)"), values).await?;
        let mut page = items.read(|item| {
            let (_, key_id) = key_of(&item).split_once('#')?;
            Some((key_id.parse().ok()?, read_api_key(item).ok()?))
        });
        page.found
            .sort_by(|(id, key), (other_id, other)| (key.created_at, id).cmp(&(other.created_at, other_id)));
        Ok(page)
    }

    /// Reads one of a tenant's API keys.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn api_key(&self, tenant: &TenantId, key_id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        let key = text(api_key_key(tenant, key_id));
        let request = self.client.get_item().table_name(&self.tables.tenants).key(PK, key);
        let output = request.consistent_read(true).send().await.map_err(StoreError::from_sdk)?;
        output.item.map(read_api_key).transpose()
    }

    /// Adds an API key. A key that exists already stays as it is, revoked or not.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn add_api_key(
        &self,
        tenant: &TenantId,
        key_id: &KeyId,
        key: &ApiKey,
    ) -> Result<(), StoreError> {
        self.add_to_tenants(api_key_item(tenant, key_id, key)?).await?;
        Ok(())
    }

    /// Adds an API key that replaces `former`, and sets the end of `former`: both or neither. Returns false if `former` does not
    /// exist, is revoked, or expires before that end; then nothing is written.
    ///
    /// # Errors
    /// The database can't be reached or refuses, or others are writing the keys.
    pub async fn rotate_api_key(
        &self,
        tenant: &TenantId,
        former: &KeyId,
        becomes: Former,
        successor: (&KeyId, &ApiKey),
    ) -> Result<bool, StoreError> {
        let put = Put::builder()
            .table_name(&self.tables.tenants)
            .set_item(Some(api_key_item(tenant, successor.0, successor.1)?))
            .condition_expression(format!("attribute_not_exists({PK})"))
            .build()
            .map_err(defect)?;
        let (change, at) = match becomes {
            Former::ValidUntil(until) => (format!("SET {EXPIRES_AT} = :at"), until),
            Former::Revoked(now) => (format!("SET {REVOKED_AT} = :at"), now),
        };
        let update = Update::builder()
            .table_name(&self.tables.tenants)
            .key(PK, text(api_key_key(tenant, former)))
            .update_expression(change)
            .condition_expression(format!(
                "attribute_exists({PK}) AND attribute_not_exists({REVOKED_AT}) \
                 AND (attribute_not_exists({EXPIRES_AT}) OR {EXPIRES_AT} >= :at)"
            ))
            .expression_attribute_values(":at", instant(at))
            .build()
            .map_err(defect)?;
        let put = TransactWriteItem::builder().put(put).build();
        let update = TransactWriteItem::builder().update(update).build();
        self.write_tenants(vec![put, update]).await
    }

    /// Adds a scope to an API key. A key that has it already stays as it is.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn add_scope(&self, tenant: &TenantId, key_id: &KeyId, scope: Scope) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.tables.tenants)
            .key(PK, text(api_key_key(tenant, key_id)))
            .update_expression(format!("SET {SCOPES} = list_append({SCOPES}, :scopes)"))
            .condition_expression(format!("attribute_exists({SCOPES}) AND NOT contains({SCOPES}, :scope)"))
            .expression_attribute_values(":scopes", AttributeValue::L(vec![text(scope.to_string())]))
            .expression_attribute_values(":scope", text(scope.to_string()))
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(error) => match refusal(error)? {
                UpdateItemError::ConditionalCheckFailedException(_) => Ok(()),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Revokes an API key: it is invalid from the next request on.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn revoke_api_key(
        &self,
        tenant: &TenantId,
        key_id: &KeyId,
        now: DateTime<Utc>,
    ) -> Result<Revoked, StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.tables.tenants)
            .key(PK, text(api_key_key(tenant, key_id)))
            .update_expression(format!("SET {REVOKED_AT} = :now"))
            .condition_expression(format!("attribute_exists({PK}) AND attribute_not_exists({REVOKED_AT})"))
            .expression_attribute_values(":now", instant(now))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .send()
            .await;
        match result {
            Ok(_) => Ok(Revoked::Now),
            Err(error) => match refusal(error)? {
                UpdateItemError::ConditionalCheckFailedException(failed) => {
                    let revoked_at =
                        failed.item.map(read_api_key).transpose()?.and_then(|key| key.revoked_at);
                    Ok(revoked_at.map_or(Revoked::NoKey, Revoked::Before))
                }
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Adds an item. Returns false if the item exists already; then nothing is written.
    ///
    /// The write is a transaction, because DynamoDB recognises a transaction that is sent again after its acknowledgement was lost.
    /// A plain write would find its own item, and take it for another writer's.
    async fn add_to_tenants(&self, item: Item) -> Result<bool, StoreError> {
        let put = Put::builder()
            .table_name(&self.tables.tenants)
            .set_item(Some(item))
            .condition_expression(format!("attribute_not_exists({PK})"))
            .build()
            .map_err(defect)?;
        self.write_tenants(vec![TransactWriteItem::builder().put(put).build()]).await
    }

    /// Writes all or nothing. Returns false if a condition failed.
    async fn write_tenants(&self, writes: Vec<TransactWriteItem>) -> Result<bool, StoreError> {
        match Transaction::new(writes).write(&self.client, Patience::OfRequest).await? {
            Written::All => Ok(true),
            Written::Refused(_) => Ok(false),
            Written::Invalid => Err(invalid()),
        }
    }

    /// Reads all items of one kind from the table of tenants. The table is small: a few items for each tenant.
    async fn scan_tenants(
        &self,
        filter: &str,
        values: HashMap<String, AttributeValue>,
    ) -> Result<Page<Item>, StoreError> {
        let request = self.client.scan().table_name(&self.tables.tenants).consistent_read(true);
        let request = request.filter_expression(filter).set_expression_attribute_values(Some(values));
        let items = request.into_paginator().items().send().collect::<Result<_, _>>().await;
        Ok(Page { found: items.map_err(StoreError::from_sdk)?, unreadable: Vec::new(), next: None })
    }
}
