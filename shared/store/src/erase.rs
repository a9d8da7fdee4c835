//! Erasing: the writes after which nothing personal of a subscription is stored. Only an operator's command erases.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    Delete, Put, ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem,
};
use chrono::{DateTime, Utc};
use domain::erase::{Erasure, erased_answer};
use domain::history::HistoryEntry;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::stored::StoredSubscription;
use dynamodb::{Item, Patience, Transaction, Written, defect, invalid, refusal};
use idempotency::Answer as _;
use uuid::Uuid;

use super::answer::Answer;
use super::commit::{Changing, current};
use super::deliveries::{erased_event, is_event};
use super::history::history_item;
use super::items::{attribute, changed_by, instant, key_of, number, read_subscription, text};
use super::layout::{
    BODY, CANCELLATION, CANCELLATION_ID, CHANGED_BY, DOCUMENT, ERASED_AT, HEADERS, PART, PK, STATUS,
    STATUS_IN_EXPRESSIONS, SUBSCRIPTION_ID, VERSION, WRITE_ID, event_key, reference_key, subscription_key,
    tenant_prefix,
};
use super::scan::Page;
use super::{Admin, NextPage, StoreError};

impl Admin {
    /// Reads a page of a tenant's subscriptions that are not erased, in no particular order.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn not_erased(
        &self,
        tenant: &TenantId,
        page: Option<NextPage>,
    ) -> Result<Page<StoredSubscription>, StoreError> {
        let kind = format!("attribute_not_exists({SUBSCRIPTION_ID}) AND attribute_not_exists({ERASED_AT})");
        let items = self.scan_subscriptions(&kind, None, Some(tenant), page).await?;
        Ok(items.read(|item| read_subscription(item).ok()))
    }

    /// Writes an erasure: the item has nothing else afterwards, and the reference id is free.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another write was under way all the time; otherwise the database is unavailable or refuses.
    pub async fn erase(&self, tenant: &TenantId, erasure: &Erasure) -> Result<Changing, StoreError> {
        let id = erasure.document.subscription_id;
        let put = Put::builder()
            .table_name(&self.tables.subscriptions)
            .set_item(Some(erased_item(tenant, erasure)?))
            .condition_expression(format!("{VERSION} = :{VERSION}"))
            .expression_attribute_values(format!(":{VERSION}"), number(erasure.decided_from))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .build()
            .map_err(defect)?;
        let mut writes = vec![TransactWriteItem::builder().put(put).build()];
        if let Some(freed) = &erasure.freed
            && self.referenced(tenant, freed).await? == Some(id)
        {
            let delete = Delete::builder()
                .table_name(&self.tables.subscriptions)
                .key(PK, text(reference_key(tenant, freed)))
                .condition_expression(format!("{SUBSCRIPTION_ID} = :id"))
                .expression_attribute_values(":id", text(id))
                .build()
                .map_err(defect)?;
            writes.push(TransactWriteItem::builder().delete(delete).build());
        }
        match Transaction::new(writes).write(&self.client, Patience::OfCommand).await? {
            Written::All => Ok(Changing::Done),
            Written::Refused(conditions) => Ok(Changing::Met(current(conditions)?)),
            Written::Invalid => Err(invalid()),
        }
    }

    /// Writes an entry of the history without everything personal in its place.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn erase_entry(
        &self,
        tenant: &TenantId,
        id: SubscriptionId,
        entry: &HistoryEntry,
    ) -> Result<(), StoreError> {
        let item = history_item(&subscription_key(tenant, id), &entry.erased())?;
        let request = self.client.put_item().table_name(&self.tables.history).set_item(Some(item));
        match request.condition_expression(format!("attribute_exists({PK})")).send().await {
            Ok(_) => Ok(()),
            Err(error) => match refusal(error)? {
                PutItemError::ConditionalCheckFailedException(_) => Ok(()),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Removes the attempts to post an event, and puts a mark in the place of the event, so that it is not kept once more by a delivery
    /// that is late. Returns the number of items that were there.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn erase_event(
        &self,
        tenant: &TenantId,
        event_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let mark = self.client.put_item().table_name(&self.tables.deliveries);
        mark.set_item(Some(erased_event(tenant, event_id, now)?))
            .send()
            .await
            .map_err(StoreError::from_sdk)?;
        let query = self.client.query().table_name(&self.tables.deliveries).consistent_read(true);
        let query = query
            .key_condition_expression(format!("{PK} = :{PK}"))
            .projection_expression(format!("{PK}, {PART}"))
            .expression_attribute_values(format!(":{PK}"), text(event_key(tenant, event_id)));
        let items = query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        let mut removed = 0;
        for key in items.map_err(StoreError::from_sdk)?.into_iter().filter(|key| !is_event(key)) {
            let request = self.client.delete_item().table_name(&self.tables.deliveries);
            request.set_key(Some(key)).send().await.map_err(StoreError::from_sdk)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Writes the recorded answers on a page that show a subscription that is erased, without everything personal. Returns the
    /// number of these, and the next page.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn erase_answers(
        &self,
        tenant: &TenantId,
        is_erased: impl Fn(SubscriptionId) -> bool,
        page: Option<NextPage>,
    ) -> Result<(u64, Option<NextPage>), StoreError> {
        let request = self.client.scan().table_name(&self.tables.idempotency).consistent_read(true);
        let output = request
            .filter_expression(format!("begins_with({PK}, :tenant)"))
            .projection_expression(format!("{PK}, {STATUS_IN_EXPRESSIONS}, {HEADERS}, {BODY}"))
            .expression_attribute_names(STATUS_IN_EXPRESSIONS, STATUS)
            .expression_attribute_values(":tenant", text(tenant_prefix(tenant)))
            .set_exclusive_start_key(page.map(|NextPage(key)| key))
            .send()
            .await
            .map_err(StoreError::from_sdk)?;
        let mut erased = 0;
        for item in output.items.unwrap_or_default() {
            let Some(answer) = Answer::from_item(&item) else { continue };
            let Some(body) = erased_answer(&answer.body, &is_erased) else { continue };
            erased += u64::from(self.replace_answer(&item, &Answer { body, ..answer }).await?);
        }
        Ok((erased, output.last_evaluated_key.map(NextPage)))
    }

    /// Writes another body into the record of this item, unless it is another record by now. Returns true if it did.
    async fn replace_answer(&self, item: &Item, answer: &Answer) -> Result<bool, StoreError> {
        let parts = (item.get(BODY).cloned(), answer.to_item()?.remove(BODY));
        let (Some(former), Some(body)) = parts else { return Ok(false) };
        let request = self.client.update_item().table_name(&self.tables.idempotency);
        let request = request
            .key(PK, text(key_of(item)))
            .update_expression(format!("SET {BODY} = :body"))
            .condition_expression(format!("{BODY} = :former"))
            .expression_attribute_values(":body", body)
            .expression_attribute_values(":former", former);
        replaced(request.send().await)
    }

    /// Notes that everything of a subscription is erased that was to be, so that it is not looked at again. That is no change of the
    /// subscription. Does nothing if it has changed since.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn note_erased(
        &self,
        tenant: &TenantId,
        id: SubscriptionId,
        version: u64,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let request = self.client.update_item().table_name(&self.tables.subscriptions);
        let request = request
            .key(PK, text(subscription_key(tenant, id)))
            .update_expression(format!("SET {ERASED_AT} = :now"))
            .condition_expression(format!("{VERSION} = :{VERSION}"))
            .expression_attribute_values(":now", instant(now))
            .expression_attribute_values(format!(":{VERSION}"), number(version));
        replaced(request.send().await).map(|_| ())
    }
}

/// Returns false if the condition of an update failed.
fn replaced<T>(
    result: Result<T, aws_sdk_dynamodb::error::SdkError<UpdateItemError>>,
) -> Result<bool, StoreError> {
    match result {
        Ok(_) => Ok(true),
        Err(error) => match refusal(error)? {
            UpdateItemError::ConditionalCheckFailedException(_) => Ok(false),
            other => Err(StoreError::from_refusal(&other)),
        },
    }
}

/// Returns the whole item of an erased subscription.
fn erased_item(tenant: &TenantId, erasure: &Erasure) -> Result<Item, StoreError> {
    let Erasure { decided_from, write_id, origin, document, cancellation, freed: _ } = erasure;
    let mut item = HashMap::from([
        (PK.to_owned(), text(subscription_key(tenant, document.subscription_id))),
        (VERSION.to_owned(), number(decided_from.saturating_add(1))),
        (WRITE_ID.to_owned(), attribute(write_id)?),
        (CHANGED_BY.to_owned(), changed_by(write_id, origin)?),
        (DOCUMENT.to_owned(), attribute(document)?),
    ]);
    if let Some(kept) = cancellation {
        item.insert(CANCELLATION.to_owned(), attribute(kept)?);
        // By this, a repeated execution is recognised.
        if kept.withdrawn_at.is_none() {
            item.insert(CANCELLATION_ID.to_owned(), attribute(kept.cancellation_id)?);
        }
    }
    Ok(item)
}
