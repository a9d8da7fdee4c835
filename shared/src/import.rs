//! Which subscriptions from outside are taken in, and what they may take the place of.
//!
//! A document is checked whole before anything is done with it. Over a subscription that is there already it goes
//! only if the operator says so; and over one that is being cancelled, or has been, only if the operator says that
//! too: a file that is older than a customer's word must not undo it.

use chrono::{DateTime, Datelike, Utc};
use serde_json::{Map, Number, Value};

use crate::calendar::Calendar;
use crate::cancellation::Cancellation;
use crate::identifiers::{CancellationId, ReferenceId, SubscriptionId};
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

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SubscriptionId {
        self.subscription.subscription_id
    }

    /// Its reference id.
    #[must_use]
    pub fn reference_id(&self) -> Option<&ReferenceId> {
        self.subscription.reference_id.as_ref()
    }

    /// The document as it came: also what this service doesn't know is kept.
    #[must_use]
    pub fn document(&self) -> &Map<String, Value> {
        &self.document
    }

    /// The cancellation that is pending in it.
    #[must_use]
    pub fn cancellation(&self) -> Option<&Cancellation> {
        self.cancellation.as_ref()
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

/// What an import does with a subscription that is there already, and differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays as it is.
    Keep,
    /// It gets the document that is imported, unless a cancellation of it is pending or has taken effect.
    Update,
    /// It gets the document that is imported. If a cancellation was pending it no longer is, but for one that is
    /// pending in the document.
    Overwrite,
}

/// What is stored under the id of a subscription that is imported.
pub struct Present {
    /// All of its document, also what this service doesn't know.
    pub document: Map<String, Value>,
    /// Counts the writes: +1 with each.
    pub version: u64,
    /// Whether the index of pending cancellations has it.
    pub is_due: bool,
}

impl Present {
    fn is_cancelled_or_will_be(&self) -> bool {
        let cancelled = |status: Option<&Value>| status.and_then(Value::as_str) == Some("CANCELLED");
        let pending = self.document.get("pendingStatus").and_then(|pending| pending.get("status"));
        self.is_due || cancelled(self.document.get("status")) || cancelled(pending)
    }

    fn reference_id(&self) -> Option<ReferenceId> {
        self.document.get("referenceId")?.as_str()?.parse().ok()
    }
}

/// What is to be done with a document that is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportDecision {
    /// Write it: there is no subscription of its id.
    Add,
    /// Write it over this version.
    Replace {
        /// The version that it takes the place of.
        version: u64,
        /// The reference id that the subscription had, and no longer has.
        freed: Option<ReferenceId>,
    },
    /// Write nothing: it is what is stored.
    Unchanged,
    /// Write nothing: what is stored is to be kept.
    Keep,
    /// Write nothing: its reference id belongs to another subscription.
    ReferenceTaken,
}

/// Decides what to do with a document, from what is stored under its id, and from whose its reference id is.
#[must_use]
pub fn decide_import(
    new: &NewSubscription,
    present: Option<&Present>,
    reference_is_of: Option<SubscriptionId>,
    existing: Existing,
) -> ImportDecision {
    let decision = match present {
        None => ImportDecision::Add,
        Some(present) if is_same_object(&present.document, &new.document) => {
            return ImportDecision::Unchanged;
        }
        Some(present) => {
            let keep = match existing {
                Existing::Keep => true,
                Existing::Update => present.is_cancelled_or_will_be(),
                Existing::Overwrite => false,
            };
            if keep {
                return ImportDecision::Keep;
            }
            let freed = present.reference_id().filter(|former| Some(former) != new.reference_id());
            ImportDecision::Replace { version: present.version, freed }
        }
    };
    if reference_is_of.is_some_and(|owner| owner != new.id()) {
        return ImportDecision::ReferenceTaken;
    }
    decision
}

/// Whether two values are the same to DynamoDB, which knows numbers by their value: 20 is 20.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => is_same_number(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => is_same_object(one, other),
        _ => one == other,
    }
}

fn is_same_object(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let has_the_same = |(name, value)| other.get(name).is_some_and(|other| is_same(value, other));
    one.len() == other.len() && one.iter().all(has_the_same)
}

fn is_same_number(one: &Number, other: &Number) -> bool {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one == other,
        _ => one.as_f64() == other.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use serde_json::json;

    use super::*;

    const ID: &str = "a81bc81b-dead-4e5d-abff-90865d1e13b1";

    fn new(mut document: Value) -> NewSubscription {
        document["subscriptionId"] = json!(ID);
        let now = "2026-01-31T22:30:00Z".parse().unwrap();
        NewSubscription::from_json(document, &Calendar::new(Tz::UTC, now), now).unwrap()
    }

    fn present(document: Value) -> Present {
        let is_due = document.get("pendingStatus").is_some();
        Present { document: new(document).document, version: 7, is_due }
    }

    fn decide(document: Value, present: Option<&Present>, existing: Existing) -> ImportDecision {
        decide_import(&new(document), present, None, existing)
    }

    #[test]
    fn what_is_there_stays_unless_the_operator_says_otherwise() {
        let renamed = || json!({"status": "ACTIVATED", "display": "new"});
        let there = present(json!({"status": "ACTIVATED", "display": "old"}));
        let replace = ImportDecision::Replace { version: 7, freed: None };
        assert_eq!(decide(renamed(), None, Existing::Keep), ImportDecision::Add);
        assert_eq!(decide(renamed(), Some(&there), Existing::Keep), ImportDecision::Keep);
        assert_eq!(decide(renamed(), Some(&there), Existing::Update), replace);
        assert_eq!(decide(renamed(), Some(&there), Existing::Overwrite), replace);
    }

    #[test]
    fn a_cancellation_pending_or_done_is_only_overwritten_on_request() {
        let active = || json!({"status": "ACTIVATED"});
        let pending = json!({"status": "CANCELLED", "scheduledAt": "2026-03-01"});
        let pending = present(json!({"status": "ACTIVATED", "pendingStatus": pending}));
        let unnamed = Present { is_due: true, ..present(json!({"status": "PAUSED"})) };
        let done = present(json!({"status": "CANCELLED", "cancelledAt": "2026-01-01T00:00:00Z"}));
        for there in [pending, unnamed, done] {
            assert_eq!(decide(active(), Some(&there), Existing::Keep), ImportDecision::Keep);
            assert_eq!(decide(active(), Some(&there), Existing::Update), ImportDecision::Keep);
            let replace = ImportDecision::Replace { version: 7, freed: None };
            assert_eq!(decide(active(), Some(&there), Existing::Overwrite), replace);
        }
    }

    #[test]
    fn what_is_the_same_is_not_written_again() {
        let document = |price: Value| json!({"status": "PAUSED", "extensions": {"a": [price, {"b": null}]}});
        let there = present(document(json!(20)));
        assert_eq!(
            decide(document(json!(20.0)), Some(&there), Existing::Overwrite),
            ImportDecision::Unchanged
        );
        for other in [json!(20.5), json!("20"), json!(null)] {
            let decision = decide(document(other), Some(&there), Existing::Update);
            assert_ne!(decision, ImportDecision::Unchanged);
        }
        let exact = |number: u64| document(json!(number));
        let there = present(exact(9_007_199_254_740_993));
        assert_ne!(
            decide(exact(9_007_199_254_740_992), Some(&there), Existing::Update),
            ImportDecision::Unchanged
        );
    }

    #[test]
    fn a_reference_id_names_one_subscription_and_is_free_when_it_names_none() {
        let named = |reference: &str| json!({"status": "ACTIVATED", "referenceId": reference});
        let other = "a81bc81b-dead-4e5d-abff-90865d1e13b2".parse().ok();
        let taken = decide_import(&new(named("r")), None, other, Existing::Keep);
        assert_eq!(taken, ImportDecision::ReferenceTaken);
        let ours = decide_import(&new(named("r")), None, ID.parse().ok(), Existing::Keep);
        assert_eq!(ours, ImportDecision::Add);

        let there = present(named("old"));
        let freed = "old".parse().ok();
        let replace = ImportDecision::Replace { version: 7, freed };
        assert_eq!(decide(named("new"), Some(&there), Existing::Update), replace);
        assert_eq!(decide(json!({"status": "ACTIVATED"}), Some(&there), Existing::Update), replace);
    }
}
