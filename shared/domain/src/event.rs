//! Events: the changes of a subscription that are published.
//!
//! An event is decided from one write alone: the subscription before and after it, and its time. So one write always gives the same
//! event with the same id, and a receiver that gets an event twice recognises it. A change that callers can't see has no event.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_with::skip_serializing_none;
use strum::VariantArray;
use uuid::{Uuid, uuid};

use crate::cancellation::{CancellationState, Reason};
use crate::identifiers::{CancellationId, SubscriptionId, TenantId};
use crate::origin::{Cause, Origin};
use crate::standing::Standing;
use crate::stored::{Revision, StoredSubscription};
use crate::subscription::{Status, Subscription};

/// The source of the events, as EventBridge names it.
pub const SOURCE: &str = "connect.subscriptions";

/// The namespace of the event ids, which are UUIDs of version 5 (RFC 9562, section 5.5).
const NAMESPACE: Uuid = uuid!("4f0c6a1e-6d0b-4e0e-9a57-3c1d2b7a9e45");

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, VariantArray)]
pub enum EventType {
    /// The subscription changed: a cancellation was scheduled, replaced or withdrawn, or the document was imported anew.
    #[serde(rename = "subscription.updated")]
    Updated,
    /// The status of the subscription became CANCELLED.
    #[serde(rename = "subscription.cancelled")]
    Cancelled,
}

impl EventType {
    /// The type as it is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Updated => "subscription.updated",
            Self::Cancelled => "subscription.cancelled",
        }
    }
}

/// The part of a cancellation that an event contains.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventCancellation {
    /// The id of the cancellation.
    pub cancellation_id: CancellationId,
    /// The state of the cancellation.
    pub state: CancellationState,
    /// The tenant's local date on which the cancellation takes effect, or did.
    pub scheduled_at: Option<NaiveDate>,
    /// The instant at which the cancellation takes effect, or did.
    pub effective_at: DateTime<Utc>,
    /// The reason. Absent if the cancellation was imported with its subscription.
    pub reason: Option<Reason>,
}

/// An event, as it is sent.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The id of the event: the same each time that it is published.
    pub event_id: Uuid,
    /// The type of the event.
    pub r#type: EventType,
    /// The version of the subscription after the change: one more with each change, so it puts events in order.
    pub version: u64,
    /// The kind of change.
    pub cause: Cause,
    /// The time of the change. For a cancellation that took effect, the instant at which it was due; for an import, the time of the
    /// write.
    pub occurred_at: DateTime<Utc>,
    /// The latest cancellation of the subscription. Absent if there is none, or if its state is unclear.
    pub cancellation: Option<EventCancellation>,
    /// The subscription after the change.
    pub data: Subscription,
}

/// Decides which event a write of a tenant's subscription is, if any. `written_at` is the time of the write, by the database's
/// clock.
#[must_use]
pub fn decide_event(
    tenant: &TenantId,
    before: &StoredSubscription,
    after: StoredSubscription,
    written_at: DateTime<Utc>,
) -> Option<Event> {
    if after.document == before.document && after.cancellation == before.cancellation {
        return None;
    }
    let is_cancelled = |stored: &StoredSubscription| stored.document.status == Status::Cancelled;
    let took_effect = is_cancelled(&after) && !is_cancelled(before);
    let r#type = if took_effect { EventType::Cancelled } else { EventType::Updated };
    let cause = after.origin_of_write(before);
    let cause = cause.map_or_else(|| inferred_cause(before, &after), |origin| origin.cause);
    let occurred_at = match cause {
        Cause::Executed => after.document.cancelled_at,
        Cause::Imported => None,
        Cause::Scheduled | Cause::Replaced | Cause::Withdrawn | Cause::Erased => after.document.updated_at,
    };
    let cancellation = event_cancellation(before, &after);
    let StoredSubscription { document: data, revision, .. } = after;
    Some(Event {
        event_id: event_id(tenant, data.subscription_id, &revision, r#type),
        r#type,
        version: revision.version,
        cause,
        occurred_at: occurred_at.unwrap_or(written_at),
        cancellation,
        data,
    })
}

/// The id of the event of this type about the change that made this revision, if there is one.
#[must_use]
pub fn event_id(tenant: &TenantId, id: SubscriptionId, revision: &Revision, r#type: EventType) -> Uuid {
    let name = format!("{tenant}#{id}/{revision}/{}", r#type.as_str());
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

impl StoredSubscription {
    /// The origin of the write that changed `before` into this. `None` if an earlier version of this service wrote it, or another
    /// system did: those leave the origin of the write before.
    pub(crate) fn origin_of_write(&self, before: &Self) -> Option<&Origin> {
        let is_ours = self.revision.write_id != before.revision.write_id;
        self.origin.as_ref().filter(|_| is_ours)
    }
}

/// Infers the cause of a write without an origin.
pub(crate) fn inferred_cause(before: &StoredSubscription, after: &StoredSubscription) -> Cause {
    let (was, is) = (before.pending_cancellation(), after.pending_cancellation());
    let same_kept = || {
        let id = |stored: &StoredSubscription| stored.cancellation.as_ref().map(|kept| kept.cancellation_id);
        id(before) == id(after)
    };
    match (was, is) {
        (Some(_), None)
            if same_kept()
                && after.standing() == Standing::NotPending
                && after.document.status == Status::Cancelled =>
        {
            Cause::Executed
        }
        (_, None) if same_kept() && is_withdrawn(after) && !is_withdrawn(before) => Cause::Withdrawn,
        (Some(was), Some(is)) if was.cancellation_id == is.cancellation_id && was.entry() != is.entry() => {
            Cause::Replaced
        }
        (Some(was), Some(is)) if was.cancellation_id != is.cancellation_id && is.requested_by.is_some() => {
            Cause::Replaced
        }
        (None, Some(is)) if is.requested_by.is_some() && !same_kept() => Cause::Scheduled,
        _ => Cause::Imported,
    }
}

fn is_withdrawn(stored: &StoredSubscription) -> bool {
    stored.cancellation.as_ref().is_some_and(|kept| kept.withdrawn_at.is_some())
}

/// The latest cancellation after a write; `None` if its state is unclear.
fn event_cancellation(before: &StoredSubscription, after: &StoredSubscription) -> Option<EventCancellation> {
    let kept = after.cancellation.as_ref()?;
    let state = after.cancellation_state()?;
    // A cancellation that an earlier version of this service wrote has no date of its own.
    let date_in = |stored: &StoredSubscription| {
        stored.document.pending_status.as_ref().map(|pending| pending.scheduled_at)
    };
    Some(EventCancellation {
        cancellation_id: kept.cancellation_id,
        state,
        scheduled_at: kept.scheduled_at.or_else(|| date_in(after)).or_else(|| date_in(before)),
        effective_at: kept.effective_at,
        reason: kept.reason,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cancellation::Cancellation;
    use crate::origin::{Author, Cause};
    use crate::standing::IndexEntry;

    const AT: &str = "2026-02-01T00:00:05Z";
    const ID: &str = "00000000-0000-4000-8000-000000000001";
    const OTHER_ID: &str = "00000000-0000-4000-8000-000000000002";

    fn subscription(document: Value) -> Subscription {
        let mut all =
            json!({"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "ACTIVATED"});
        all.as_object_mut().unwrap().extend(document.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn revision(version: u64) -> Revision {
        Revision { version, write_id: format!("w{version}").parse().ok() }
    }

    /// A subscription without a cancellation.
    fn plain(version: u64, document: Value) -> StoredSubscription {
        StoredSubscription::new(subscription(document), revision(version), None, None)
    }

    fn cancellation(id: &str, more: Value) -> Cancellation {
        let mut all = json!({
            "cancellationId": id,
            "scheduledAt": "2026-02-01",
            "effectiveAt": "2026-01-31T23:00:00Z",
            "reason": "NO_NEED",
            "requestedAt": "2026-01-31T22:30:00Z",
            "requestedBy": "k1",
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn pending(version: u64, cancellation: Cancellation) -> StoredSubscription {
        let document = json!({
            "updatedAt": "2026-01-31T22:30:00.5Z",
            "pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-02-01"},
        });
        with(version, document, cancellation, true)
    }

    fn with(version: u64, document: Value, kept: Cancellation, is_due: bool) -> StoredSubscription {
        let entry = is_due.then(|| kept.entry());
        StoredSubscription::new(subscription(document), revision(version), Some(kept), entry)
    }

    fn event(before: &StoredSubscription, after: &StoredSubscription) -> Option<Event> {
        decide_event(&"demo".parse().unwrap(), before, after.clone(), AT.parse().unwrap())
    }

    #[test]
    fn an_event_has_the_shape_of_the_contract() {
        let before = plain(1, json!({"updatedAt": "2026-01-01T00:00:00Z"}));
        let after = pending(2, cancellation(ID, json!({"comment": "moved", "metadata": "{}"})));
        let told = event(&before, &after).unwrap();
        assert_eq!(
            json!(told),
            json!({
                "eventId": told.event_id,
                "type": "subscription.updated",
                "version": 2,
                "cause": "SCHEDULED",
                "occurredAt": "2026-01-31T22:30:00.500Z",
                "cancellation": {
                    "cancellationId": ID,
                    "state": "PENDING",
                    "scheduledAt": "2026-02-01",
                    "effectiveAt": "2026-01-31T23:00:00Z",
                    "reason": "NO_NEED",
                },
                "data": {
                    "subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1",
                    "status": "ACTIVATED",
                    "updatedAt": "2026-01-31T22:30:00.500Z",
                    "pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-02-01"},
                },
            })
        );
    }

    #[test]
    fn each_event_names_its_cause_and_the_state_of_the_cancellation() {
        let first = pending(2, cancellation(ID, json!({})));
        let second = pending(3, cancellation(OTHER_ID, json!({"reason": "FRAUD"})));
        let withdrawn = with(
            4,
            json!({"updatedAt": "2026-01-31T22:40:00Z"}),
            cancellation(OTHER_ID, json!({"withdrawnAt": "2026-01-31T22:40:00Z", "withdrawnBy": "k1"})),
            false,
        );
        let again = pending(5, cancellation(ID, json!({})));
        let executed = with(
            6,
            json!({"status": "CANCELLED", "cancelledAt": "2026-01-31T23:00:00Z", "updatedAt": "2026-01-31T23:00:41Z"}),
            cancellation(ID, json!({})),
            false,
        );
        let moved = pending(6, cancellation(ID, json!({"effectiveAt": "2026-02-01T05:00:00Z"})));
        let imported = cancellation(ID, json!({"reason": null, "requestedBy": null}));
        let told = |before: &StoredSubscription, after: &StoredSubscription| {
            let event = event(before, after).unwrap();
            (event.cause, event.cancellation.map(|cancellation| cancellation.state))
        };
        let (is_pending, is_withdrawn) =
            (Some(CancellationState::Pending), Some(CancellationState::Withdrawn));
        let active = plain(1, json!({}));
        assert_eq!(told(&active, &first), (Cause::Scheduled, is_pending));
        assert_eq!(told(&first, &second), (Cause::Replaced, is_pending));
        assert_eq!(told(&second, &withdrawn), (Cause::Withdrawn, is_withdrawn));
        assert_eq!(told(&withdrawn, &again), (Cause::Scheduled, is_pending));
        assert_eq!(told(&again, &executed), (Cause::Executed, Some(CancellationState::Executed)));
        // The time zone has changed.
        assert_eq!(told(&again, &moved), (Cause::Replaced, is_pending));
        // An import.
        assert_eq!(told(&active, &pending(2, imported)), (Cause::Imported, is_pending));
        assert_eq!(told(&first, &plain(3, json!({}))), (Cause::Imported, None));
        assert_eq!(told(&first, &plain(3, json!({"status": "CANCELLED"}))), (Cause::Imported, None));
        let renamed = with(5, json!({"display": "new"}), withdrawn.cancellation.clone().unwrap(), false);
        assert_eq!(told(&withdrawn, &renamed), (Cause::Imported, is_withdrawn));
        // Another system that left out the cancellation.
        let forgotten = with(3, json!({}), cancellation(ID, json!({})), true);
        assert_eq!(told(&first, &forgotten), (Cause::Imported, None));
        let ended = with(3, json!({"status": "CANCELLED"}), cancellation(ID, json!({})), true);
        assert_eq!(told(&first, &ended), (Cause::Imported, None));
    }

    #[test]
    fn the_cause_of_a_write_is_that_of_its_origin_unless_another_system_wrote() {
        let by = |cause| Some(Author::operator(None).change(cause));
        let before = plain(1, json!({})).made_by(by(Cause::Imported));
        let pending =
            pending(2, cancellation(ID, json!({"requestedBy": null}))).made_by(by(Cause::Scheduled));
        assert_eq!(event(&before, &pending).unwrap().cause, Cause::Scheduled);

        // Another system raises the version, and leaves the id and the origin of the write before.
        let mut renamed = pending.clone();
        renamed.document.display = Some("new".to_owned());
        renamed.revision.version += 1;
        assert_eq!(event(&pending, &renamed).unwrap().cause, Cause::Imported);
    }

    #[test]
    fn a_cancellation_stored_without_a_date_gets_the_date_of_the_document() {
        let mut kept = cancellation(ID, json!({}));
        kept.scheduled_at = None;
        let before = pending(2, kept.clone());
        let after = with(3, json!({"status": "CANCELLED"}), kept, false);
        let told = event(&before, &after).unwrap().cancellation.unwrap();
        assert_eq!(told.scheduled_at, "2026-02-01".parse().ok());
    }

    #[test]
    fn a_cancelled_event_occurred_at_the_promised_instant() {
        let before = pending(2, cancellation(ID, json!({})));
        let document = json!({
            "status": "CANCELLED", "cancelledAt": "2026-01-31T23:00:00Z", "updatedAt": "2026-01-31T23:00:41Z",
        });
        let after = with(3, document.clone(), cancellation(ID, json!({})), false);
        let told = event(&before, &after).unwrap();
        assert_eq!(
            (told.r#type, json!(told.occurred_at)),
            (EventType::Cancelled, json!("2026-01-31T23:00:00Z"))
        );

        // A later import changes the subscription, and the cancellation does not take effect again.
        let mut corrected = document;
        corrected["updatedAt"] = json!("2026-02-02T08:00:00Z");
        let told = event(&after, &with(4, corrected, cancellation(ID, json!({})), false)).unwrap();
        assert_eq!((told.r#type, json!(told.occurred_at)), (EventType::Updated, json!(AT)));
    }

    #[test]
    fn an_event_of_an_import_occurred_when_it_was_written() {
        let before = plain(1, json!({"updatedAt": "2026-01-01T00:00:00Z"}));
        for document in [
            json!({"updatedAt": "2026-01-01T00:00:00Z", "display": "new"}),
            json!({"updatedAt": "2027-01-01T00:00:00Z"}),
            json!({}),
            json!({"status": "CANCELLED"}),
        ] {
            assert_eq!(json!(event(&before, &plain(2, document)).unwrap().occurred_at), AT);
        }
    }

    #[test]
    fn a_change_of_hidden_members_makes_no_event() {
        assert_eq!(event(&plain(1, json!({})), &plain(2, json!({"puk": "1234"}))), None);
    }

    #[test]
    fn an_event_id_belongs_to_one_change() {
        let before = plain(1, json!({}));
        let id = |after: &StoredSubscription| event(&before, after).unwrap().event_id;
        let after = plain(2, json!({"display": "a"}));
        let first = id(&after);
        assert_eq!(first.get_version_num(), 5);
        assert_eq!(id(&after), first);
        assert_ne!(id(&plain(3, json!({"display": "a"}))), first);
        assert_ne!(id(&plain(2, json!({"status": "CANCELLED"}))), first);
        // The same version, written anew after the table was restored.
        let rewritten = StoredSubscription::new(
            after.document.clone(),
            Revision { write_id: "other".parse().ok(), ..revision(2) },
            None,
            None::<IndexEntry>,
        );
        assert_ne!(id(&rewritten), first);
        let tenant = "other".parse().unwrap();
        let others = decide_event(&tenant, &before, after, AT.parse().unwrap());
        assert_ne!(others.unwrap().event_id, first);
    }

    #[test]
    fn each_event_type_is_written_as_its_name() {
        for kind in EventType::VARIANTS {
            assert_eq!(json!(kind), kind.as_str());
        }
    }
}
