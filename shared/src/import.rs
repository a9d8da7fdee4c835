//! Which subscriptions from outside are taken in, and what they may take the place of.
//!
//! A document is checked whole before anything is done with it. Over a subscription that is there already it goes
//! only if the operator says so; and over one that is being cancelled, or has been, only if the operator says that
//! too: a file that is older than a customer's word must not undo it.

mod stored;

use std::collections::HashMap;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde_dynamo::{AttributeValue, to_item};
use serde_json::{Map, Value};

use self::stored::{is_same_map, keep_unseen};
use crate::calendar::Calendar;
use crate::cancellation::Cancellation;
use crate::identifiers::{CancellationId, ReferenceId, SubscriptionId};
use crate::subscription::{Status, Subscription};

/// A document as a database holds it: numbers to the digit, sets, and what this service knows nothing of.
pub type StoredDocument = HashMap<String, AttributeValue>;

/// A subscription from outside, checked.
#[derive(Clone)]
pub struct NewSubscription {
    subscription: Subscription,
    document: StoredDocument,
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
        let Value::Object(document) = document else {
            return Err(invalid("expected an object"));
        };
        let subscription: Subscription = serde_path_to_error::deserialize(&document)
            .map_err(|error| InvalidSubscription(fault(&error)))?;
        let document = in_one_spelling(&subscription, document)
            .ok_or_else(|| invalid("something in it can't be stored"))?;

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
                    withdrawn_at: None,
                    withdrawn_by: None,
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

    /// Whether the date of the cancellation that is pending in it had begun when it was read.
    fn is_overdue(&self) -> bool {
        self.cancellation.as_ref().is_some_and(|pending| pending.effective_at <= pending.requested_at)
    }

    /// The document, to be stored: what this service knows in the one spelling that it has, and beside it what came with
    /// it. Numbers are doubles, as JSON's are wherever it is read (RFC 8259, section 6).
    #[must_use]
    pub fn document(&self) -> &StoredDocument {
        &self.document
    }

    /// The cancellation that is pending in it.
    #[must_use]
    pub fn cancellation(&self) -> Option<&Cancellation> {
        self.cancellation.as_ref()
    }
}

/// A document in which a date, an instant, an id is written in one way, whatever way it came in, so that it can be compared;
/// with what this service doesn't know.
fn in_one_spelling(subscription: &Subscription, came: Map<String, Value>) -> Option<StoredDocument> {
    fn add_unknown(known: &mut Map<String, Value>, came: Map<String, Value>) {
        for (name, value) in came {
            match (known.get_mut(&name), value) {
                (_, Value::Null) => {}
                (None, value) => {
                    known.insert(name, value);
                }
                (Some(Value::Object(known)), Value::Object(came)) => add_unknown(known, came),
                (Some(_), _) => {}
            }
        }
    }
    let Value::Object(mut document) = serde_json::to_value(subscription).ok()? else { return None };
    add_unknown(&mut document, came);
    to_item::<_, serde_dynamo::Item>(document).ok().map(serde_dynamo::Item::into_inner)
}

/// Where serde found something wrong, and what it expected there; not what it found, which may be personal.
fn fault(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    let place = error.path().to_string();
    // The last one: the value that was found is quoted before it.
    let expected = match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        // What chrono says of a text that is no time does not say what would be one.
        None if place.ends_with("scheduledAt") => "expected a date (2026-12-31)".to_owned(),
        None if place.ends_with("At") => "expected an instant (2026-12-31T23:00:00Z)".to_owned(),
        None => text,
    };
    if place == "." { expected } else { format!("{place}: {expected}") }
}

/// What an import does with a subscription that is there already, and differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays as it is.
    Keep,
    /// It gets the document that is imported, unless that would undo or change a cancellation that is pending or has taken
    /// effect, or bring one back that was withdrawn.
    Update,
    /// It gets the document that is imported, and with it that document's cancellation, or none.
    Overwrite,
}

/// What an import may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// With what is there already.
    pub existing: Existing,
    /// Whether a cancellation is taken in whose date has begun. It is executed at once.
    pub takes_overdue: bool,
}

/// What is stored under the id of a subscription that is imported.
pub struct Present {
    /// What callers see of it.
    pub subscription: Subscription,
    /// All of its document.
    pub document: StoredDocument,
    /// Counts the writes: +1 with each.
    pub version: u64,
    /// Whether the index of pending cancellations has it.
    pub is_due: bool,
    /// Whether its last cancellation was withdrawn.
    pub is_withdrawn: bool,
}

/// Where the cancellation of a subscription stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// There is none.
    None,
    /// It takes effect on this date.
    Pending(Option<NaiveDate>),
    /// It took effect at this instant.
    Done(Option<DateTime<Utc>>),
    /// There was one, and a caller withdrew it.
    Withdrawn,
    /// The document says that it is pending, and nothing will execute it: this service did not write that.
    Forgotten,
}

impl Standing {
    fn of(subscription: &Subscription, is_due: bool) -> Self {
        let pending = subscription.pending_status.as_ref();
        let pending = pending.filter(|pending| pending.status == Status::Cancelled);
        match (subscription.status, is_due) {
            (Status::Cancelled, _) => Self::Done(subscription.cancelled_at),
            (_, true) => Self::Pending(pending.map(|pending| pending.scheduled_at)),
            (_, false) if pending.is_some() => Self::Forgotten,
            (_, false) => Self::None,
        }
    }
}

/// What is to be done with a document that is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportDecision {
    /// Write it: there is no subscription of its id.
    Add,
    /// Write it over what is stored.
    Replace(Replacement),
    /// Write nothing: it is what is stored.
    Unchanged,
    /// Write nothing: what is stored is to be kept.
    Keep,
    /// Write nothing: its reference id belongs to another subscription.
    ReferenceTaken,
    /// Write nothing: it would be cancelled at once, as the date of its cancellation has begun.
    Overdue,
}

/// What takes the place of what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The version that it is decided from.
    pub version: u64,
    /// The document that is imported, and what callers don't see of the stored one.
    pub document: StoredDocument,
    /// The reference id that the subscription had, and no longer has.
    pub freed: Option<ReferenceId>,
    /// Whether the cancellation stays as it is, with its reason and its instant: the document says the same of it.
    pub keeps_cancellation: bool,
    /// Whether a cancellation is undone or changed that was pending or had taken effect, or one comes back that was withdrawn.
    pub undoes_cancellation: bool,
}

/// Decides what to do with a document, from what is stored under its id, and from whose its reference id is.
#[must_use]
pub fn decide_import(
    new: &NewSubscription,
    present: Option<&Present>,
    reference_is_of: Option<SubscriptionId>,
    rules: Rules,
) -> ImportDecision {
    let decision = match present {
        None => ImportDecision::Add,
        Some(present) => decide_replacement(new, present, rules.existing),
    };
    let keeps_cancellation = match &decision {
        ImportDecision::Add => false,
        ImportDecision::Replace(replacement) => replacement.keeps_cancellation,
        _ => return decision,
    };
    if reference_is_of.is_some_and(|owner| owner != new.id()) {
        ImportDecision::ReferenceTaken
    } else if new.is_overdue() && !keeps_cancellation && !rules.takes_overdue {
        ImportDecision::Overdue
    } else {
        decision
    }
}

fn decide_replacement(new: &NewSubscription, present: &Present, existing: Existing) -> ImportDecision {
    let standing = match Standing::of(&present.subscription, present.is_due) {
        Standing::None if present.is_withdrawn => Standing::Withdrawn,
        standing => standing,
    };
    let mut document = new.document.clone();
    let keeps_cancellation = match (&standing, Standing::of(&new.subscription, new.cancellation.is_some())) {
        // It does not say when, which is no reason to forget it.
        (Standing::Done(_), Standing::Done(None)) => {
            let name = "cancelledAt".to_owned();
            document.extend(present.document.get(&name).map(|at| (name, at.clone())));
            true
        }
        (Standing::Withdrawn, Standing::None) => true,
        (standing, of_new) => *standing == of_new,
    };
    keep_unseen(&mut document, present);
    if keeps_cancellation && is_same_map(&present.document, &document) {
        return ImportDecision::Unchanged;
    }
    let undoes_cancellation =
        !keeps_cancellation && !matches!(standing, Standing::None | Standing::Forgotten);
    let keep = match existing {
        Existing::Keep => true,
        Existing::Update => undoes_cancellation,
        Existing::Overwrite => false,
    };
    if keep {
        return ImportDecision::Keep;
    }
    let freed = present.subscription.reference_id.clone().filter(|former| Some(former) != new.reference_id());
    ImportDecision::Replace(Replacement {
        version: present.version,
        document,
        freed,
        keeps_cancellation,
        undoes_cancellation,
    })
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
        let NewSubscription { subscription, document, .. } = new(document);
        Present { subscription, document, version: 7, is_due, is_withdrawn: false }
    }

    fn text(value: &str) -> AttributeValue {
        AttributeValue::S(value.to_owned())
    }

    fn part<'d>(document: &'d mut StoredDocument, name: &str) -> &'d mut StoredDocument {
        match document.get_mut(name) {
            Some(AttributeValue::M(part)) => part,
            other => panic!("{other:?}"),
        }
    }

    fn decide(document: Value, present: Option<&Present>, existing: Existing) -> ImportDecision {
        decide_import(&new(document), present, None, rules(existing))
    }

    fn rules(existing: Existing) -> Rules {
        Rules { existing, takes_overdue: false }
    }

    /// What is written over what is there.
    fn replace(document: Value, present: &Present, existing: Existing) -> Replacement {
        match decide(document, Some(present), existing) {
            ImportDecision::Replace(replacement) => replacement,
            other => panic!("{other:?}"),
        }
    }

    fn pending(date: &str) -> Value {
        json!({"status": "ACTIVATED", "pendingStatus": {"status": "CANCELLED", "scheduledAt": date}})
    }

    #[test]
    fn what_is_there_stays_unless_the_operator_says_otherwise() {
        let renamed = || json!({"status": "ACTIVATED", "display": "new"});
        let there = present(json!({"status": "ACTIVATED", "display": "old"}));
        assert_eq!(decide(renamed(), None, Existing::Keep), ImportDecision::Add);
        assert_eq!(decide(renamed(), Some(&there), Existing::Keep), ImportDecision::Keep);
        for existing in [Existing::Update, Existing::Overwrite] {
            let replacement = replace(renamed(), &there, existing);
            assert_eq!((replacement.version, &replacement.document["display"]), (7, &text("new")));
        }
    }

    #[test]
    fn a_cancellation_pending_or_done_is_only_undone_or_changed_on_request() {
        let unnamed = Present { is_due: true, ..present(json!({"status": "PAUSED"})) };
        let done = present(json!({"status": "CANCELLED", "cancelledAt": "2026-01-01T00:00:00Z"}));
        for there in [present(pending("2026-03-01")), unnamed, done] {
            for document in [json!({"status": "ACTIVATED"}), pending("2026-03-02")] {
                for existing in [Existing::Keep, Existing::Update] {
                    assert_eq!(decide(document.clone(), Some(&there), existing), ImportDecision::Keep);
                }
                let replacement = replace(document, &there, Existing::Overwrite);
                assert!(replacement.undoes_cancellation && !replacement.keeps_cancellation);
            }
        }
    }

    #[test]
    fn a_cancellation_that_was_withdrawn_only_comes_back_on_request() {
        let there = Present { is_withdrawn: true, ..present(json!({"status": "ACTIVATED"})) };
        for document in [pending("2026-03-02"), json!({"status": "CANCELLED"})] {
            for existing in [Existing::Keep, Existing::Update] {
                assert_eq!(decide(document.clone(), Some(&there), existing), ImportDecision::Keep);
            }
            assert!(replace(document, &there, Existing::Overwrite).undoes_cancellation);
        }
        let renamed = json!({"status": "ACTIVATED", "display": "new"});
        let replacement = replace(renamed, &there, Existing::Update);
        assert!(replacement.keeps_cancellation && !replacement.undoes_cancellation);
        // And again pending, it is one like any other.
        let again = Present { is_withdrawn: true, ..present(pending("2026-03-02")) };
        assert_eq!(decide(pending("2026-03-02"), Some(&again), Existing::Update), ImportDecision::Unchanged);
    }

    #[test]
    fn a_cancellation_of_which_the_document_says_the_same_stays_as_it_is() {
        let named = |mut document: Value| {
            document["display"] = json!("new");
            document
        };
        let done = json!({"status": "CANCELLED", "cancelledAt": "2026-01-01T00:00:00Z"});
        for document in [pending("2026-03-01"), done, json!({"status": "PAUSED"})] {
            let there = present(document.clone());
            for existing in [Existing::Update, Existing::Overwrite] {
                let replacement = replace(named(document.clone()), &there, existing);
                assert!(replacement.keeps_cancellation && !replacement.undoes_cancellation);
            }
        }
    }

    #[test]
    fn a_cancellation_that_nothing_would_execute_is_mended() {
        let forgotten = Present { is_due: false, ..present(pending("2026-03-01")) };
        assert_eq!(decide(pending("2026-03-01"), Some(&forgotten), Existing::Keep), ImportDecision::Keep);
        assert!(!replace(pending("2026-03-01"), &forgotten, Existing::Update).keeps_cancellation);
    }

    #[test]
    fn a_cancellation_whose_date_has_begun_is_only_taken_in_on_request() {
        let (begun, to_come) = (pending("2026-01-31"), pending("2026-02-01"));
        assert_eq!(decide(begun.clone(), None, Existing::Keep), ImportDecision::Overdue);
        assert_eq!(decide(to_come, None, Existing::Keep), ImportDecision::Add);
        let takes_overdue = Rules { takes_overdue: true, ..rules(Existing::Keep) };
        assert_eq!(decide_import(&new(begun.clone()), None, None, takes_overdue), ImportDecision::Add);
        let active = present(json!({"status": "ACTIVATED"}));
        assert_eq!(decide(begun.clone(), Some(&active), Existing::Update), ImportDecision::Overdue);
        // The one that is there already is no other.
        let there = present(begun.clone());
        assert_eq!(decide(begun, Some(&there), Existing::Update), ImportDecision::Unchanged);
    }

    #[test]
    fn when_it_took_effect_is_not_forgotten_nor_changed() {
        let done = |at: Option<&str>| {
            let mut document = json!({"status": "CANCELLED", "display": "new"});
            document.as_object_mut().unwrap().extend(at.map(|at| ("cancelledAt".to_owned(), json!(at))));
            document
        };
        let at = "2026-01-01T00:00:00Z";
        let there = present(json!({"status": "CANCELLED", "cancelledAt": at}));
        for document in [done(None), done(Some("2026-01-01T01:00:00.0+01:00"))] {
            let replacement = replace(document, &there, Existing::Update);
            assert_eq!(replacement.document["cancelledAt"], text(at));
            assert!(replacement.keeps_cancellation);
        }
        let other = done(Some("2026-01-02T00:00:00Z"));
        assert_eq!(decide(other.clone(), Some(&there), Existing::Update), ImportDecision::Keep);
        assert!(replace(other, &there, Existing::Overwrite).undoes_cancellation);
    }

    #[test]
    fn what_callers_do_not_see_survives_to_the_digit_unless_its_part_is_another() {
        let mut there =
            present(json!({"status": "ACTIVATED", "sim": {"iccid": "1", "imei": "a"}, "msisdn": "+46"}));
        let unseen = [
            ("vault", text("v-1")),
            ("number", AttributeValue::N("89460112345678901234".to_owned())),
            ("set", AttributeValue::Ss(vec!["x".to_owned(), "y".to_owned()])),
            ("bytes", AttributeValue::B(vec![0, 255])),
        ];
        there.document.extend(unseen.clone().map(|(name, value)| (name.to_owned(), value)));
        part(&mut there.document, "sim").insert("puk".to_owned(), text("12345678"));

        let with_sim = |sim: Value| json!({"status": "ACTIVATED", "sim": sim});
        let same_card = with_sim(json!({"iccid": "1", "imei": "b"}));
        let mut document = replace(same_card, &there, Existing::Update).document;
        for (name, value) in &unseen {
            assert_eq!(&document[*name], value, "{name}");
        }
        assert_eq!(document.get("msisdn"), None);
        assert_eq!(part(&mut document, "sim").get("puk"), Some(&text("12345678")));

        let other_card = with_sim(json!({"iccid": "2", "imei": "a"}));
        let mut document = replace(other_card, &there, Existing::Update).document;
        assert_eq!(part(&mut document, "sim").get("puk"), None);
        assert_eq!(
            replace(json!({"status": "ACTIVATED"}), &there, Existing::Update).document.get("sim"),
            None
        );
        let mut named =
            replace(with_sim(json!({"iccid": "1", "puk": "new"})), &there, Existing::Update).document;
        assert_eq!(part(&mut named, "sim").get("puk"), Some(&text("new")));

        // What callers see is the same, so nothing is written.
        let seen = json!({"status": "ACTIVATED", "sim": {"iccid": "1", "imei": "a"}, "msisdn": "+46"});
        assert_eq!(decide(seen, Some(&there), Existing::Overwrite), ImportDecision::Unchanged);
    }

    #[test]
    fn nobody_inherits_what_callers_do_not_see_of_another() {
        let customer =
            |id: &str, customer: Value| json!({"status": "PAUSED", "customerId": id, "customer": customer});
        let mut there = present(customer("c-1", json!({"name": "Anna"})));
        part(&mut there.document, "customer").insert("ssn".to_owned(), text("x"));
        let ssn = |document: Value| {
            let mut document = replace(document, &there, Existing::Update).document;
            part(&mut document, "customer").get("ssn").cloned()
        };
        assert_eq!(ssn(customer("c-1", json!({"name": "Anna Lind"}))), Some(text("x")));
        assert_eq!(ssn(customer("c-2", json!({"name": "Bo"}))), None);
        assert_eq!(ssn(customer("c-2", json!({"name": "Anna"}))), None);
        assert_eq!(ssn(json!({"status": "PAUSED", "customer": {"name": "Bo"}})), None);

        let mut there = present(json!({"status": "PAUSED", "customer": {"name": "Anna"}}));
        part(&mut there.document, "customer").insert("ssn".to_owned(), text("x"));
        let nameless = |name: &str| json!({"status": "ACTIVATED", "customer": {"name": name}});
        let mut same = replace(nameless("Anna"), &there, Existing::Update).document;
        assert_eq!(part(&mut same, "customer").get("ssn"), Some(&text("x")));
        let mut other = replace(nameless("Bo"), &there, Existing::Update).document;
        assert_eq!(part(&mut other, "customer").get("ssn"), None);
    }

    #[test]
    fn what_callers_see_less_exactly_than_it_is_stored_stays_as_it_is() {
        let mut there =
            present(json!({"status": "PAUSED", "extensions": {"a": 1}, "metadata": {"tags": ["x", "y"]}}));
        let exact = AttributeValue::N("12345678901234567890.123456".to_owned());
        part(&mut there.document, "extensions").insert("big".to_owned(), exact.clone());
        let tags = AttributeValue::Ss(vec!["x".to_owned(), "y".to_owned()]);
        part(&mut there.document, "metadata").insert("tags".to_owned(), tags.clone());
        there.subscription = serde_dynamo::from_item(there.document.clone()).unwrap();

        let mut export = serde_json::to_value(&there.subscription).unwrap();
        assert_eq!(decide(export.clone(), Some(&there), Existing::Overwrite), ImportDecision::Unchanged);
        export["display"] = json!("mended");
        let mut document = replace(export, &there, Existing::Update).document;
        assert_eq!(part(&mut document, "extensions")["big"], exact);
        assert_eq!(part(&mut document, "metadata")["tags"], tags);
    }

    #[test]
    fn one_thing_has_one_spelling() {
        let spelled = |at: &str, date: &str| {
            let mut document = pending(date);
            document["createdAt"] = json!(at);
            document["msisdn"] = Value::Null;
            document
        };
        let mut there = present(spelled("2025-03-01T08:00:00Z", "2027-03-01"));
        there.document.insert("msisdn".to_owned(), AttributeValue::Null(true));
        let other_spelling = spelled("2025-03-01T09:00:00.000+01:00", "2027-3-1");
        assert_eq!(decide(other_spelling, Some(&there), Existing::Overwrite), ImportDecision::Unchanged);
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
        let decision = decide(exact(9_007_199_254_740_992), Some(&there), Existing::Update);
        assert_ne!(decision, ImportDecision::Unchanged);
    }

    #[test]
    fn a_reference_id_names_one_subscription_and_is_free_when_it_names_none() {
        let named = |reference: &str| json!({"status": "ACTIVATED", "referenceId": reference});
        let other = "a81bc81b-dead-4e5d-abff-90865d1e13b2".parse().ok();
        let taken = decide_import(&new(named("r")), None, other, rules(Existing::Keep));
        assert_eq!(taken, ImportDecision::ReferenceTaken);
        let ours = decide_import(&new(named("r")), None, ID.parse().ok(), rules(Existing::Keep));
        assert_eq!(ours, ImportDecision::Add);

        let there = present(named("old"));
        let freed = "old".parse().ok();
        assert_eq!(replace(named("new"), &there, Existing::Update).freed, freed);
        assert_eq!(replace(json!({"status": "ACTIVATED"}), &there, Existing::Update).freed, freed);
        assert_eq!(
            replace(json!({"status": "PAUSED", "referenceId": "old"}), &there, Existing::Update).freed,
            None
        );
    }

    #[test]
    fn a_fault_names_the_place_and_never_the_value() {
        let document = json!({"subscriptionId": ID, "status": "x, expected +46701740605"});
        let now = "2026-01-31T22:30:00Z".parse().unwrap();
        let fault = NewSubscription::from_json(document, &Calendar::new(Tz::UTC, now), now).err().unwrap();
        assert!(fault.to_string().starts_with("status: expected one of"), "{fault}");
    }

    #[test]
    fn a_fault_says_what_would_be_right() {
        let now: DateTime<Utc> = "2026-01-31T22:30:00Z".parse().unwrap();
        let fault = |document: Value| {
            NewSubscription::from_json(document, &Calendar::new(Tz::UTC, now), now).err().unwrap().to_string()
        };
        let with = |name: &str, value: Value| {
            let mut document = json!({"subscriptionId": ID, "status": "PAUSED"});
            document[name] = value;
            fault(document)
        };
        assert_eq!(fault(json!([])), "expected an object");
        assert_eq!(
            with("createdAt", json!("2026-01-31")),
            "createdAt: expected an instant (2026-12-31T23:00:00Z)"
        );
        let pending = json!({"status": "CANCELLED", "scheduledAt": "2026-01-31T00:00:00Z"});
        assert_eq!(with("pendingStatus", pending), "pendingStatus.scheduledAt: expected a date (2026-12-31)");
    }
}
