//! The history: one item for each change of a subscription, which is added and never changed.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use chrono::{DateTime, Utc};
use domain::cancellation::{Cancellation, CancellationState};
use domain::history::HistoryEntry;
use domain::identifiers::{KeyId, SubscriptionId, TenantId};
use domain::origin::{Cause, Requester, Source};
use domain::stored::Revision;
use domain::subscription::{PendingStatus, Status};
use dynamodb::{Item, Patience, refusal, try_again};
use serde::{Deserialize, Serialize};
use serde_dynamo::from_item;
use serde_with::skip_serializing_none;

use super::items::{attribute_map, key_of, text};
use super::layout::{
    AT, KEY_ID, PK, REQUESTED_BY, REVISION, read_revision_key, revision_key, subscription_key, tenant_prefix,
};
use super::scan::Page;
use super::update::second;
use super::{Admin, NextPage, Store, StoreError};

/// The outcome of adding an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The entry was added.
    Added,
    /// The history has an entry of this revision. It stays as it is.
    Present,
    /// The database will never take this entry.
    Refused,
}

/// Returns the text by which callers name a place in a history: the revision at which a page begins.
#[must_use]
pub fn cursor(revision: &Revision) -> String {
    revision_key(revision)
}

/// Reads such a text. `None` if no place has this text.
#[must_use]
pub fn read_cursor(text: &str) -> Option<Revision> {
    // No version is that large. So the document of the API can say which texts are places.
    read_revision_key(text).filter(|_| text.starts_with('0'))
}

impl Store {
    /// Adds an entry to the history of the subscription with this key, unless the history has it.
    ///
    /// # Errors
    /// The database can't be reached, or refuses for a reason outside of the entry.
    pub async fn record(&self, key: &str, entry: &HistoryEntry) -> Result<Recorded, StoreError> {
        let request = self.client.put_item().table_name(&self.tables.history);
        let request = request.set_item(Some(history_item(key, entry)?));
        match request.condition_expression(format!("attribute_not_exists({PK})")).send().await {
            Ok(_) => Ok(Recorded::Added),
            Err(error) => match refusal(error)? {
                PutItemError::ConditionalCheckFailedException(_) => Ok(Recorded::Present),
                other if other.code() == Some("ValidationException") => Ok(Recorded::Refused),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Reads entries of a subscription's history, the newest first: those of this revision and of lower ones, of states that are
    /// gone too. A page has `most` entries at most, and may have fewer.
    ///
    /// # Errors
    /// The database can't be reached, or refuses; or an entry is malformed.
    pub async fn history(
        &self,
        tenant: &TenantId,
        id: SubscriptionId,
        up_to: &Revision,
        page: Option<NextPage>,
        most: usize,
    ) -> Result<Page<HistoryEntry>, StoreError> {
        let key = subscription_key(tenant, id);
        let query = self.query(&key, page).limit(i32::try_from(most).unwrap_or(i32::MAX));
        let condition = format!("{PK} = :{PK} AND {REVISION} <= :{REVISION}");
        let query = query.key_condition_expression(condition);
        read_page(&key, query.expression_attribute_values(format!(":{REVISION}"), text(revision_key(up_to))))
            .await
    }

    fn query(&self, key: &str, page: Option<NextPage>) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.tables.history).scan_index_forward(false);
        let start = page.map(|NextPage(key)| key);
        query.expression_attribute_values(format!(":{PK}"), text(key)).set_exclusive_start_key(start)
    }
}

async fn read_page(key: &str, query: QueryFluentBuilder) -> Result<Page<HistoryEntry>, StoreError> {
    let output = query.send().await.map_err(StoreError::from_sdk)?;
    let unreadable = || StoreError::Defect(format!("an entry in the history of {key} is malformed"));
    let entries =
        output.items.unwrap_or_default().into_iter().map(|item| read_entry(item).ok_or_else(unreadable));
    Ok(Page {
        found: entries.collect::<Result<_, _>>()?,
        unreadable: Vec::new(),
        next: output.last_evaluated_key.map(NextPage),
    })
}

impl Admin {
    /// Reads the whole history of a subscription, the newest entry first, also of states that are gone.
    ///
    /// # Errors
    /// The database can't be reached, or refuses; or an entry is malformed.
    pub async fn whole_history(
        &self,
        tenant: &TenantId,
        id: SubscriptionId,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let key = subscription_key(tenant, id);
        let (mut entries, mut next) = (Vec::new(), None);
        loop {
            let read = || {
                let query = self.query(&key, next.clone()).consistent_read(true);
                read_page(&key, query.key_condition_expression(format!("{PK} = :{PK}")))
            };
            let page = try_again(Patience::OfCommand, read).await?;
            entries.extend(page.found);
            next = page.next;
            if next.is_none() {
                return Ok(entries);
            }
        }
    }
}

impl Admin {
    /// Reads a page of the entries of all subscriptions of a tenant that an API key has requested since then, in no particular order,
    /// each with its subscription.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn activity(
        &self,
        tenant: &TenantId,
        key: &KeyId,
        since: DateTime<Utc>,
        page: Option<NextPage>,
    ) -> Result<Page<(SubscriptionId, HistoryEntry)>, StoreError> {
        let filter =
            format!("begins_with({PK}, :{PK}) AND {REQUESTED_BY}.{KEY_ID} = :{KEY_ID} AND #{AT} >= :{AT}");
        let request = self
            .client
            .scan()
            .table_name(&self.tables.history)
            .filter_expression(filter)
            .expression_attribute_names(format!("#{AT}"), AT)
            .expression_attribute_values(format!(":{PK}"), text(tenant_prefix(tenant)))
            .expression_attribute_values(format!(":{KEY_ID}"), text(key.clone()))
            // As text, instants within one second don't sort by time.
            .expression_attribute_values(format!(":{AT}"), text(second(since)))
            .set_exclusive_start_key(page.map(|NextPage(key)| key));
        let output = request.send().await.map_err(StoreError::from_sdk)?;
        let page = Page {
            found: output.items.unwrap_or_default(),
            unreadable: Vec::new(),
            next: output.last_evaluated_key.map(NextPage),
        };
        let mut page = page.read(|item| {
            let id = key_of(&item).split_once('#')?.1.parse().ok()?;
            Some((id, read_entry(item)?))
        });
        page.found.retain(|(_, entry)| entry.at >= since);
        Ok(page)
    }
}

impl Admin {
    /// Reads a page of the changes that API keys of a tenant have requested, in no particular order: the key, and the time.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn changes_by_keys(
        &self,
        tenant: &TenantId,
        page: Option<NextPage>,
    ) -> Result<Page<(KeyId, DateTime<Utc>)>, StoreError> {
        let of_keys = format!("begins_with({PK}, :{PK}) AND attribute_exists({REQUESTED_BY}.{KEY_ID})");
        let request = self.client.scan().table_name(&self.tables.history).filter_expression(of_keys);
        let request = request
            .projection_expression(format!("{PK}, {REQUESTED_BY}.{KEY_ID}, #{AT}"))
            .expression_attribute_names(format!("#{AT}"), AT)
            .expression_attribute_values(format!(":{PK}"), text(tenant_prefix(tenant)))
            .set_exclusive_start_key(page.map(|NextPage(key)| key));
        let output = request.send().await.map_err(StoreError::from_sdk)?;
        let page = Page {
            found: output.items.unwrap_or_default(),
            unreadable: Vec::new(),
            next: output.last_evaluated_key.map(NextPage),
        };
        Ok(page.read(|item| {
            let RequestOfKey { requested_by, at } = from_item(item).ok()?;
            Some((requested_by.key_id?, at))
        }))
    }
}

/// The part of an entry that tells which key has requested the change, and when.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestOfKey {
    requested_by: Requester,
    at: DateTime<Utc>,
}

/// An item of the history.
#[skip_serializing_none]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryItem {
    pk: String,
    revision: String,
    follows: Option<String>,
    at: DateTime<Utc>,
    cause: Cause,
    source: Source,
    requested_by: Option<Requester>,
    request_id: Option<String>,
    cancellation: Option<Cancellation>,
    state: Option<CancellationState>,
    replaced: Option<Cancellation>,
    status: Status,
    pending_status: Option<PendingStatus>,
}

pub(super) fn history_item(key: &str, entry: &HistoryEntry) -> Result<Item, StoreError> {
    let HistoryEntry {
        revision,
        follows,
        at,
        cause,
        source,
        requested_by,
        request_id,
        cancellation,
        replaced,
        status,
        pending_status,
    } = entry.clone();
    let (cancellation, state) = cancellation.unzip();
    let item = HistoryItem {
        pk: key.to_owned(),
        revision: revision_key(&revision),
        follows: follows.as_ref().map(revision_key),
        at,
        cause,
        source,
        requested_by,
        request_id,
        cancellation,
        state,
        replaced,
        status,
        pending_status,
    };
    attribute_map(item)
}

fn read_entry(item: Item) -> Option<HistoryEntry> {
    let item: HistoryItem = from_item(item).ok()?;
    let follows: Option<Option<Revision>> = item.follows.as_deref().map(read_revision_key);
    Some(HistoryEntry {
        revision: read_revision_key(&item.revision)?,
        follows: follows.map_or(Some(None), |revision| revision.map(Some))?,
        at: item.at,
        cause: item.cause,
        source: item.source,
        requested_by: item.requested_by,
        request_id: item.request_id,
        cancellation: item.cancellation.zip(item.state),
        replaced: item.replaced,
        status: item.status,
        pending_status: item.pending_status,
    })
}
