//! The rules that must always hold, checked at every write and every answer.
//!
//! The ledger reads each item after a write and compares it with the item before, so it sees every change, in order. It knows
//! the rules only as a caller does. The only code that it shares with the service is the decompression of a text and the rules
//! of time zones.

mod history;
mod items;
mod request;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::Value;

use self::history::Histories;
use self::items::{decompressed, document, etag, instant, number, seen, status, text, updated_at};
pub use self::request::{Answer, Intent, zone};
use super::network::Database;

/// Everything that has happened.
#[derive(Default)]
pub struct Ledger {
    /// Current items of the subscriptions, by key.
    subscriptions: BTreeMap<String, Value>,
    /// The scheduled date in each version of a subscription, as callers see it.
    versions: BTreeMap<(String, u64), Value>,
    /// ETags that each subscription has had, the latest last.
    etags: BTreeMap<String, Vec<String>>,
    /// Ids of all cancellations that were ever pending.
    scheduled: BTreeSet<String>,
    /// Number of cancellations that were pending from the beginning.
    at_the_beginning: usize,
    /// Ids of the cancellations that have taken effect.
    executed: BTreeSet<String>,
    /// Ids of the cancellations that were withdrawn.
    withdrawn: BTreeSet<String>,
    /// Changes of each subscription, in order, as its events have to report them.
    changes: BTreeMap<String, Vec<Change>>,
    /// States of each subscription, with their entries in the history.
    histories: Histories,
    /// The ids of all writes.
    writes: BTreeSet<String>,
    /// Ids of the events about each subscription, in the order in which they came first.
    published: BTreeMap<String, Vec<String>>,
    /// All events that came, by id.
    events: BTreeMap<String, Value>,
    /// The lives of each idempotency key, the oldest first.
    lives: BTreeMap<String, Vec<Life>>,
    /// Last look of each client at a tenant: true if its cancellations were paused.
    looks: BTreeMap<(usize, String), bool>,
}

/// A change of a subscription, as its event has to report it.
struct Change {
    kind: &'static str,
    version: u64,
    cause: &'static str,
    /// State of the cancellation after the change.
    state: &'static str,
    cancellation_id: String,
    document: Value,
}

/// One life of an idempotency key: from its first use, for 24 hours.
#[derive(Clone, Debug)]
pub struct Life {
    begins: DateTime<Utc>,
    ends: DateTime<Utc>,
    request_id: String,
    status: u64,
    body: String,
}

impl Ledger {
    /// Notes the subscriptions that exist at the beginning.
    pub fn begin(&mut self, database: &Database) {
        for item in database.scan("subscriptions", None) {
            if item["document"].is_object() {
                let pk = text(&item["pk"]).to_owned();
                self.scheduled.extend(item["cancellationId"]["S"].as_str().map(str::to_owned));
                self.versions.insert((pk.clone(), number(&item["version"])), seen(&item));
                self.etags.insert(pk.clone(), vec![etag(&item)]);
                self.histories.note(&item, "IMPORTED", item["dueAt"].is_object().then_some("PENDING"));
                self.subscriptions.insert(pk, item);
            }
        }
        self.at_the_beginning = self.scheduled.len();
    }

    /// Notes what a client reads of a tenant.
    pub fn looked(&mut self, sender: usize, operation: &str, body: &Value, reply: &Value) {
        if operation == "GetItem" && body["TableName"] == "tenants" {
            let tenant = text(&body["Key"]["pk"]).to_owned();
            self.looks.insert((sender, tenant), reply["Item"]["pausedAt"].is_object());
        }
    }

    /// Notes and checks the items that a client's write has changed.
    pub fn written(
        &mut self,
        database: &Database,
        sender: usize,
        operation: &str,
        body: &Value,
        now: DateTime<Utc>,
    ) {
        let mut subscription = None;
        let mut record = None;
        match operation {
            "PutItem" if body["TableName"] == "history" => return self.recorded(database, &body["Item"]),
            // The operator pauses and resumes.
            "UpdateItem" if body["TableName"] == "tenants" => return,
            "UpdateItem" => subscription = Some(&body["Key"]["pk"]),
            "PutItem" => record = Some(&body["Item"]["pk"]),
            "TransactWriteItems" => {
                for write in body["TransactItems"].as_array().unwrap() {
                    match (&write["Put"], &write["Update"]) {
                        (put, Value::Null) => record = Some(&put["Item"]["pk"]),
                        (_, update) => subscription = Some(&update["Key"]["pk"]),
                    }
                }
            }
            _ => return,
        }
        let changed = subscription.is_some_and(|key| self.subscription(database, sender, key, now));
        let remembered = record.is_some_and(|key| self.record(database, key));
        if operation == "TransactWriteItems" && record.is_some() {
            assert_eq!(changed, remembered, "a change and its record are written together or not at all");
        }
    }

    /// Checks that a write has changed a subscription only as the rules allow. Returns true if it has changed.
    fn subscription(&mut self, database: &Database, sender: usize, key: &Value, now: DateTime<Utc>) -> bool {
        let item = database.item("subscriptions", key);
        let pk = text(key).to_owned();
        let before = self.subscriptions.get(&pk).expect("a write has created a subscription");
        if *before == item {
            return false;
        }
        let tenant = pk.split('#').next().unwrap();
        assert_eq!(
            number(&item["version"]),
            number(&before["version"]) + 1,
            "{pk}: each write adds one to the version"
        );
        assert_ne!(status(before), "CANCELLED", "{pk}: a cancelled subscription never changes");
        assert!(
            self.writes.insert(text(&item["writeId"]).to_owned()),
            "{pk}: each write has an id of its own"
        );
        if let Some(before) = updated_at(before) {
            assert!(
                updated_at(&item) > Some(before),
                "{pk}: each change has a later updatedAt than the one before"
            );
        }
        consistent(&item);
        let (cause, state) = if status(&item) == "CANCELLED" {
            let id = text(&before["cancellationId"]);
            assert_eq!(id, text(&item["cancellationId"]), "{pk}: only the pending cancellation takes effect");
            assert!(before["dueAt"].is_object(), "{pk}: only a pending cancellation takes effect");
            let due = instant(&before["dueAt"]);
            assert!(now >= due, "{pk}: took effect at {now}, before {due}");
            assert_eq!(
                instant(&item["document"]["M"]["cancelledAt"]),
                due,
                "{pk}: cancelledAt is the due instant"
            );
            assert!(!self.withdrawn.contains(id), "{pk}: took effect although it was withdrawn");
            let paused = self.looks.get(&(sender, tenant.to_owned()));
            assert_eq!(
                paused,
                Some(&false),
                "{pk}: took effect by a sweep that has not looked, or saw the pause"
            );
            assert!(self.executed.insert(id.to_owned()), "{pk}: took effect twice");
            let date: NaiveDate =
                text(&before["document"]["M"]["pendingStatus"]["M"]["scheduledAt"]).parse().unwrap();
            let there = zone(tenant).local_time(now).date_naive();
            assert!(date <= there, "{pk}: took effect on {there}, before {date} had begun");
            let executed_at = instant(&item["cancellation"]["M"]["executedAt"]);
            assert!(
                due <= executed_at && executed_at <= now,
                "{pk}: executed at {executed_at}, noted at {now}"
            );
            ("EXECUTED", "EXECUTED")
        } else if item["dueAt"].is_null() {
            let id = text(&before["cancellationId"]);
            assert!(before["dueAt"].is_object(), "{pk}: only a pending cancellation is withdrawn");
            assert!(self.withdrawn.insert(id.to_owned()), "{pk}: withdrawn twice");
            assert!(!self.executed.contains(id), "{pk}: withdrawn although it took effect");
            assert_eq!(status(&item), status(before), "{pk}: a withdrawal keeps the status");
            assert!(item["cancellationId"].is_null(), "{pk}: a withdrawn cancellation can't be executed");
            let kept = &item["cancellation"]["M"];
            assert_eq!(
                (text(&kept["cancellationId"]), text(&kept["withdrawnBy"])),
                (id, &*format!("{tenant}1"))
            );
            ("WITHDRAWN", "WITHDRAWN")
        } else {
            let id = text(&item["cancellationId"]);
            assert!(self.scheduled.insert(id.to_owned()), "{pk}: {id} became pending twice");
            assert_eq!(status(&item), status(before), "{pk}: the status does not change before the date");
            let requested_by = text(&item["cancellation"]["M"]["requestedBy"]);
            assert_eq!(requested_by, format!("{tenant}1"), "{pk}: requested with a key of the tenant");
            let (asked, due) = (instant(&item["cancellation"]["M"]["requestedAt"]), instant(&item["dueAt"]));
            let date = text(&item["document"]["M"]["pendingStatus"]["M"]["scheduledAt"]);
            let date: NaiveDate = date.parse().unwrap();
            let local = |at: DateTime<Utc>| zone(tenant).local_time(at).date_naive();
            assert!(local(asked) < date, "{pk}: {date} is later than the day of the request");
            assert_eq!(local(due), date, "{pk}: due on its date");
            assert!(local(due - TimeDelta::seconds(1)) < date, "{pk}: due at the first instant of its date");
            (if before["dueAt"].is_null() { "SCHEDULED" } else { "REPLACED" }, "PENDING")
        };
        Self::made_by(&pk, &item, cause);
        self.histories.note(&item, cause, Some(state));
        let kind = if cause == "EXECUTED" { "subscription.cancelled" } else { "subscription.updated" };
        self.changes.entry(pk.clone()).or_default().push(Change {
            kind,
            version: number(&item["version"]),
            cause,
            state,
            cancellation_id: text(&item["cancellation"]["M"]["cancellationId"]).to_owned(),
            document: document(&item),
        });
        self.versions.insert((pk.clone(), number(&item["version"])), seen(&item));
        self.etags.entry(pk.clone()).or_default().push(etag(&item));
        self.subscriptions.insert(pk, item);
        true
    }

    /// Checks that a write says what made it.
    fn made_by(pk: &str, item: &Value, cause: &str) {
        let changed_by = &item["changedBy"]["M"];
        assert_eq!(changed_by["write"], item["writeId"], "{pk}: the origin is that of this write");
        let source = if cause == "EXECUTED" { "SCHEDULE" } else { "API" };
        assert_eq!((text(&changed_by["cause"]), text(&changed_by["source"])), (cause, source), "{pk}");
        let request_id = changed_by["requestId"]["S"].as_str();
        assert_eq!(request_id.is_some(), source == "API", "{pk}: a request is named by its id");
        let kept = &item["cancellation"]["M"];
        let actor = if cause == "WITHDRAWN" { &kept["withdrawnFor"] } else { &kept["requestedFor"] };
        if let Some(request_id) = request_id {
            assert_eq!(
                text(actor),
                format!("agent of {request_id}"),
                "{pk}: on behalf of the request's actor"
            );
        }
    }

    /// Notes and checks an event on the bus. It must be the event of the first change not published yet, or a repeated one.
    pub fn published(&mut self, entry: &Value) {
        let event: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&entry["Source"], &entry["DetailType"]),
            (&"connect.subscriptions".into(), &event["type"])
        );
        let tenant = entry["Resources"][0].as_str().unwrap().strip_prefix("tenant/").unwrap();
        let pk = format!("{tenant}#{}", event["data"]["subscriptionId"].as_str().unwrap());
        let id = event["eventId"].as_str().unwrap().to_owned();
        if let Some(before) = self.events.get(&id) {
            assert_eq!(*before, event, "{pk}: a repeated event is the same");
            return;
        }
        let published = self.published.entry(pk.clone()).or_default();
        let change = self.changes.get(&pk).and_then(|changes| changes.get(published.len()));
        let change = change.unwrap_or_else(|| panic!("{pk}: an event without a change: {event}"));
        let Change { kind, version, cause, state, cancellation_id, document } = change;
        assert_eq!(event["type"], *kind, "{pk}: published in order");
        assert_eq!((&event["version"], &event["cause"]), (&(*version).into(), &(*cause).into()), "{pk}");
        let cancellation = &event["cancellation"];
        assert_eq!(
            (&cancellation["cancellationId"], &cancellation["state"]),
            (&cancellation_id.as_str().into(), &(*state).into()),
            "{pk}: with its cancellation"
        );
        assert_eq!(event["data"], *document, "{pk}: published with its document");
        let of = if *kind == "subscription.cancelled" { "cancelledAt" } else { "updatedAt" };
        assert_eq!(event["occurredAt"], document[of], "{pk}: published with its time");
        let about = format!("subscription/{}", document["subscriptionId"].as_str().unwrap());
        assert_eq!(entry["Resources"][1], about);
        assert!(self.histories.has(&pk, published.len()), "{pk}: published after its entry in the history");
        published.push(id.clone());
        self.events.insert(id, event);
    }

    /// Checks that every change has been published.
    fn all_is_published(&self) {
        for (pk, changes) in &self.changes {
            assert_eq!(
                self.published.get(pk).map(Vec::len),
                Some(changes.len()),
                "{pk}: each change is published"
            );
        }
    }

    /// Notes a new life of an idempotency key. Returns true if a life has begun.
    fn record(&mut self, database: &Database, key: &Value) -> bool {
        let item = database.item("idempotency", key);
        if item.is_null() {
            return false;
        }
        let ends = DateTime::from_timestamp(i64::try_from(number(&item["expiresAt"])).unwrap(), 0).unwrap();
        let life = Life {
            begins: ends - TimeDelta::hours(24),
            ends,
            request_id: text(&item["requestId"]).to_owned(),
            status: number(&item["status"]),
            body: String::from_utf8(decompressed(&item["body"])).unwrap(),
        };
        let lives = self.lives.entry(text(key).to_owned()).or_default();
        if let Some(last) = lives.last() {
            if last.request_id == life.request_id {
                return false;
            }
            assert!(last.ends <= life.begins, "{key}: a key belongs to its first request for 24 hours");
        }
        lives.push(life);
        true
    }

    /// Checks an answer to a caller.
    pub fn answered(&self, answer: &Answer, now: DateTime<Utc>, intent_of: impl Fn(&str) -> Intent) {
        let Answer { intent, request_id, begun, status, headers, body } = answer;
        let said: Value = serde_json::from_str(body).unwrap();
        let code = said["code"].as_str().unwrap_or("ok");
        let pk = format!("{}#{}", intent.tenant, intent.subscription_id);
        let replayed = headers.contains_key("idempotent-replayed");
        match (status, code) {
            (200, "ok") => {
                assert_eq!(said["subscriptionId"], intent.subscription_id);
                assert_eq!(said["customerId"], intent.tenant, "a subscription of the same tenant");
                let etag = headers["etag"].trim_matches('"');
                let version = etag.split('-').next().unwrap().parse().unwrap();
                let promised = &said["pendingStatus"]["scheduledAt"];
                if !replayed {
                    let asked = intent.date(*begun).map(|date| date.to_string());
                    assert_eq!(promised.as_str(), asked.as_deref(), "the date that was asked for");
                }
                let stored = &self.versions[&(pk.clone(), version)];
                assert_eq!(stored["scheduledAt"], *promised, "the promised date is the stored one");
                if let Some(if_match) = intent.if_match.as_ref().filter(|_| !replayed) {
                    let at = |etag: &str| self.etags[&pk].iter().position(|had| had == etag).unwrap();
                    let (from, to) = (at(if_match), at(&headers["etag"]));
                    assert!(to == from || to == from + 1, "{pk}: only the state in If-Match is changed");
                }
            }
            (412, "precondition_failed") => {
                if !replayed {
                    let if_match = intent.if_match.as_ref().expect("412 without a precondition");
                    assert_ne!(*if_match, headers["etag"], "{pk}: 412 although the ETag matches");
                }
                assert!(self.etags[&pk].contains(&headers["etag"]), "{pk}: the ETag is one of its own");
            }
            (409, "subscription_already_cancelled") => {
                assert_eq!(self::status(&self.subscriptions[&pk]), "CANCELLED");
            }
            (409, "no_pending_cancellation") => {
                assert_eq!(intent.body, None);
                let mut versions = self.versions.iter().filter(|((of, _), _)| *of == pk);
                assert!(versions.any(|(_, seen)| seen["scheduledAt"].is_null()), "{pk}: always pending");
            }
            (422, "validation_failed") => {
                // It was refused between the beginning of the first such request and now.
                let today = zone(intent.tenant).local_time(now).date_naive();
                let date = intent.date(*begun).unwrap();
                assert!(date <= today, "{date} is later than {today}");
            }
            (404, "subscription_not_found") => assert!(!self.subscriptions.contains_key(&pk)),
            (409, "idempotency_key_mismatch" | "idempotency_key_locked")
            | (503, "temporarily_unavailable") => {}
            _ => panic!("unexpected answer {status} {code}"),
        }
        // The answer to a request with a key belongs to a life of the key that began with the same request.
        let Some(key) = &intent.key else { return };
        let lives = self.lives.get(&format!("{}#{key}", intent.tenant));
        let mut lives = lives.into_iter().flatten().filter(|life| life.begins <= now && *begun < life.ends);
        match code {
            "idempotency_key_mismatch" => {
                assert!(
                    lives.any(|life| !intent_of(&life.request_id).is_as(intent)),
                    "a mismatch with the same request"
                );
            }
            _ if answer.is_definite() => {
                let life = lives.find(|life| life.status == *status && life.body == *body);
                let life = life.expect("an answer without a record");
                assert!(intent_of(&life.request_id).is_as(intent), "an answer to another request");
                assert_eq!(replayed, life.request_id != *request_id, "only replays are marked as such");
            }
            _ => {}
        }
    }

    /// Checks that the due index lists the pending subscriptions, and nothing else.
    pub fn indexed(&self, database: &Database) {
        let pending = self.subscriptions.values().filter(|item| item["dueAt"].is_object());
        let pending: BTreeSet<_> = pending.map(|item| text(&item["pk"]).to_owned()).collect();
        let indexed = database.scan("subscriptions", Some("due"));
        let indexed: BTreeSet<_> = indexed.iter().map(|item| text(&item["pk"]).to_owned()).collect();
        assert_eq!(indexed, pending);
    }

    /// Checks the end: after enough time, every pending cancellation has taken effect, and every change was recorded and
    /// published.
    pub fn end(&self, database: &Database) {
        for item in database.scan("subscriptions", None) {
            if !item["document"].is_object() {
                continue;
            }
            let pk = text(&item["pk"]);
            assert_eq!(Some(&item), self.subscriptions.get(pk), "{pk}: every write was seen");
            let id = item["cancellationId"]["S"].as_str();
            assert_eq!(
                status(&item) == "CANCELLED",
                id.is_some(),
                "{pk}: the last cancellation takes effect"
            );
            assert!(id.is_none_or(|id| self.executed.contains(id)), "{pk}: took effect by an execution");
        }
        self.indexed(database);
        self.all_is_published();
        self.all_is_recorded(database);
        assert!(self.executed.is_subset(&self.scheduled));
    }

    /// Returns the number of cancellations that became pending after the beginning.
    pub fn changes(&self) -> usize {
        self.scheduled.len() - self.at_the_beginning
    }

    /// Returns the number of events.
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// Returns the number of withdrawn cancellations.
    pub fn withdrawals(&self) -> usize {
        self.withdrawn.len()
    }

    /// Returns the number of cancellations that have taken effect.
    pub fn executions(&self) -> usize {
        self.executed.len()
    }

    /// Returns the ETags that a subscription has had, the latest last.
    pub fn etags(&self, tenant: &str, subscription_id: &str) -> &[String] {
        self.etags.get(&format!("{tenant}#{subscription_id}")).map_or(&[], Vec::as_slice)
    }

    /// Returns the instants at which a cancellation is due or a key becomes free. Faults are most likely around them.
    pub fn boundaries(&self) -> Vec<DateTime<Utc>> {
        let due = self.subscriptions.values().filter(|item| item["dueAt"].is_object());
        let due = due.map(|item| instant(&item["dueAt"]));
        let free = self.lives.values().filter_map(|lives| lives.last()).map(|life| life.ends);
        due.chain(free).collect()
    }

    /// Returns the keys of the records that the database may remove.
    pub fn removable(&self, database: &Database, now: DateTime<Utc>) -> Vec<Value> {
        let records = database.scan("idempotency", None).into_iter();
        let at = u64::try_from(now.timestamp()).unwrap();
        records.filter(|item| number(&item["removeAt"]) < at).map(|item| item["pk"].clone()).collect()
    }
}

/// Checks that a cancellation is pending exactly if the index has it, and that it is due at the promised instant.
fn consistent(item: &Value) {
    let document = &item["document"]["M"];
    let pending = document["pendingStatus"].is_object() && status(item) != "CANCELLED";
    assert_eq!(pending, item["dueAt"].is_object(), "{item}");
    assert_eq!(pending, item["dueShard"].is_object(), "{item}");
    assert_eq!(status(item) == "CANCELLED", document["cancelledAt"].is_object(), "{item}");
    if pending {
        assert_eq!(instant(&item["dueAt"]), instant(&item["cancellation"]["M"]["effectiveAt"]), "{item}");
        assert_eq!(item["cancellationId"], item["cancellation"]["M"]["cancellationId"], "{item}");
    } else {
        assert!(!document["pendingStatus"].is_object(), "{item}");
    }
}
