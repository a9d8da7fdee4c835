//! Putting tenants, API keys and subscriptions into the database: what an operator does before a
//! caller can do anything.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use chrono::{DateTime, Datelike, Utc};
use serde_json::{Map, Value};

use super::commit::failed_conditions;
use super::items::{
    Item, api_key_item, attribute, number, pending_attributes, pointer_item, subscription_key, tenant_item,
    text,
};
use super::{Store, StoreError, refusal};
use crate::api_key::{ApiKey, Tenant};
use crate::calendar::Calendar;
use crate::cancellation::Cancellation;
use crate::identifiers::{CancellationId, KeyId, TenantId};
use crate::subscription::{Status, Subscription};

/// A subscription from outside, checked.
#[derive(Clone)]
pub struct NewSubscription {
    subscription: Subscription,
    /// The document as it came: also what this service doesn't know is kept.
    document: Map<String, Value>,
    cancellation: Option<Cancellation>,
}

/// Why a document is no subscription that could be imported. It names the place, not the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSubscription(String);

/// What came of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It was written.
    Written,
    /// There is one with its id; that one was left as it is.
    Existed,
    /// Its reference id belongs to another subscription; nothing was written.
    ReferenceTaken,
}

impl NewSubscription {
    /// Checks a document in the wire shape. If a cancellation is pending in it, that cancellation will
    /// take effect like any other, at the beginning of its date in the tenant's `calendar`.
    ///
    /// # Errors
    /// A field that this service knows is missing, of another type, or contradicts another.
    pub fn from_json(
        document: Value,
        calendar: &Calendar,
        now: DateTime<Utc>,
    ) -> Result<Self, InvalidSubscription> {
        let invalid = |message: &str| InvalidSubscription(message.to_owned());
        let subscription: Subscription = serde_path_to_error::deserialize(&document)
            .map_err(|error| InvalidSubscription(fault(&error)))?;
        let Value::Object(mut document) = document else {
            return Err(invalid("must be an object"));
        };
        // One spelling in keys and documents: an id in upper case is the same id.
        document.insert("subscriptionId".to_owned(), Value::from(subscription.subscription_id.to_string()));

        let pending =
            subscription.pending_status.as_ref().filter(|pending| pending.status == Status::Cancelled);
        let cancellation = match pending {
            None => None,
            Some(_) if subscription.status == Status::Cancelled => {
                return Err(invalid(
                    "pendingStatus: a subscription that is CANCELLED has no cancellation to come",
                ));
            }
            Some(pending) if !(1970..=9999).contains(&pending.scheduled_at.year()) => {
                return Err(invalid("pendingStatus: scheduledAt must lie in the years 1970 to 9999"));
            }
            Some(pending) => {
                let effective = calendar.beginning_of(pending.scheduled_at);
                let skipped = || invalid("pendingStatus: the tenant's time zone has no such date");
                Some(Cancellation {
                    cancellation_id: CancellationId::random(),
                    effective_at: effective.ok_or_else(skipped)?.instant(),
                    reason: None,
                    comment: None,
                    metadata: None,
                    requested_at: now,
                    requested_by: None,
                })
            }
        };
        Ok(Self { subscription, document, cancellation })
    }

    /// The subscription that was checked.
    #[must_use]
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    fn item(&self, tenant: &TenantId) -> Result<Item, StoreError> {
        let id = self.subscription.subscription_id;
        let mut item = HashMap::from([
            ("pk".to_owned(), text(subscription_key(tenant, id))),
            ("document".to_owned(), attribute(&self.document)?),
            ("version".to_owned(), number(1)),
        ]);
        if let Some(cancellation) = &self.cancellation {
            let pending = pending_attributes(id, cancellation)?;
            item.extend(pending.map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(item)
    }
}

/// Where serde found something wrong, and what it expected there; not what it found, which may be personal.
fn fault(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    let expected = text.split_once(", expected ").map(|(_, expected)| format!("expected {expected}"));
    let place = error.path().to_string();
    match (place.as_str(), expected.unwrap_or(text)) {
        (".", what) => what,
        (place, what) => format!("{place}: {what}"),
    }
}

impl Store {
    /// Writes a tenant, in place of the one with its id.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn put_tenant(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let item = tenant_item(tenant);
        let request = self.client.put_item().table_name(&self.tables.tenants).set_item(Some(item));
        request.send().await.map_err(StoreError::from_sdk)?;
        Ok(())
    }

    /// Writes a tenant that isn't there yet; whether it was not.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn add_tenant(&self, tenant: &Tenant) -> Result<bool, StoreError> {
        self.add_to_tenants(tenant_item(tenant)).await
    }

    /// Writes an API key that isn't there yet; one that is stays as it is, revoked or not.
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

    /// Writes an item that isn't there yet; whether it was not.
    async fn add_to_tenants(&self, item: Item) -> Result<bool, StoreError> {
        let request = self.client.put_item().table_name(&self.tables.tenants).set_item(Some(item));
        match request.condition_expression("attribute_not_exists(pk)").send().await {
            Ok(_) => Ok(true),
            Err(error) => match refusal(error)? {
                PutItemError::ConditionalCheckFailedException(_) => Ok(false),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Writes a subscription that isn't there yet, and the pointer of its reference id.
    ///
    /// # Errors
    /// The database can't be reached, or refuses the document (a number it can't hold, say).
    pub async fn import_subscription(
        &self,
        tenant: &TenantId,
        new: &NewSubscription,
    ) -> Result<Imported, StoreError> {
        let put = |item, condition: &str, values: HashMap<String, AttributeValue>| {
            Put::builder()
                .table_name(&self.tables.subscriptions)
                .set_item(Some(item))
                .condition_expression(condition)
                .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
                .build()
                .map(|put| TransactWriteItem::builder().put(put).build())
                .map_err(|error| StoreError::Defect(error.to_string()))
        };
        let mut writes = vec![put(new.item(tenant)?, "attribute_not_exists(pk)", HashMap::new())?];
        if let Some(reference) = &new.subscription.reference_id {
            let id = new.subscription.subscription_id;
            let free_or_ours = "attribute_not_exists(pk) OR subscriptionId = :id";
            let values = HashMap::from([(":id".to_owned(), text(id))]);
            writes.push(put(pointer_item(tenant, reference, id), free_or_ours, values)?);
        }
        let result = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        match result {
            Ok(_) => Ok(Imported::Written),
            Err(error) => match refusal(error)? {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    let existed = failed_conditions(cancelled)?.first().is_some_and(Option::is_some);
                    Ok(if existed { Imported::Existed } else { Imported::ReferenceTaken })
                }
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }
}
