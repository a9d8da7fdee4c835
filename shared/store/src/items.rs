//! Conversion of items into values, and of values into items. The fields of the types here have the names of
//! [`layout`](super::layout).

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Utc};
use domain::api_key::{ApiKey, Scope};
use domain::calendar::TimeZone;
use domain::cancellation::{Cancellation, CancellationState, Reason};
use domain::document::StoredValue;
use domain::execute::DueCancellation;
use domain::identifiers::{CancellationId, KeyId, ReferenceId, SubscriptionId, TenantId, WriteId};
use domain::import::{Present, PresentSubscription, UnreadableItem};
use domain::origin::{Actor, Cause, Origin, Source};
use domain::standing::{Claims, IndexEntry, Standing};
use domain::stored::{Revision, StoredSubscription};
use domain::subscription::{PendingStatus, Status, Subscription};
use domain::tenant::{Pause, PauseReason, Tenant};
use dynamodb::Item;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use serde_dynamo::{AttributeValue as Stored, from_attribute_value, from_item, to_attribute_value, to_item};

use super::StoreError;
use super::document::{assemble, read_document, stored_document, stored_value};
use super::due::SweptTenant;
use super::layout::{
    CANCELLATION_ID, CHANGED_BY, CREATED_AT, DOCUMENT, DUE_AT, DUE_SHARD, EXPIRES_AT, LAST_FOUR, NAME,
    PAUSED_AT, PAUSED_BY, PAUSED_FOR, PK, REFERENCE_ID, REVOKED_AT, SCOPES, SECRET_HASH, SUBSCRIPTION_ID,
    TIME_ZONE, VERSION, WRITE_ID, api_key_key, reference_key, tenant_key,
};
use super::scan::{EntryDetails, Reported};
use super::tables::DUE_SHARDS;

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn binary(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Converts an instant into text that sorts by time: always UTC, always to the second.
pub(super) fn instant(at: DateTime<Utc>) -> AttributeValue {
    text(instant_text(at))
}

fn instant_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) fn key_of(item: &Item) -> &str {
    item.get(PK).and_then(|key| key.as_s().ok()).map_or("", String::as_str)
}

/// Converts a value of this crate into an attribute. That can't fail for any of its types.
pub(super) fn attribute(value: impl Serialize) -> Result<AttributeValue, StoreError> {
    to_attribute_value(value).map_err(|error| StoreError::Defect(error.to_string()))
}

/// Converts a value of this crate into an item. That can't fail for any of its types.
pub(super) fn attribute_map(value: impl Serialize) -> Result<Item, StoreError> {
    to_item(value).map_err(|error| StoreError::Defect(error.to_string()))
}

/// Reads an item. An error names the item, but never its content.
fn read<T: for<'de> Deserialize<'de>>(item: Item, name: fn(&str) -> String) -> Result<T, StoreError> {
    let key = key_of(&item).to_owned();
    from_item(item).map_err(|_| unreadable(&name(&key)))
}

fn unreadable(name: &str) -> StoreError {
    StoreError::Defect(format!("{name} is malformed"))
}

/// Returns the tenant in the key of an item. Callers make up reference ids and idempotency keys, so errors never name those.
fn tenant_of(key: &str) -> &str {
    key.split('#').next().unwrap_or_default()
}

/// The attributes of a subscription's item beside its document.
#[derive(Deserialize)]
struct SubscriptionItem {
    version: u64,
    cancellation: Option<Cancellation>,
}

/// The origin of a write, with the id of that write: an earlier version of this service changes the id and leaves the rest.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangedBy {
    write: WriteId,
    cause: Cause,
    source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<DateTime<Utc>>,
}

pub(super) fn changed_by(write: &WriteId, origin: &Origin) -> Result<AttributeValue, StoreError> {
    let Origin { cause, source, actor, request_id, at } = origin.clone();
    attribute(ChangedBy { write: write.clone(), cause, source, actor, request_id, at })
}

/// Reads the origin of the write with this id. `None` if the item has no readable one, or that of another write.
fn origin(changed_by: Option<Stored>, write_id: Option<&WriteId>) -> Option<Origin> {
    let changed_by: ChangedBy = from_attribute_value(changed_by?).ok()?;
    let ChangedBy { write, cause, source, actor, request_id, at } = changed_by;
    (Some(&write) == write_id).then_some(Origin { cause, source, actor, request_id, at })
}

/// Reads the revision of an item, also if the rest of the item is malformed. `None` if the item has no version.
pub(super) fn revision(item: &serde_dynamo::Item) -> Option<Revision> {
    let Stored::N(version) = item.get(VERSION)? else { return None };
    Some(Revision { version: version.parse().ok()?, write_id: parse(item, WRITE_ID) })
}

/// Reads a subscription from an item of the table or its stream. `None` if the item is malformed.
pub(super) fn subscription(item: serde_dynamo::Item) -> Option<StoredSubscription> {
    let (entry, write_id) = (index_entry(&item), parse(&item, WRITE_ID));
    let mut attributes = item.into_inner();
    let Some(Stored::M(document)) = attributes.remove(DOCUMENT) else { return None };
    let document: Subscription = read_document(document)?;
    let origin = origin(attributes.remove(CHANGED_BY), write_id.as_ref());
    let SubscriptionItem { version, cancellation } = from_item(serde_dynamo::Item::from(attributes)).ok()?;
    let revision = Revision { version, write_id };
    Some(StoredSubscription::new(document, revision, cancellation, entry).made_by(origin))
}

/// Returns the entry of an item in the index. The index has an entry for every item with both of its keys.
fn index_entry(item: &serde_dynamo::Item) -> Option<IndexEntry> {
    let (Stored::N(shard), Stored::S(due_at)) = (item.get(DUE_SHARD)?, item.get(DUE_AT)?) else {
        return None;
    };
    let due = || {
        // Sweeps read no other shard, and an instant in another format sorts elsewhere.
        let is_swept = shard.parse::<u32>().is_ok_and(|shard| shard < DUE_SHARDS);
        let at: DateTime<Utc> = due_at.parse().ok()?;
        let is_sorted = at.year() <= 9999 && *due_at == instant_text(at);
        // An execution compares the id as text.
        let id: CancellationId = parse(item, CANCELLATION_ID)?;
        let is_spelled = item.get(CANCELLATION_ID) == Some(&Stored::S(id.to_string()));
        (is_swept && is_sorted && is_spelled).then_some(IndexEntry::Due(id, at))
    };
    Some(due().unwrap_or(IndexEntry::Unreadable))
}

fn parse<T: FromStr>(item: &serde_dynamo::Item, name: &str) -> Option<T> {
    match item.get(name)? {
        Stored::S(text) => text.parse().ok(),
        _ => None,
    }
}

#[derive(Deserialize)]
struct ClaimsItem {
    document: StatusOnly,
    cancellation: Option<KeptOnly>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusOnly {
    status: Status,
    pending_status: Option<PendingStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptOnly {
    cancellation_id: CancellationId,
    scheduled_at: Option<NaiveDate>,
    effective_at: DateTime<Utc>,
    reason: Option<Reason>,
    withdrawn_at: Option<DateTime<Utc>>,
}

/// Reads the claims of an item, and its cancellation. `None` if the attributes are malformed.
fn read_claims(item: serde_dynamo::Item) -> Option<(Claims, Option<KeptOnly>)> {
    let entry = index_entry(&item);
    let ClaimsItem { document, cancellation } = from_item(item).ok()?;
    let kept = cancellation
        .as_ref()
        .map(|kept| (IndexEntry::Due(kept.cancellation_id, kept.effective_at), kept.scheduled_at));
    let claims = Claims { status: document.status, pending_status: document.pending_status, kept, entry };
    Some((claims, cancellation))
}

pub(super) fn read_subscription(item: Item) -> Result<StoredSubscription, StoreError> {
    let key = key_of(&item).to_owned();
    subscription(item.into()).ok_or_else(|| unreadable(&format!("the subscription {key}")))
}

/// Reads the item that is stored under the id of a subscription.
pub(super) fn read_present(item: Item) -> Present {
    let mut assembled = serde_dynamo::Item::from(item.clone());
    let document = assemble(&mut assembled).map(stored_document);
    match (subscription(item.into()), document) {
        (Some(stored), Some(document)) => {
            Present::Subscription(Box::new(PresentSubscription { stored, document }))
        }
        (_, document) => {
            let reference_id = match document.as_ref().and_then(|document| document.get(REFERENCE_ID)) {
                Some(StoredValue::Text(reference)) => ReferenceId::try_from(reference.clone()).ok(),
                _ => None,
            };
            Present::Unreadable(UnreadableItem {
                version: assembled.get(VERSION).map(stored_value),
                reference_id,
                is_due: assembled.get(DUE_AT).is_some(),
            })
        }
    }
}

/// Returns the shard of the index for a subscription's pending cancellation.
pub(super) fn due_shard(id: SubscriptionId) -> u32 {
    crc32fast::hash(id.to_string().as_bytes()) % DUE_SHARDS
}

/// Reads the pending cancellation that an entry of the index names; `None` if the entry is malformed.
pub(super) fn read_due(entry: &Item) -> Option<DueCancellation> {
    let (tenant, subscription_id) = key_of(entry).split_once('#')?;
    let IndexEntry::Due(cancellation_id, effective_at) = index_entry(&entry.clone().into())? else {
        return None;
    };
    Some(DueCancellation {
        tenant: tenant.parse().ok()?,
        subscription_id: subscription_id.parse().ok()?,
        cancellation_id,
        effective_at,
    })
}

/// Reads a cancellation for counting, by the status that the subscription has now. The inner `None` is a cancellation that does not
/// count, because its state is unclear. The outer `None` is an item that can't be read.
pub(super) fn read_reported(item: Item) -> Option<Option<Reported>> {
    let tenant = tenant_of(key_of(&item)).parse().ok()?;
    let (claims, kept) = read_claims(item.into())?;
    let KeptOnly { scheduled_at, effective_at, reason, withdrawn_at, .. } = kept?;
    let state = match claims.standing() {
        Standing::NotPending if withdrawn_at.is_some() => CancellationState::Withdrawn,
        Standing::Pending => CancellationState::Pending,
        Standing::NotPending if claims.status == Status::Cancelled => CancellationState::Executed,
        Standing::NotPending | Standing::Contradictory(_) => return Some(None),
    };
    Some(Some(Reported { tenant, reason, scheduled_at, effective_at, state }))
}

/// Reads the details of an entry of the index from the item that it names; `None` if the pending cancellation of that item is
/// missing or another one.
pub(super) fn read_entry_details(item: &Item, due: &DueCancellation) -> Option<EntryDetails> {
    let item = serde_dynamo::Item::from(item.clone());
    match index_entry(&item)? {
        IndexEntry::Due(id, _) if id != due.cancellation_id => return None,
        IndexEntry::Due(..) | IndexEntry::Unreadable => {}
    }
    Some(match read_claims(item) {
        None => EntryDetails { reason: None, date: None, standing: None },
        Some((claims, kept)) => EntryDetails {
            reason: kept.and_then(|kept| kept.reason),
            date: claims.date(),
            standing: Some(claims.standing()),
        },
    })
}

/// Reads the id of the cancellation of an item, without reading the rest.
pub(super) fn cancellation_id(item: &Item) -> Option<CancellationId> {
    item.get(CANCELLATION_ID)?.as_s().ok()?.parse().ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PointerItem {
    subscription_id: SubscriptionId,
}

pub(super) fn read_pointer(item: Item) -> Result<SubscriptionId, StoreError> {
    read(item, |key| format!("a reference id of {}", tenant_of(key)))
        .map(|PointerItem { subscription_id }| subscription_id)
}

pub(super) fn pointer_item(tenant: &TenantId, reference: &ReferenceId, id: SubscriptionId) -> Item {
    HashMap::from([
        (PK.to_owned(), text(reference_key(tenant, reference))),
        (SUBSCRIPTION_ID.to_owned(), text(id)),
    ])
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TenantItem {
    name: String,
    time_zone: TimeZone,
    paused_at: Option<DateTime<Utc>>,
    paused_by: Option<Actor>,
    paused_for: Option<String>,
}

pub(super) fn read_tenant(id: TenantId, item: Item) -> Result<Tenant, StoreError> {
    let TenantItem { name, time_zone, paused_at, paused_by, paused_for } =
        read(item, |key| format!("the tenant {key}"))?;
    let paused = paused_at.map(|at| Pause { at, by: paused_by, reason: pause_reason(paused_for.as_deref()) });
    Ok(Tenant { id, name, time_zone, paused })
}

const FOR_ALL: &str = "ALL";
const MOVED: &str = "MOVED";
pub(super) const RESTORE: &str = "RESTORE ";

/// Reads the reason for a pause. One that is not known is that of the tenant alone, which only its name ends.
fn pause_reason(text: Option<&str>) -> PauseReason {
    match text {
        Some(FOR_ALL) => PauseReason::All,
        Some(MOVED) => PauseReason::Moved,
        Some(text) => {
            let backup = text.strip_prefix(RESTORE).and_then(|at| at.parse().ok());
            backup.map_or(PauseReason::Tenant, PauseReason::Restoring)
        }
        None => PauseReason::Tenant,
    }
}

/// Returns the reason for a pause as it is stored; `None` for that of a tenant alone.
pub(super) fn stored_reason(reason: PauseReason) -> Option<AttributeValue> {
    match reason {
        PauseReason::Tenant => None,
        PauseReason::All => Some(text(FOR_ALL)),
        PauseReason::Moved => Some(text(MOVED)),
        PauseReason::Restoring(backup) => Some(text(format!("{RESTORE}{}", backup.to_rfc3339()))),
    }
}

/// Reads the part of a tenant that a sweep may read. The item may have no other attributes.
pub(super) fn read_swept_tenant(tenant: &TenantId, item: &Item) -> Result<SweptTenant, StoreError> {
    let name = item.get(TIME_ZONE).and_then(|name| name.as_s().ok());
    let time_zone = name.and_then(|name| name.parse().ok());
    let time_zone = time_zone.ok_or_else(|| unreadable(&format!("the tenant {tenant}")))?;
    let moved =
        item.get(PAUSED_FOR).and_then(|reason| reason.as_s().ok()).is_some_and(|reason| reason == MOVED);
    Ok(SweptTenant { time_zone, is_paused: item.contains_key(PAUSED_AT), has_moved: moved })
}

pub(super) fn tenant_item(tenant: &Tenant) -> Item {
    let Tenant { id, name, time_zone, paused } = tenant;
    let mut item = HashMap::from([
        (PK.to_owned(), text(tenant_key(id))),
        (NAME.to_owned(), text(name)),
        (TIME_ZONE.to_owned(), text(time_zone.name())),
    ]);
    item.extend(paused.iter().flat_map(pause_attributes));
    item
}

/// Returns the attributes of a pause.
pub(super) fn pause_attributes(pause: &Pause) -> Item {
    let Pause { at, by, reason } = pause;
    let mut attributes = HashMap::from([(PAUSED_AT.to_owned(), instant(*at))]);
    attributes.extend(by.as_ref().map(|by| (PAUSED_BY.to_owned(), text(by.to_string()))));
    attributes.extend(stored_reason(*reason).map(|reason| (PAUSED_FOR.to_owned(), reason)));
    attributes
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiKeyItem {
    name: Option<String>,
    secret_hash: ByteArray<32>,
    last_four: Option<String>,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

pub(super) fn read_api_key(item: Item) -> Result<ApiKey, StoreError> {
    let stored: ApiKeyItem = read(item, |key| format!("the API key {key}"))?;
    let (ours, of_others): (Vec<_>, Vec<_>) =
        stored.scopes.into_iter().partition(|scope| scope.parse::<Scope>().is_ok());
    Ok(ApiKey {
        name: stored.name,
        secret_hash: stored.secret_hash.into_array().into(),
        last_four: stored.last_four,
        scopes: ours.iter().filter_map(|scope| scope.parse().ok()).collect(),
        scopes_of_others: of_others,
        created_at: stored.created_at,
        expires_at: stored.expires_at,
        revoked_at: stored.revoked_at,
    })
}

pub(super) fn api_key_item(tenant: &TenantId, key_id: &KeyId, key: &ApiKey) -> Result<Item, StoreError> {
    let mut item = HashMap::from([
        (PK.to_owned(), text(api_key_key(tenant, key_id))),
        (SECRET_HASH.to_owned(), binary(key.secret_hash.as_bytes())),
        (SCOPES.to_owned(), AttributeValue::L(key.all_scopes().map(text).collect())),
        (CREATED_AT.to_owned(), instant(key.created_at)),
    ]);
    item.extend(key.name.as_ref().map(|name| (NAME.to_owned(), text(name))));
    item.extend(key.last_four.as_ref().map(|digits| (LAST_FOUR.to_owned(), text(digits))));
    item.extend(key.expires_at.map(|at| (EXPIRES_AT.to_owned(), instant(at))));
    item.extend(key.revoked_at.map(|at| (REVOKED_AT.to_owned(), instant(at))));
    Ok(item)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::layout::STATUS;

    /// Reads the origin of a subscription with these attributes.
    fn origin_in(attributes: &Value) -> Option<Origin> {
        let mut item = json!({
            VERSION: 2,
            WRITE_ID: "w2",
            DOCUMENT: {SUBSCRIPTION_ID: "a81bc81b-dead-4e5d-abff-90865d1e13b1", STATUS: "ACTIVATED"},
        });
        item.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        subscription(to_item(item).unwrap()).unwrap().origin
    }

    #[test]
    fn an_origin_belongs_to_the_write_that_it_names() {
        let changed_by = |write| json!({CHANGED_BY: {"write": write, "cause": "REPLACED", "source": "API"}});
        let origin = origin_in(&changed_by("w2")).unwrap();
        assert_eq!((origin.cause, origin.source), (Cause::Replaced, Source::Api));
        // An earlier version of this service leaves the origin of the write before.
        assert_eq!(origin_in(&changed_by("w1")), None);
        // Another system may have written anything. The subscription stays readable.
        for changed_by in
            [json!(null), json!("x"), json!({"write": "w2"}), json!({"write": "w2", "cause": "X"})]
        {
            assert_eq!(origin_in(&json!({CHANGED_BY: changed_by})), None);
        }
        assert_eq!(origin_in(&json!({})), None);
    }
}
