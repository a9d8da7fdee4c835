//! The deliveries to webhooks: the events that were to be posted, and each attempt to post one. Both are kept for 30 days.
//!
//! An event is stored once, whatever the number of webhooks. So a delivery names its event, and one that is erased is not posted
//! any more.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::identifiers::{TenantId, WebhookId};
use domain::webhook::{Attempt, KEPT, Outcome};
use dynamodb::{Item, refusal};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_dynamo::from_item;
use serde_with::skip_serializing_none;
use uuid::Uuid;

use super::compression::{compress, decompress};
use super::items::{attribute_map, text};
use super::layout::{AT, EVENT_PART, PART, PK, WEBHOOK, attempt_part, event_key, webhook_key};
use super::scan::Page;
use super::tables::ATTEMPTS_INDEX;
use super::{Admin, NextPage, Store, StoreError};

/// The outcome of keeping an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The event is kept.
    Done,
    /// The event is about a subscription that was erased since. It is not kept.
    Erased,
    /// The database will never take this event.
    Refused,
}

impl Store {
    /// Keeps an event of a tenant, to be posted from now on. An event that is kept already stays as long as this one would.
    ///
    /// # Errors
    /// The database can't be reached, or refuses for a reason outside of the event.
    pub async fn keep_event(
        &self,
        tenant: &TenantId,
        event_id: Uuid,
        event: &str,
        now: DateTime<Utc>,
    ) -> Result<Kept, StoreError> {
        let Ok(event) = compress(event.as_bytes()) else { return Ok(Kept::Refused) };
        let item = EventItem {
            pk: event_key(tenant, event_id),
            part: EVENT_PART.to_owned(),
            event: Some(ByteBuf::from(event)),
            remove_at: remove_at(now),
        };
        let item = attribute_map(item)?;
        let request = self.client.put_item().table_name(&self.tables.deliveries).set_item(Some(item));
        let unless_erased = format!("attribute_not_exists({PK}) OR attribute_exists(#{EVENT_PART})");
        let request = request
            .condition_expression(unless_erased)
            .expression_attribute_names(format!("#{EVENT_PART}"), EVENT_PART);
        match request.send().await {
            Ok(_) => Ok(Kept::Done),
            Err(error) => match refusal(error)? {
                PutItemError::ConditionalCheckFailedException(_) => Ok(Kept::Erased),
                PutItemError::ItemCollectionSizeLimitExceededException(_) => Ok(Kept::Refused),
                other if other.code() == Some("ValidationException") => Ok(Kept::Refused),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Reads an event that is kept; `None` if it is not, or if it was erased.
    ///
    /// # Errors
    /// The database can't be reached, or refuses; or the event is malformed.
    pub async fn kept_event(&self, tenant: &TenantId, event_id: Uuid) -> Result<Option<String>, StoreError> {
        let request = self.client.get_item().table_name(&self.tables.deliveries).consistent_read(true);
        let request = request.key(PK, text(event_key(tenant, event_id))).key(PART, text(EVENT_PART));
        let item = request.send().await.map_err(StoreError::from_sdk)?.item;
        let read = |item: Item| {
            let EventItem { event, .. } = from_item(item).ok()?;
            Some(match event {
                Some(event) => Some(String::from_utf8(decompress(&event)?).ok()?),
                None => None,
            })
        };
        let malformed = || StoreError::Defect(format!("the event {event_id} of {tenant} is malformed"));
        let event = item.map(|item| read(item).ok_or_else(malformed)).transpose()?;
        Ok(event.flatten())
    }

    /// Keeps an attempt.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn keep_attempt(&self, tenant: &TenantId, attempt: &Attempt) -> Result<(), StoreError> {
        let item = attribute_map(AttemptItem::new(tenant, attempt))?;
        let request = self.client.put_item().table_name(&self.tables.deliveries);
        request.set_item(Some(item)).send().await.map_err(StoreError::from_sdk)?;
        Ok(())
    }
}

impl Admin {
    /// Reads the attempts of a webhook since this time, the latest first. A page may have fewer than there are.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn attempts(
        &self,
        tenant: &TenantId,
        webhook: WebhookId,
        since: DateTime<Utc>,
        page: Option<NextPage>,
        most: usize,
    ) -> Result<Page<Attempt>, StoreError> {
        let query = self.client.query().table_name(&self.tables.deliveries).index_name(ATTEMPTS_INDEX);
        let output = query
            .key_condition_expression(format!("{WEBHOOK} = :webhook AND #{AT} >= :since"))
            .expression_attribute_names(format!("#{AT}"), AT)
            .expression_attribute_values(":webhook", text(webhook_key(tenant, webhook)))
            .expression_attribute_values(":since", text(milliseconds(since)))
            .scan_index_forward(false)
            .limit(i32::try_from(most).unwrap_or(i32::MAX))
            .set_exclusive_start_key(page.map(|NextPage(key)| key))
            .send()
            .await
            .map_err(StoreError::from_sdk)?;
        let items = Page {
            found: output.items.unwrap_or_default(),
            unreadable: Vec::new(),
            next: output.last_evaluated_key.map(NextPage),
        };
        Ok(items.read(read_attempt))
    }

    /// Reads the attempts to post one event, the earliest first of each webhook.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn attempts_of_event(
        &self,
        tenant: &TenantId,
        event_id: Uuid,
    ) -> Result<Page<Attempt>, StoreError> {
        let query = self.client.query().table_name(&self.tables.deliveries).consistent_read(true);
        let query = query.key_condition_expression(format!("{PK} = :{PK}")).set_expression_attribute_values(
            Some(HashMap::from([(format!(":{PK}"), text(event_key(tenant, event_id)))])),
        );
        let items = query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        let is_attempt = |item: &Item| item.contains_key(WEBHOOK);
        let found = items.map_err(StoreError::from_sdk)?.into_iter().filter(is_attempt).collect();
        Ok(Page { found, unreadable: Vec::new(), next: None }.read(read_attempt))
    }
}

fn remove_at(now: DateTime<Utc>) -> i64 {
    (now + KEPT).timestamp()
}

/// Converts an instant into text that sorts by time, to the millisecond.
fn milliseconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// An event, as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventItem {
    pk: String,
    part: String,
    /// Absent after its subscription was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<ByteBuf>,
    remove_at: i64,
}

/// Returns the mark in the place of an event that is erased.
pub(super) fn erased_event(
    tenant: &TenantId,
    event_id: Uuid,
    now: DateTime<Utc>,
) -> Result<Item, StoreError> {
    attribute_map(EventItem {
        pk: event_key(tenant, event_id),
        part: EVENT_PART.to_owned(),
        event: None,
        remove_at: remove_at(now),
    })
}

/// Returns true for the key of an event, false for that of an attempt.
pub(super) fn is_event(key: &Item) -> bool {
    key.get(PART).and_then(|part| part.as_s().ok()).is_some_and(|part| part == EVENT_PART)
}

/// An attempt, as it is kept.
#[skip_serializing_none]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttemptItem {
    pk: String,
    part: String,
    webhook: String,
    webhook_id: WebhookId,
    event_id: Uuid,
    r#type: String,
    number: u32,
    at: String,
    milliseconds: u64,
    status: Option<u16>,
    answer: String,
    outcome: Outcome,
    next_at: Option<DateTime<Utc>>,
    remove_at: i64,
}

impl AttemptItem {
    fn new(tenant: &TenantId, attempt: &Attempt) -> Self {
        let at = milliseconds(attempt.at);
        Self {
            pk: event_key(tenant, attempt.event_id),
            part: attempt_part(attempt.webhook_id, &at, attempt.number),
            webhook: webhook_key(tenant, attempt.webhook_id),
            webhook_id: attempt.webhook_id,
            event_id: attempt.event_id,
            r#type: attempt.r#type.clone(),
            number: attempt.number,
            at,
            milliseconds: attempt.milliseconds,
            status: attempt.status,
            answer: attempt.answer.clone(),
            outcome: attempt.outcome,
            next_at: attempt.next_at,
            remove_at: remove_at(attempt.at),
        }
    }
}

fn read_attempt(item: Item) -> Option<Attempt> {
    let item: AttemptItem = from_item(item).ok()?;
    Some(Attempt {
        webhook_id: item.webhook_id,
        event_id: item.event_id,
        r#type: item.r#type,
        number: item.number,
        at: item.at.parse().ok()?,
        milliseconds: item.milliseconds,
        status: item.status,
        answer: item.answer,
        outcome: item.outcome,
        next_at: item.next_at,
    })
}
