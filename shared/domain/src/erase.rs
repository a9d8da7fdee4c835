//! Erasing: the decision to remove everything personal from a cancelled subscription, and what stays of its parts.
//!
//! The rest tells that there was a subscription, and when and for which reason it ended: ids, status, dates, the code of the reason,
//! the API keys and the operators. Names, numbers, references, comments, metadata and the users of callers go.

use chrono::{DateTime, Utc};

use crate::cancellation::Cancellation;
use crate::change::updated_at;
use crate::history::HistoryEntry;
use crate::identifiers::{ReferenceId, SubscriptionId, WriteId};
use crate::origin::{Author, Cause, Origin, Requester};
use crate::standing::Standing;
use crate::stored::StoredSubscription;
use crate::subscription::{Status, Subscription};

/// A write after which a subscription has these parts and nothing else.
#[derive(Clone, PartialEq)]
pub struct Erasure {
    /// The version that it was decided from, which must still hold.
    pub decided_from: u64,
    /// The id of the write.
    pub write_id: WriteId,
    /// The origin of the write.
    pub origin: Origin,
    /// The document.
    pub document: Subscription,
    /// The latest cancellation, if there was one.
    pub cancellation: Option<Cancellation>,
    /// The reference id that the subscription had.
    pub freed: Option<ReferenceId>,
}

/// The reason for which a subscription is not erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotErasable {
    /// The subscription still runs, or will.
    #[error("it is {0}, and only a CANCELLED subscription is erased")]
    NotCancelled(Status),
    /// The parts of the subscription contradict each other.
    #[error("its parts contradict each other; connect cancellations repair fixes that")]
    Contradictory,
}

/// Decides to erase a subscription.
///
/// # Errors
/// The subscription is not cancelled, or contradictory.
pub fn decide_erasure(
    stored: &StoredSubscription,
    write_id: WriteId,
    author: &Author,
    now: DateTime<Utc>,
) -> Result<Erasure, NotErasable> {
    let document = &stored.document;
    match stored.standing() {
        Standing::NotPending if document.status == Status::Cancelled => {}
        Standing::NotPending | Standing::Pending => {
            return Err(NotErasable::NotCancelled(document.status));
        }
        Standing::Contradictory(_) => return Err(NotErasable::Contradictory),
    }
    let updated_at = updated_at(document.updated_at, now);
    Ok(Erasure {
        decided_from: stored.revision.version,
        write_id,
        origin: author.change(Cause::Erased),
        document: Subscription { updated_at: Some(updated_at), ..document.erased() },
        cancellation: stored.cancellation.as_ref().map(Cancellation::erased),
        freed: document.reference_id.clone(),
    })
}

impl Subscription {
    /// The document without everything personal.
    #[must_use]
    pub fn erased(&self) -> Self {
        Self {
            subscription_id: self.subscription_id,
            status: self.status,
            activated_at: self.activated_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            cancelled_at: self.cancelled_at,
            pending_status: self.pending_status.clone(),
            kind: None,
            display: None,
            msisdn: None,
            customer: None,
            customer_id: None,
            product_offering: None,
            product_offering_id: None,
            sim: None,
            subscriber: None,
            subscriber_id: None,
            reference_id: None,
            extensions: None,
            pending_msisdn: None,
            pending_product_offering: None,
            porting: None,
            metadata: None,
        }
    }
}

impl Cancellation {
    /// The cancellation without everything personal. A user beside an API key is the caller's, and may be the customer; one without a
    /// key is an operator.
    #[must_use]
    pub fn erased(&self) -> Self {
        Self {
            comment: None,
            metadata: None,
            requested_for: self.requested_for.clone().filter(|_| self.requested_by.is_none()),
            withdrawn_for: self.withdrawn_for.clone().filter(|_| self.withdrawn_by.is_none()),
            ..self.clone()
        }
    }
}

impl HistoryEntry {
    /// The entry without everything personal.
    #[must_use]
    pub fn erased(&self) -> Self {
        let requester = |requester: &Requester| Requester {
            actor: requester.actor.clone().filter(|_| requester.key_id.is_none()),
            ..requester.clone()
        };
        Self {
            requested_by: self.requested_by.as_ref().map(requester),
            cancellation: self.cancellation.as_ref().map(|(kept, state)| (kept.erased(), *state)),
            replaced: self.replaced.as_ref().map(Cancellation::erased),
            ..self.clone()
        }
    }
}

/// A recorded answer without everything personal, if it shows a subscription that is erased, and something is to be erased.
#[must_use]
pub fn erased_answer(body: &str, is_erased: impl Fn(SubscriptionId) -> bool) -> Option<String> {
    let shown: Subscription = serde_json::from_str(body).ok()?;
    let erased = shown.erased();
    (is_erased(shown.subscription_id) && shown != erased)
        .then(|| serde_json::to_string(&erased).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::*;

    fn operator() -> Author {
        Author::operator("anna".parse().ok())
    }

    /// A cancelled subscription with every member that the contract has, and its cancellation.
    fn cancelled() -> StoredSubscription {
        let asked = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(cancel(Some(stored(Status::Activated)), &asked, &asking()));
        let mut whole: Subscription = serde_json::from_value(json!({
            "subscriptionId": pending.document.subscription_id, "status": "CANCELLED", "type": "secret", "display": "secret",
            "msisdn": "secret", "customer": {"customerId": "secret", "name": "secret"}, "customerId": "secret",
            "productOffering": {"name": "secret"}, "productOfferingId": "secret", "sim": {"iccid": "secret"},
            "subscriber": {"firstName": "secret"}, "subscriberId": "secret", "activatedAt": "2020-01-01T00:00:00Z",
            "createdAt": "2020-01-01T00:00:00Z", "updatedAt": "2026-02-01T00:00:00Z", "referenceId": "secret",
            "extensions": {"secret": 1}, "pendingMsisdn": {"msisdn": "secret", "scheduledAt": "2026-03-01"},
            "pendingProductOffering": {"scheduledAt": "2026-03-01"}, "porting": {"status": "SCHEDULED", "direction": "OUTBOUND"},
            "metadata": {"secret": 1},
        }))
        .unwrap();
        whole.cancelled_at = "2026-01-31T23:00:00Z".parse().ok();
        StoredSubscription::new(whole, pending.revision, pending.cancellation, None)
    }

    #[test]
    fn only_ids_status_dates_and_the_reason_stay() {
        let stored = cancelled();
        let now = "2026-03-01T08:00:00Z".parse().unwrap();
        let Erasure { document, cancellation, freed, origin, .. } =
            decide_erasure(&stored, uuid().into(), &operator(), now).unwrap();
        assert_eq!(
            json!(document),
            json!({
                "subscriptionId": stored.document.subscription_id, "status": "CANCELLED",
                "activatedAt": "2020-01-01T00:00:00Z", "createdAt": "2020-01-01T00:00:00Z",
                "updatedAt": "2026-03-01T08:00:00Z", "cancelledAt": "2026-01-31T23:00:00Z",
            })
        );
        let before = stored.cancellation.as_ref().unwrap();
        assert!(before.comment.is_some() && before.requested_for.is_some());
        let kept = cancellation.unwrap();
        assert_eq!((&kept.comment, &kept.metadata, &kept.requested_for), (&None, &None, &None));
        assert_eq!((kept.reason, &kept.requested_by), (Some(Reason::NoNeed), &before.requested_by));
        assert_eq!(freed, "secret".parse().ok());
        assert_eq!(origin, operator().change(Cause::Erased));
    }

    #[test]
    fn the_operator_of_a_batch_stays_and_the_user_of_a_caller_goes() {
        let kept = cancelled().cancellation.unwrap();
        let of_batch = Cancellation { requested_by: None, ..kept.clone() };
        assert_eq!(of_batch.erased().requested_for, kept.requested_for);
        let by_key =
            Requester { key_id: "k1".parse().ok(), actor: "agent-17".parse().ok(), ..Requester::default() };
        let entry = HistoryEntry {
            requested_by: Some(by_key.clone()),
            ..HistoryEntry::of_present(&cancelled(), "2026-02-01T00:00:00Z".parse().unwrap())
        };
        assert_eq!(entry.erased().requested_by, Some(Requester { actor: None, ..by_key }));
        assert_eq!(entry.erased().cancellation.unwrap().0.comment, None);
    }

    #[test]
    fn a_subscription_that_runs_or_will_end_is_not_erased() {
        let now = "2026-03-01T08:00:00Z".parse().unwrap();
        let decide =
            |stored: &StoredSubscription| decide_erasure(stored, uuid().into(), &operator(), now).err();
        let running = stored(Status::Activated);
        assert_eq!(decide(&running), Some(NotErasable::NotCancelled(Status::Activated)));
        let asked = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(cancel(Some(running), &asked, &asking()));
        assert_eq!(decide(&pending), Some(NotErasable::NotCancelled(Status::Activated)));
        // It is CANCELLED, and the index says that it will be.
        let document = Subscription { status: Status::Cancelled, ..pending.document };
        let entry = pending.cancellation.as_ref().map(Cancellation::entry);
        let contradictory = StoredSubscription::new(document, pending.revision, pending.cancellation, entry);
        assert_eq!(decide(&contradictory), Some(NotErasable::Contradictory));
    }

    #[test]
    fn an_answer_that_shows_the_subscription_is_erased_and_no_other() {
        let document = cancelled().document;
        let (id, body) = (document.subscription_id, json!(document).to_string());
        let erased = erased_answer(&body, |other| other == id).unwrap();
        assert!(!erased.contains("secret") && erased.contains(&id.to_string()), "{erased}");
        assert_eq!(erased_answer(&body, |other| other != id), None);
        // Nothing is left to erase, or it is a problem.
        assert_eq!(erased_answer(&erased, |_| true), None);
        assert_eq!(erased_answer(r#"{"code": "subscription_not_found"}"#, |_| true), None);
    }
}
