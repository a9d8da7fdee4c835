//! The rules of the history: each change has exactly one entry, which says what the write did, and which is there before the event.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Ledger;
use super::items::{number, text};
use crate::simulation::network::Database;

/// The states that each subscription has had, and their entries.
#[derive(Default)]
pub(super) struct Histories(BTreeMap<String, Vec<State>>);

/// A state of a subscription.
struct State {
    item: Value,
    /// Cause of the write that made it, and state of the cancellation after it.
    made: (&'static str, Option<&'static str>),
    entry: Option<Value>,
}

impl Histories {
    /// Notes a state of a subscription.
    pub(super) fn note(&mut self, item: &Value, cause: &'static str, state: Option<&'static str>) {
        let states = self.0.entry(text(&item["pk"]).to_owned()).or_default();
        states.push(State { item: item.clone(), made: (cause, state), entry: None });
    }

    /// Returns true if the `n`th change of a subscription has its entry.
    pub(super) fn has(&self, pk: &str, n: usize) -> bool {
        // The first state was there before any change.
        self.0[pk][n + 1].entry.is_some()
    }
}

impl Ledger {
    /// Notes and checks the entry that a function has tried to add.
    pub fn recorded(&mut self, database: &Database, put: &Value) {
        let (pk, revision) = (&put["pk"], &put["revision"]);
        let key = json!({"pk": pk, "revision": revision});
        let body = json!({"TableName": "history", "Key": key, "ConsistentRead": true});
        let entry = database.ask("GetItem", &body).body["Item"].clone();
        let pk = text(pk);
        let states =
            self.histories.0.get_mut(pk).unwrap_or_else(|| panic!("{pk}: an entry of no subscription"));
        let place = states.iter().position(|state| key_of(&state.item) == text(revision));
        let place = place.unwrap_or_else(|| panic!("{pk}: an entry of no change: {put}"));
        if entry.is_null() {
            assert_eq!(states[place].entry, None, "{pk}: an entry stays");
            return;
        }
        let is_next = states[..place].iter().all(|state| state.entry.is_some());
        assert!(is_next, "{pk}: the entry of a change comes after those of all changes before");
        match &states[place].entry {
            Some(before) => assert_eq!(*before, entry, "{pk}: an entry is never changed"),
            None => {
                let before = place.checked_sub(1).map(|before| &states[before].item);
                assert_eq!(
                    entry,
                    expected(before, &states[place], &entry["at"]),
                    "{pk}: the entry says what was done"
                );
                states[place].entry = Some(entry);
            }
        }
    }

    /// Checks that every change has its entry, and that there are no others.
    pub(super) fn all_is_recorded(&self, database: &Database) {
        let states = || self.histories.0.values().flatten();
        for state in states() {
            assert!(
                state.entry.is_some(),
                "{}: no entry for version {}",
                state.item["pk"],
                state.item["version"]
            );
        }
        assert_eq!(database.scan("history", None).len(), states().count());
    }
}

/// Returns the entry that a change must have.
fn expected(before: Option<&Value>, state: &State, imported_at: &Value) -> Value {
    let State { item, made: (cause, state), .. } = state;
    let kept = &item["cancellation"];
    let document = &item["document"]["M"];
    let (changed_by, tenant) = (&item["changedBy"]["M"], text(&item["pk"]).split('#').next().unwrap());
    let at = match *cause {
        "IMPORTED" => imported_at,
        "EXECUTED" => &kept["M"]["executedAt"],
        "WITHDRAWN" => &kept["M"]["withdrawnAt"],
        _ => &kept["M"]["requestedAt"],
    };
    let mut entry = json!({
        "pk": item["pk"],
        "revision": {"S": key_of(item)},
        "at": at,
        "cause": {"S": cause},
        "source": changed_by["source"],
        "status": document["status"],
    });
    let mut has = |name: &str, value: Value| entry[name] = value;
    if let Some(before) = before {
        has("follows", json!({"S": key_of(before)}));
        if *cause == "REPLACED" {
            has("replaced", before["cancellation"].clone());
        }
    }
    if let Some(id) = changed_by["requestId"]["S"].as_str() {
        has("requestId", json!({"S": id}));
        let requester =
            json!({"keyId": {"S": format!("{tenant}1")}, "actor": {"S": format!("agent of {id}")}});
        has("requestedBy", json!({"M": requester}));
    }
    if let Some(state) = state {
        has("cancellation", kept.clone());
        has("state", json!({"S": state}));
    }
    if document["pendingStatus"].is_object() {
        has("pendingStatus", document["pendingStatus"].clone());
    }
    entry
}

/// Returns the revision of an item as the history writes it.
fn key_of(item: &Value) -> String {
    format!("{:020}-{}", number(&item["version"]), text(&item["writeId"]))
}
