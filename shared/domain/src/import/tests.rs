//! Imports: which documents are accepted, and which stored subscriptions they replace.

use serde_json::{Value, json};

use super::*;
use crate::calendar::{Calendar, TimeZone};
use crate::cancellation::Cancellation;
use crate::identifiers::NewIds;
use crate::ids::uuid;
use crate::standing::IndexEntry;
use crate::stored::Revision;
use crate::subscription::Subscription;

const ID: &str = "a81bc81b-dead-4e5d-abff-90865d1e13b1";

fn new(mut document: Value) -> NewSubscription {
    document["subscriptionId"] = json!(ID);
    let now = "2026-01-31T22:30:00Z".parse().unwrap();
    check(document, now).unwrap()
}

fn check(document: Value, now: DateTime<Utc>) -> Result<NewSubscription, InvalidSubscription> {
    let ids = NewIds { cancellation: uuid().into(), write: uuid().into() };
    NewSubscription::from_json(document, &Calendar::new(TimeZone::UTC, now), now, ids)
}

fn now() -> DateTime<Utc> {
    "2026-01-31T22:30:00Z".parse().unwrap()
}

/// A stored subscription that was imported from this document.
fn present(document: Value) -> PresentSubscription {
    let NewSubscription { subscription, document, cancellation, .. } = new(document);
    let entry = cancellation.as_ref().map(Cancellation::entry);
    PresentSubscription { stored: stored(subscription, cancellation, entry), document }
}

fn stored(
    subscription: Subscription,
    cancellation: Option<Cancellation>,
    entry: Option<IndexEntry>,
) -> StoredSubscription {
    let revision = Revision { version: 7, write_id: None };
    StoredSubscription::new(subscription, revision, cancellation, entry)
}

/// The same, after a caller has cancelled it and withdrawn the cancellation.
fn withdrawn(document: Value) -> PresentSubscription {
    let effective = Calendar::new(TimeZone::UTC, now()).next_day();
    let cancellation =
        Cancellation { withdrawn_at: Some(now()), ..Cancellation::new(uuid().into(), effective, now()) };
    let there = present(document);
    PresentSubscription { stored: stored(there.stored.document, Some(cancellation), None), ..there }
}

fn text(value: &str) -> StoredValue {
    StoredValue::Text(value.to_owned())
}

fn part<'d>(document: &'d mut StoredDocument, name: &str) -> &'d mut StoredDocument {
    match document.get_mut(name) {
        Some(StoredValue::Map(part)) => part,
        other => panic!("{other:?}"),
    }
}

fn decide(document: Value, present: Option<&PresentSubscription>, existing: Existing) -> ImportDecision {
    let present = present.map(|present| Present::Subscription(Box::new(present.clone())));
    decide_import(&new(document), present.as_ref(), None, rules(existing), &by(), now())
}

fn by() -> Author {
    Author::import("anna".parse().ok())
}

fn rules(existing: Existing) -> Rules {
    Rules { existing, takes_overdue: false }
}

/// The write that replaces the stored subscription.
fn replace(document: Value, present: &PresentSubscription, existing: Existing) -> Replacement {
    match decide(document, Some(present), existing) {
        ImportDecision::Write(write) => Replacement::of(*write),
        other => panic!("{other:?}"),
    }
}

/// A write that replaces a stored subscription.
struct Replacement {
    decided_from: DecidedFrom,
    version: u64,
    document: StoredDocument,
    freed: Option<ReferenceId>,
    keeps_cancellation: bool,
    undoes_cancellation: bool,
}

impl Replacement {
    fn of(write: ImportWrite) -> Self {
        let DocumentChange::Whole(document) = write.change.document else { panic!("not whole") };
        Self {
            version: write.change.decided_from.next_version().unwrap(),
            decided_from: write.change.decided_from,
            document,
            freed: write.freed,
            keeps_cancellation: write.change.cancellation == CancellationEdit::Keep,
            undoes_cancellation: write.effect == ImportEffect::Undone,
        }
    }
}

fn adds(decision: &ImportDecision) -> bool {
    matches!(decision, ImportDecision::Write(write) if write.effect == ImportEffect::Added)
}

fn pending(date: &str) -> Value {
    json!({"status": "ACTIVATED", "pendingStatus": {"status": "CANCELLED", "scheduledAt": date}})
}

/// A subscription whose cancellation is to be executed, although its document does not say so.
fn contradictory() -> PresentSubscription {
    let NewSubscription { subscription, document, .. } = new(json!({"status": "PAUSED"}));
    let cancellation = new(pending("2026-03-01")).cancellation;
    let entry = cancellation.as_ref().map(Cancellation::entry);
    PresentSubscription { stored: stored(subscription, cancellation, entry), document }
}

#[test]
fn a_contradictory_subscription_is_replaced_on_request() {
    let there = contradictory();
    let same = json!({"status": "PAUSED"});
    assert_eq!(decide(same.clone(), Some(&there), Existing::Update), ImportDecision::Keep);
    let replacement = replace(same, &there, Existing::Overwrite);
    assert!(replacement.undoes_cancellation && !replacement.keeps_cancellation);

    // CANCELLED by another system, with a cancellation that is still to be executed.
    let done = json!({"status": "CANCELLED"});
    let NewSubscription { subscription, document, .. } = new(done.clone());
    let entry = there.stored.cancellation.as_ref().map(Cancellation::entry);
    let stored = stored(subscription, there.stored.cancellation, entry);
    let there = PresentSubscription { stored, document };
    assert!(!replace(done, &there, Existing::Overwrite).keeps_cancellation);
}

#[test]
fn an_unreadable_item_is_overwritten_only_on_request() {
    let item = |version: Option<StoredValue>| {
        let reference_id = "old".parse().ok();
        Present::Unreadable(UnreadableItem { version, reference_id, is_due: true })
    };
    let decide = |item: &Present, existing| {
        decide_import(&new(json!({"status": "PAUSED"})), Some(item), None, rules(existing), &by(), now())
    };
    for (version, next) in
        [(Some(StoredValue::Number("7".to_owned())), 8), (Some(text("seven")), 1), (None, 1)]
    {
        let item = item(version.clone());
        for existing in [Existing::Keep, Existing::Update] {
            assert_eq!(decide(&item, existing), ImportDecision::Unreadable);
        }
        let ImportDecision::Write(write) = decide(&item, Existing::Overwrite) else {
            panic!("kept");
        };
        let replacement = Replacement::of(*write);
        assert_eq!(replacement.decided_from, DecidedFrom::Unreadable(version));
        assert_eq!(replacement.version, next);
        assert!(replacement.undoes_cancellation);
        assert_eq!(replacement.freed, "old".parse().ok());
    }
}

#[test]
fn a_replacement_sets_updated_at_later_than_before() {
    let of = |display: &str, at: Option<&str>| {
        let mut document = json!({"status": "PAUSED", "display": display});
        document.as_object_mut().unwrap().extend(at.map(|at| ("updatedAt".to_owned(), json!(at))));
        document
    };
    // An hour ahead of this clock.
    let there = present(of("old", Some("2026-01-31T23:30:00Z")));
    for (at, updated_at) in [
        (Some("2026-01-31T23:45:00Z"), "2026-01-31T23:45:00Z"),
        (Some("2026-01-31T23:30:00Z"), "2026-01-31T23:30:00.001Z"),
        (Some("2026-01-01T00:00:00Z"), "2026-01-31T23:30:00.001Z"),
        (None, "2026-01-31T23:30:00.001Z"),
    ] {
        let replacement = replace(of("new", at), &there, Existing::Update);
        assert_eq!(replacement.document["updatedAt"], text(updated_at));
        // The time alone is no reason to replace the document.
        let is_newer = updated_at.ends_with("45:00Z");
        let decision = decide(of("old", at), Some(&there), Existing::Update);
        assert_eq!(decision == ImportDecision::Unchanged, !is_newer, "{at:?}");
    }
    let before = present(of("old", Some("2026-01-01T00:00:00Z")));
    let replacement = replace(of("new", None), &before, Existing::Update);
    assert_eq!(replacement.document["updatedAt"], text("2026-01-31T22:30:00Z"));
}

#[test]
fn a_document_with_a_contradictory_end_or_an_invalid_time_is_refused_by_place() {
    let fault = |mut document: Value| {
        document["subscriptionId"] = json!(ID);
        check(document, now()).err().map(|fault| fault.to_string())
    };
    let at = "2026-01-01T00:00:00Z";
    for (place, document) in [
        ("cancelledAt", json!({"status": "ACTIVATED", "cancelledAt": at})),
        ("cancelledAt", json!({"status": "CANCELLED", "cancelledAt": "2099-01-01T00:00:00Z"})),
        (
            "pendingStatus",
            json!({"status": "CANCELLED", "pendingStatus": {"status": "PAUSED", "scheduledAt": "2026-03-01"}}),
        ),
        ("activatedAt", json!({"status": "ACTIVATED", "activatedAt": "+99999-01-01T00:00:00Z"})),
        ("createdAt", json!({"status": "ACTIVATED", "createdAt": "0000-01-01T00:00:00+01:00"})),
        ("updatedAt", json!({"status": "ACTIVATED", "updatedAt": "9999-12-31T23:59:59-01:00"})),
        (
            "subscriber.createdAt",
            json!({"status": "ACTIVATED", "subscriber": {"createdAt": "-0001-01-01T00:00:00Z"}}),
        ),
        ("porting.scheduledAt", json!({"status": "ACTIVATED", "porting": {"scheduledAt": "+12026-01-05"}})),
        (
            "metadata.a.1.$serde_json::private::Number",
            json!({"status": "ACTIVATED", "metadata": {"a": [0, {"$serde_json::private::Number": "1"}]}}),
        ),
        (
            "$serde_json::private::RawValue",
            json!({"status": "ACTIVATED", "$serde_json::private::RawValue": "nope"}),
        ),
    ] {
        let fault = fault(document).unwrap_or_else(|| panic!("{place}: taken in"));
        assert!(fault.starts_with(&format!("{place}: ")), "{place}: {fault}");
    }
    assert_eq!(fault(json!({"status": "CANCELLED", "cancelledAt": at})), None);
    // Written by a clock that is a little ahead.
    assert_eq!(fault(json!({"status": "CANCELLED", "cancelledAt": "2026-01-31T22:31:00Z"})), None);
}

#[test]
fn an_existing_document_is_replaced_only_on_request() {
    let renamed = || json!({"status": "ACTIVATED", "display": "new"});
    let there = present(json!({"status": "ACTIVATED", "display": "old"}));
    assert!(adds(&decide(renamed(), None, Existing::Keep)));
    assert_eq!(decide(renamed(), Some(&there), Existing::Keep), ImportDecision::Keep);
    for existing in [Existing::Update, Existing::Overwrite] {
        let replacement = replace(renamed(), &there, existing);
        assert_eq!((replacement.version, &replacement.document["display"]), (8, &text("new")));
    }
}

#[test]
fn a_pending_or_executed_cancellation_is_undone_or_changed_only_on_request() {
    let done = present(json!({"status": "CANCELLED", "cancelledAt": "2026-01-01T00:00:00Z"}));
    for there in [present(pending("2026-03-01")), contradictory(), done] {
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
fn a_withdrawn_cancellation_comes_back_only_on_request() {
    let there = withdrawn(json!({"status": "ACTIVATED"}));
    for document in [pending("2026-03-02"), json!({"status": "CANCELLED"})] {
        for existing in [Existing::Keep, Existing::Update] {
            assert_eq!(decide(document.clone(), Some(&there), existing), ImportDecision::Keep);
        }
        assert!(replace(document, &there, Existing::Overwrite).undoes_cancellation);
    }
    let renamed = json!({"status": "ACTIVATED", "display": "new"});
    let replacement = replace(renamed, &there, Existing::Update);
    assert!(replacement.keeps_cancellation && !replacement.undoes_cancellation);
    // Pending again, it is a cancellation like any other.
    let again = present(pending("2026-03-02"));
    assert_eq!(decide(pending("2026-03-02"), Some(&again), Existing::Update), ImportDecision::Unchanged);
}

#[test]
fn a_cancellation_that_the_document_repeats_stays_as_it_is() {
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
fn a_pending_date_without_a_stored_cancellation_is_repaired_by_an_update() {
    let NewSubscription { subscription, document, .. } = new(pending("2026-03-01"));
    let forgotten = PresentSubscription { stored: stored(subscription, None, None), document };
    assert_eq!(decide(pending("2026-03-01"), Some(&forgotten), Existing::Keep), ImportDecision::Keep);
    assert!(!replace(pending("2026-03-01"), &forgotten, Existing::Update).keeps_cancellation);
}

#[test]
fn a_cancellation_whose_date_has_begun_is_imported_only_on_request() {
    let (begun, to_come) = (pending("2026-01-31"), pending("2026-02-01"));
    assert_eq!(decide(begun.clone(), None, Existing::Keep), ImportDecision::Overdue);
    assert!(adds(&decide(to_come, None, Existing::Keep)));
    let takes_overdue = Rules { takes_overdue: true, ..rules(Existing::Keep) };
    assert!(adds(&decide_import(&new(begun.clone()), None, None, takes_overdue, &by(), now())));
    let active = present(json!({"status": "ACTIVATED"}));
    assert_eq!(decide(begun.clone(), Some(&active), Existing::Update), ImportDecision::Overdue);
    // The cancellation that is stored already is the same one.
    let there = present(begun.clone());
    assert_eq!(decide(begun, Some(&there), Existing::Update), ImportDecision::Unchanged);
}

#[test]
fn cancelled_at_is_neither_removed_nor_changed_by_an_update() {
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
fn hidden_members_survive_an_import_unless_their_part_is_replaced_by_another() {
    let mut there =
        present(json!({"status": "ACTIVATED", "sim": {"iccid": "1", "imei": "a"}, "msisdn": "+46"}));
    let unseen = [
        ("vault", text("v-1")),
        ("number", StoredValue::Number("89460112345678901234".to_owned())),
        ("set", StoredValue::Texts(vec!["x".to_owned(), "y".to_owned()])),
        ("bytes", StoredValue::Bytes(vec![0, 255])),
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
    assert_eq!(replace(json!({"status": "ACTIVATED"}), &there, Existing::Update).document.get("sim"), None);
    let mut named = replace(with_sim(json!({"iccid": "1", "puk": "new"})), &there, Existing::Update).document;
    assert_eq!(part(&mut named, "sim").get("puk"), Some(&text("new")));

    // Callers see the same document, so nothing is written.
    let seen = json!({"status": "ACTIVATED", "sim": {"iccid": "1", "imei": "a"}, "msisdn": "+46"});
    assert_eq!(decide(seen, Some(&there), Existing::Overwrite), ImportDecision::Unchanged);
}

#[test]
fn a_new_customer_does_not_inherit_hidden_members_of_the_former_one() {
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
fn a_stored_number_or_set_stays_exact_when_an_export_is_imported() {
    let mut there =
        present(json!({"status": "PAUSED", "extensions": {"a": 1}, "metadata": {"tags": ["x", "y"]}}));
    let exact = StoredValue::Number("12345678901234567890.123456".to_owned());
    part(&mut there.document, "extensions").insert("big".to_owned(), exact.clone());
    let tags = StoredValue::Texts(vec!["x".to_owned(), "y".to_owned()]);
    part(&mut there.document, "metadata").insert("tags".to_owned(), tags.clone());
    let mut seen = serde_json::to_value(&there.stored.document).unwrap();
    seen["extensions"]["big"] = json!(12_345_678_901_234_567_890.123_456);
    there.stored.document = serde_json::from_value(seen).unwrap();

    let mut export = serde_json::to_value(&there.stored.document).unwrap();
    assert_eq!(decide(export.clone(), Some(&there), Existing::Overwrite), ImportDecision::Unchanged);
    export["display"] = json!("changed");
    let mut document = replace(export, &there, Existing::Update).document;
    assert_eq!(part(&mut document, "extensions")["big"], exact);
    assert_eq!(part(&mut document, "metadata")["tags"], tags);
}

#[test]
fn another_spelling_of_the_same_value_changes_nothing() {
    let spelled = |at: &str, date: &str| {
        let mut document = pending(date);
        document["createdAt"] = json!(at);
        document["msisdn"] = Value::Null;
        document
    };
    let mut there = present(spelled("2025-03-01T08:00:00Z", "2027-03-01"));
    there.document.insert("msisdn".to_owned(), StoredValue::Null);
    let other_spelling = spelled("2025-03-01T09:00:00.000+01:00", "2027-3-1");
    assert_eq!(decide(other_spelling, Some(&there), Existing::Overwrite), ImportDecision::Unchanged);
}

#[test]
fn an_equal_document_is_not_written_again() {
    let document = |price: Value| json!({"status": "PAUSED", "extensions": {"a": [price, {"b": null}]}});
    let there = present(document(json!(20)));
    assert_eq!(decide(document(json!(20.0)), Some(&there), Existing::Overwrite), ImportDecision::Unchanged);
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
fn a_reference_id_names_one_subscription_and_is_freed_when_it_is_given_up() {
    let named = |reference: &str| json!({"status": "ACTIVATED", "referenceId": reference});
    let other = "a81bc81b-dead-4e5d-abff-90865d1e13b2".parse().ok();
    let taken = decide_import(&new(named("r")), None, other, rules(Existing::Keep), &by(), now());
    assert_eq!(taken, ImportDecision::ReferenceTaken);
    let ours = decide_import(&new(named("r")), None, ID.parse().ok(), rules(Existing::Keep), &by(), now());
    assert!(adds(&ours));

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
    let fault = check(document, now).err().unwrap();
    assert!(fault.to_string().starts_with("status: expected one of"), "{fault}");
}

#[test]
fn a_fault_says_what_would_be_right() {
    let now: DateTime<Utc> = "2026-01-31T22:30:00Z".parse().unwrap();
    let fault = |document: Value| check(document, now).err().unwrap().to_string();
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
