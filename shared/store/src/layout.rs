//! The layout of the tables: the one place that names an attribute.
//!
//! | table | key `pk`, and the range key of the last three | attributes |
//! |---|---|---|
//! | subscriptions | `<tenant>#<subscriptionId>` | `document` (the wire shape, most of it compressed), `version`, `writeId`, `changedBy` (what made that write), `cancellationId` and `cancellation` once there was one, `dueShard` and `dueAt` while one is pending; `msisdn` and `customerId` (hashes, for the indexes of those names); `erasedAt` once everything personal is erased |
//! | subscriptions | `<tenant>#rid_<referenceId>` | `subscriptionId`: a pointer, which makes reference ids unique and readable with consistency |
//! | idempotency | `<tenant>#<key>` | `fingerprint`, `status`, `headers`, `body` (compressed), `requestId`, `expiresAt`, `removeAt` (epoch seconds, the latter DynamoDB's TTL) |
//! | tenants | `<tenant>` | `name`, `timeZone`; `pausedAt`, `pausedBy` and `pausedFor` (`ALL`, `MOVED`, or `RESTORE` and the time of a backup) while its cancellations are paused; `restoring` (the same) until a restore is complete |
//! | tenants | `<tenant>#<keyId>` | `name`, `secretHash`, `lastFour`, `scopes`, `createdAt`, `expiresAt`, `revokedAt` |
//! | history | `<tenant>#<subscriptionId>`, `<version>-<writeId>` with 20 digits | `follows` (the revision before), `at`, `cause`, `source`, `requestedBy`, `requestId`, `cancellation`, `state`, `replaced`, `status`, `pendingStatus` |
//! | webhooks | `<tenant>`, `<webhookId>` | `url`, `events` (types; none means all), `addresses`, `secret`, `formerSecret` and `formerUntil` after a rotation, `disabledAt` and `disabledBy` while disabled, `createdAt` |
//! | deliveries | `<tenant>#<eventId>`, `event` | `event` (compressed), `removeAt` |
//! | deliveries | `<tenant>#<eventId>`, `<webhookId>#<at>#<number>` | an attempt: `webhook` (`<tenant>#<webhookId>`) and `at` (the index `attempts`), `eventId`, `type`, `number`, `milliseconds`, `status`, `answer`, `outcome`, `nextAt`, `removeAt` |
//!
//! Instants are RFC 3339 in UTC, to the second where they are compared, so that they sort as text.
//!
//! Another system that writes a subscription's item must raise `version` by one, on the condition of the version it read, and
//! change nothing else but `document`. `infra/README.md` says more, under "Write to the table from another system".

use domain::identifiers::{KeyId, ReferenceId, SubscriptionId, TenantId, WebhookId};
use domain::stored::Revision;
use uuid::Uuid;

/// The hash key of every table.
pub(super) const PK: &str = "pk";

/// The range key of the history: the revision of a subscription that a change made.
pub(super) const REVISION: &str = "revision";

/// The range key of the webhooks.
pub(super) const WEBHOOK_ID: &str = "webhookId";

/// The range key of the deliveries: an event, or an attempt to post it.
pub(super) const PART: &str = "part";
/// The part that is the event.
pub(super) const EVENT_PART: &str = "event";

// The attributes of a subscription.
pub(super) const DOCUMENT: &str = "document";
pub(super) const VERSION: &str = "version";
pub(super) const WRITE_ID: &str = "writeId";
pub(super) const CHANGED_BY: &str = "changedBy";
pub(super) const CANCELLATION: &str = "cancellation";
pub(super) const CANCELLATION_ID: &str = "cancellationId";
pub(super) const DUE_SHARD: &str = "dueShard";
pub(super) const DUE_AT: &str = "dueAt";
pub(super) const MSISDN: &str = "msisdn";
pub(super) const CUSTOMER_ID: &str = "customerId";
pub(super) const ERASED_AT: &str = "erasedAt";

// The members of a document that are read or written individually.
pub(super) const STATUS: &str = "status";
pub(super) const UPDATED_AT: &str = "updatedAt";
pub(super) const CANCELLED_AT: &str = "cancelledAt";
pub(super) const PENDING_STATUS: &str = "pendingStatus";
pub(super) const PENDING_MSISDN: &str = "pendingMsisdn";
pub(super) const PENDING_PRODUCT_OFFERING: &str = "pendingProductOffering";
pub(super) const REFERENCE_ID: &str = "referenceId";
pub(super) const COMPRESSED: &str = "compressed";

// The members of a cancellation.
pub(super) const SCHEDULED_AT: &str = "scheduledAt";
pub(super) const EFFECTIVE_AT: &str = "effectiveAt";
pub(super) const REASON: &str = "reason";
pub(super) const WITHDRAWN_AT: &str = "withdrawnAt";
pub(super) const EXECUTED_AT: &str = "executedAt";

// The attribute of a reference id.
pub(super) const SUBSCRIPTION_ID: &str = "subscriptionId";

// The attributes of a tenant, and of an API key.
pub(super) const NAME: &str = "name";
pub(super) const TIME_ZONE: &str = "timeZone";
pub(super) const PAUSED_AT: &str = "pausedAt";
pub(super) const PAUSED_BY: &str = "pausedBy";
pub(super) const PAUSED_FOR: &str = "pausedFor";
pub(super) const RESTORING: &str = "restoring";
pub(super) const SECRET_HASH: &str = "secretHash";
pub(super) const LAST_FOUR: &str = "lastFour";
pub(super) const SCOPES: &str = "scopes";
pub(super) const CREATED_AT: &str = "createdAt";
pub(super) const EXPIRES_AT: &str = "expiresAt";
pub(super) const REVOKED_AT: &str = "revokedAt";

// The attributes of a webhook.
pub(super) const SECRET: &str = "secret";
pub(super) const FORMER_SECRET: &str = "formerSecret";
pub(super) const FORMER_UNTIL: &str = "formerUntil";
pub(super) const DISABLED_AT: &str = "disabledAt";
pub(super) const DISABLED_BY: &str = "disabledBy";

// The attributes of an attempt that its index has as keys.
pub(super) const WEBHOOK: &str = "webhook";
pub(super) const AT: &str = "at";

// The members of an entry of the history that are searched.
pub(super) const REQUESTED_BY: &str = "requestedBy";
pub(super) const KEY_ID: &str = "keyId";

// The attributes of a recorded answer.
pub(super) const HEADERS: &str = "headers";
pub(super) const BODY: &str = "body";

/// The members of a document that a write other than an import's sets or removes. They are attributes of their own; the others are
/// compressed.
pub(super) const CHANGING: [&str; 6] =
    [STATUS, UPDATED_AT, CANCELLED_AT, PENDING_STATUS, PENDING_MSISDN, PENDING_PRODUCT_OFFERING];

/// The placeholder for `status` in expressions, where DynamoDB reserves that word.
pub(super) const STATUS_IN_EXPRESSIONS: &str = "#status";

/// Returns the attributes that decide whether a cancellation is pending, and its reason. None of them holds personal data.
pub(super) fn claims() -> String {
    let of_document = [STATUS_IN_EXPRESSIONS, PENDING_STATUS].map(|member| format!("{DOCUMENT}.{member}"));
    let of_cancellation = [CANCELLATION_ID, SCHEDULED_AT, EFFECTIVE_AT, REASON, WITHDRAWN_AT];
    let of_cancellation = of_cancellation.map(|member| format!("{CANCELLATION}.{member}"));
    let attributes = [PK, CANCELLATION_ID, DUE_SHARD, DUE_AT].map(str::to_owned);
    [&attributes[..], &of_document, &of_cancellation].concat().join(", ")
}

pub(super) fn subscription_key(tenant: &TenantId, id: SubscriptionId) -> String {
    format!("{tenant}#{id}")
}

/// Returns a revision as text that sorts by its version.
///
/// The write id is part of it: after a table was restored, or a subscription was removed and added again, versions repeat.
pub(super) fn revision_key(revision: &Revision) -> String {
    match &revision.write_id {
        Some(write_id) => format!("{:020}-{write_id}", revision.version),
        None => format!("{:020}", revision.version),
    }
}

/// Reads a revision from such a text.
pub(super) fn read_revision_key(text: &str) -> Option<Revision> {
    let (version, write_id) = match text.split_once('-') {
        Some((version, write_id)) => (version, Some(write_id.parse().ok()?)),
        None => (text, None),
    };
    let is_sorted = version.len() == 20 && version.bytes().all(|byte| byte.is_ascii_digit());
    is_sorted.then_some(Revision { version: version.parse().ok()?, write_id })
}

/// Returns the prefix of the keys of everything that belongs to a tenant.
pub(super) fn tenant_prefix(tenant: &TenantId) -> String {
    format!("{tenant}#")
}

pub(super) fn reference_key(tenant: &TenantId, reference: &ReferenceId) -> String {
    format!("{tenant}#rid_{reference}")
}

pub(super) fn tenant_key(tenant: &TenantId) -> String {
    tenant.to_string()
}

/// Returns the key of a webhook in the index of attempts.
pub(super) fn webhook_key(tenant: &TenantId, id: WebhookId) -> String {
    format!("{tenant}#{id}")
}

pub(super) fn event_key(tenant: &TenantId, event_id: Uuid) -> String {
    format!("{tenant}#{event_id}")
}

/// Returns the part of an event that is an attempt of this number, which begins at this time.
pub(super) fn attempt_part(webhook: WebhookId, at: &str, number: u32) -> String {
    format!("{webhook}#{at}#{number}")
}

pub(super) fn api_key_key(tenant: &TenantId, key: &KeyId) -> String {
    format!("{tenant}#{key}")
}
