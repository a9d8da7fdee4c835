//! The webhooks of the tenants, with their secrets. They have a table of their own, which no function but the one that delivers
//! events may read.

use std::fmt::Display;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use chrono::{DateTime, Utc};
use domain::identifiers::{TenantId, WebhookId};
use domain::webhook::{Addresses, Disabled, DisabledBy, FormerSecret, Secret, Webhook};
use dynamodb::{Item, Patience, Transaction, Written, defect, invalid, refusal};
use serde::{Deserialize, Serialize};
use serde_dynamo::from_item;
use serde_with::skip_serializing_none;

use super::items::{attribute_map, instant, text};
use super::layout::{
    DISABLED_AT, DISABLED_BY, FORMER_SECRET, FORMER_UNTIL, PK, SECRET, WEBHOOK_ID, tenant_key,
};
use super::scan::Page;
use super::{Admin, Store, StoreError};

impl Store {
    /// Reads the webhooks of a tenant, on one page.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn webhooks(&self, tenant: &TenantId) -> Result<Page<Webhook>, StoreError> {
        let query = self.client.query().table_name(&self.tables.webhooks).consistent_read(true);
        let query = query
            .key_condition_expression(format!("{PK} = :{PK}"))
            .expression_attribute_values(format!(":{PK}"), text(tenant_key(tenant)));
        let items = query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        let mut page = Page { found: Vec::new(), unreadable: Vec::new(), next: None };
        for item in items.map_err(StoreError::from_sdk)? {
            let name = name_of(tenant, &item);
            match read_webhook(item) {
                Some(webhook) => page.found.push(webhook),
                None => page.unreadable.push(name),
            }
        }
        Ok(page)
    }

    /// Reads a webhook, as it is now.
    ///
    /// # Errors
    /// The database can't be reached, or refuses; or the webhook is malformed.
    pub async fn webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        let request = self.client.get_item().table_name(&self.tables.webhooks).consistent_read(true);
        let request = request.key(PK, text(tenant_key(tenant))).key(WEBHOOK_ID, text(id));
        let item = request.send().await.map_err(StoreError::from_sdk)?.item;
        let read = |item| read_webhook(item).ok_or_else(|| malformed(tenant, id));
        item.map(read).transpose()
    }

    /// Disables a webhook, unless it is disabled already. Returns false if it is, or does not exist.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn disable_webhook(
        &self,
        tenant: &TenantId,
        id: WebhookId,
        disabled: Disabled,
    ) -> Result<bool, StoreError> {
        let Disabled { by, at } = disabled;
        let by = match by {
            DisabledBy::Operator => "OPERATOR",
            DisabledBy::Gone => "GONE",
        };
        let request = self
            .update_webhook(tenant, id)
            .update_expression(format!("SET {DISABLED_AT} = :at, {DISABLED_BY} = :by"))
            .condition_expression(format!("attribute_exists({PK}) AND attribute_not_exists({DISABLED_AT})"))
            .expression_attribute_values(":at", instant(at))
            .expression_attribute_values(":by", text(by));
        send(request).await
    }

    fn update_webhook(&self, tenant: &TenantId, id: WebhookId) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.tables.webhooks);
        request.key(PK, text(tenant_key(tenant))).key(WEBHOOK_ID, text(id))
    }
}

/// Sends an update. Returns false if its condition failed.
async fn send(request: UpdateItemFluentBuilder) -> Result<bool, StoreError> {
    match request.send().await {
        Ok(_) => Ok(true),
        Err(error) => match refusal(error)? {
            UpdateItemError::ConditionalCheckFailedException(_) => Ok(false),
            other => Err(StoreError::from_refusal(&other)),
        },
    }
}

impl Admin {
    /// Adds a webhook. Returns false if there is one with its id.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn add_webhook(&self, tenant: &TenantId, webhook: &Webhook) -> Result<bool, StoreError> {
        // A transaction, for the same reason as for API keys: DynamoDB recognises one that is sent again.
        let put = Put::builder()
            .table_name(&self.tables.webhooks)
            .set_item(Some(webhook_item(tenant, webhook)?))
            .condition_expression(format!("attribute_not_exists({PK})"))
            .build()
            .map_err(defect)?;
        let writes = vec![TransactWriteItem::builder().put(put).build()];
        match Transaction::new(writes).write(&self.client, Patience::OfRequest).await? {
            Written::All => Ok(true),
            Written::Refused(_) => Ok(false),
            Written::Invalid => Err(invalid()),
        }
    }

    /// Enables a webhook. Returns false if it does not exist.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn enable_webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<bool, StoreError> {
        let request = self
            .update_webhook(tenant, id)
            .update_expression(format!("REMOVE {DISABLED_AT}, {DISABLED_BY}"))
            .condition_expression(format!("attribute_exists({PK})"));
        send(request).await
    }

    /// Replaces the secret `former` of a webhook, which signs beside `secret` until then. Returns false if the webhook has another
    /// secret by now.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn rotate_webhook_secret(
        &self,
        tenant: &TenantId,
        id: WebhookId,
        former: &FormerSecret,
        secret: &Secret,
    ) -> Result<bool, StoreError> {
        let request = self
            .update_webhook(tenant, id)
            .update_expression(format!(
                "SET {SECRET} = :secret, {FORMER_SECRET} = :former, {FORMER_UNTIL} = :until"
            ))
            .condition_expression(format!("{SECRET} = :former"))
            .expression_attribute_values(":secret", text(secret.reveal()))
            .expression_attribute_values(":former", text(former.secret.reveal()))
            .expression_attribute_values(":until", instant(former.until));
        send(request).await
    }

    /// Removes a webhook, with its secrets. Returns false if it does not exist.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn remove_webhook(&self, tenant: &TenantId, id: WebhookId) -> Result<bool, StoreError> {
        let request = self.client.delete_item().table_name(&self.tables.webhooks);
        let request = request.key(PK, text(tenant_key(tenant))).key(WEBHOOK_ID, text(id));
        let removed = request.return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld).send().await;
        Ok(removed.map_err(StoreError::from_sdk)?.attributes.is_some())
    }
}

/// An item of the table of webhooks.
#[skip_serializing_none]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookItem {
    pk: String,
    webhook_id: WebhookId,
    url: String,
    #[serde(default)]
    events: Vec<String>,
    addresses: Addresses,
    secret: Secret,
    former_secret: Option<Secret>,
    former_until: Option<DateTime<Utc>>,
    disabled_by: Option<DisabledBy>,
    disabled_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

fn webhook_item(tenant: &TenantId, webhook: &Webhook) -> Result<Item, StoreError> {
    let Webhook { id, url, events, addresses, secret, former, disabled, created_at } = webhook.clone();
    let (former_secret, former_until) = former.map(|former| (former.secret, former.until)).unzip();
    let (disabled_by, disabled_at) = disabled.map(|disabled| (disabled.by, disabled.at)).unzip();
    let item = WebhookItem {
        pk: tenant_key(tenant),
        webhook_id: id,
        url,
        events,
        addresses,
        secret,
        former_secret,
        former_until,
        disabled_by,
        disabled_at,
        created_at,
    };
    attribute_map(item)
}

fn read_webhook(item: Item) -> Option<Webhook> {
    let item: WebhookItem = from_item(item).ok()?;
    let former = item.former_secret.zip(item.former_until);
    let disabled = item.disabled_by.zip(item.disabled_at);
    Some(Webhook {
        id: item.webhook_id,
        url: item.url,
        events: item.events,
        addresses: item.addresses,
        secret: item.secret,
        former: former.map(|(secret, until)| FormerSecret { secret, until }),
        disabled: disabled.map(|(by, at)| Disabled { by, at }),
        created_at: item.created_at,
    })
}

/// Names an item without its content, which is secret.
fn name_of(tenant: &TenantId, item: &Item) -> String {
    let id = item.get(WEBHOOK_ID).and_then(|id| id.as_s().ok());
    format!("{tenant}#{}", id.map_or("?", String::as_str))
}

fn malformed(tenant: &TenantId, id: impl Display) -> StoreError {
    StoreError::Defect(format!("the webhook {tenant}#{id} is malformed"))
}
