//! The rules that must always hold, checked at every write and every answer.
//!
//! The ledger looks at what each write has left in the database and knows what was there before, so it
//! sees every change that ever was, in order. It knows the rules only as a caller does: of the service's code
//! it shares nothing but how a text is decompressed.

use std::collections::{BTreeMap, BTreeSet};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, TimeDelta, Utc};
use domain::calendar::TimeZone;
use serde_json::Value;
use store::compression::decompress;

use super::network::Database;

/// Everything that has happened.
#[derive(Default)]
pub struct Ledger {
    /// The subscriptions as they are, by key.
    subscriptions: BTreeMap<String, Value>,
    /// What each of their versions looked like to a caller.
    versions: BTreeMap<(String, u64), Value>,
    /// The entity tags that each of them has had.
    etags: BTreeMap<String, Vec<String>>,
    /// Cancellations that have become pending, ever.
    scheduled: BTreeSet<String>,
    /// How many of them were pending from the beginning.
    at_the_beginning: usize,
    /// Cancellations that have taken effect.
    executed: BTreeSet<String>,
    /// Cancellations that were withdrawn.
    withdrawn: BTreeSet<String>,
    /// What became of each subscription, change by change, as its events tell of it.
    changes: BTreeMap<String, Vec<Change>>,
    /// The ids of all writes.
    writes: BTreeSet<String>,
    /// The ids of the events about each subscription, in the order in which they came first.
    published: BTreeMap<String, Vec<String>>,
    /// All that came, by their ids.
    events: BTreeMap<String, Value>,
    /// The lives of each idempotency key, the oldest first.
    lives: BTreeMap<String, Vec<Life>>,
}

/// A change of a subscription, as its event tells of it.
struct Change {
    kind: &'static str,
    version: u64,
    cause: &'static str,
    /// Where the cancellation stands after it.
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

/// A request that a caller may repeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    pub tenant: &'static str,
    /// Its path names the subscription so.
    pub name: String,
    /// The subscription that it means.
    pub subscription_id: String,
    pub key: Option<String>,
    /// The state of the subscription that it is to change.
    pub if_match: Option<String>,
    /// What is asked for: to cancel so, or to withdraw that.
    pub body: Option<String>,
}

impl Intent {
    /// Whether it is the same request as another to an idempotency key: a precondition does not count.
    fn is_as(&self, other: &Self) -> bool {
        let without = |intent: &Self| Self { if_match: None, ..intent.clone() };
        without(self) == without(other)
    }

    /// The date that it asks for if it is sent at this instant; none if it asks to withdraw.
    fn date(&self, sent: DateTime<Utc>) -> Option<NaiveDate> {
        let asked: Value = serde_json::from_str(self.body.as_ref()?).unwrap();
        Some(date(&asked["schedule"], zone(self.tenant).local_time(sent).date_naive()))
    }
}

/// One request, answered.
pub struct Answer<'a> {
    pub intent: &'a Intent,
    pub request_id: String,
    pub begun: DateTime<Utc>,
    pub status: u64,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer<'_> {
    /// Whether it tells what became of the request, so that there is nothing to repeat.
    pub fn is_definite(&self) -> bool {
        self.status != 503 && !self.body.contains("idempotency_key_locked")
    }
}

/// Where a tenant is.
pub fn zone(tenant: &str) -> TimeZone {
    let name = match tenant {
        "north" => "Europe/Stockholm",
        _ => "Pacific/Auckland",
    };
    name.parse().unwrap()
}

impl Ledger {
    /// Takes down what was there at the beginning.
    pub fn begin(&mut self, database: &Database) {
        for item in database.scan("subscriptions", None) {
            if item["document"].is_object() {
                let pk = text(&item["pk"]).to_owned();
                self.scheduled.extend(item["cancellationId"]["S"].as_str().map(str::to_owned));
                self.versions.insert((pk.clone(), number(&item["version"])), seen(&item));
                self.etags.insert(pk.clone(), vec![etag(&item)]);
                self.subscriptions.insert(pk, item);
            }
        }
        self.at_the_beginning = self.scheduled.len();
    }

    /// Takes down what a write has left behind.
    pub fn written(&mut self, database: &Database, operation: &str, body: &Value, now: DateTime<Utc>) {
        let mut subscription = None;
        let mut record = None;
        match operation {
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
        let changed = subscription.is_some_and(|key| self.subscription(database, key, now));
        let remembered = record.is_some_and(|key| self.record(database, key));
        if operation == "TransactWriteItems" && record.is_some() {
            assert_eq!(changed, remembered, "a change and its record are written together or not at all");
        }
    }

    /// Whether a subscription has changed, in one of the ways that are allowed.
    fn subscription(&mut self, database: &Database, key: &Value, now: DateTime<Utc>) -> bool {
        let item = database.item("subscriptions", key);
        let pk = text(key).to_owned();
        let before = self.subscriptions.get(&pk).expect("no write makes a subscription");
        if *before == item {
            return false;
        }
        let tenant = pk.split('#').next().unwrap();
        assert_eq!(number(&item["version"]), number(&before["version"]) + 1, "{pk}: each write counts");
        assert_ne!(status(before), "CANCELLED", "{pk}: a cancelled subscription never changes");
        assert!(self.writes.insert(text(&item["writeId"]).to_owned()), "{pk}: no two writes have one id");
        if let Some(before) = updated_at(before) {
            assert!(
                updated_at(&item) > Some(before),
                "{pk}: each change is updated later than the one before"
            );
        }
        consistent(&item);
        let (cause, state) = if status(&item) == "CANCELLED" {
            let id = text(&before["cancellationId"]);
            assert_eq!(id, text(&item["cancellationId"]), "{pk}: what was pending is what took effect");
            assert!(before["dueAt"].is_object(), "{pk}: only what is pending takes effect");
            let due = instant(&before["dueAt"]);
            assert!(now >= due, "{pk}: took effect at {now}, before {due}");
            assert_eq!(instant(&item["document"]["M"]["cancelledAt"]), due, "{pk}: at its instant");
            assert!(!self.withdrawn.contains(id), "{pk}: took effect although it was withdrawn");
            assert!(self.executed.insert(id.to_owned()), "{pk}: took effect twice");
            let date: NaiveDate =
                text(&before["document"]["M"]["pendingStatus"]["M"]["scheduledAt"]).parse().unwrap();
            let there = zone(tenant).local_time(now).date_naive();
            assert!(date <= there, "{pk}: took effect on {there}, and not before {date} has begun");
            ("EXECUTED", "EXECUTED")
        } else if item["dueAt"].is_null() {
            let id = text(&before["cancellationId"]);
            assert!(before["dueAt"].is_object(), "{pk}: only what is pending is withdrawn");
            assert!(self.withdrawn.insert(id.to_owned()), "{pk}: withdrawn twice");
            assert!(!self.executed.contains(id), "{pk}: withdrawn although it took effect");
            assert_eq!(status(&item), status(before), "{pk}: the status stays");
            assert!(item["cancellationId"].is_null(), "{pk}: nothing can execute it");
            let kept = &item["cancellation"]["M"];
            assert_eq!(
                (text(&kept["cancellationId"]), text(&kept["withdrawnBy"])),
                (id, &*format!("{tenant}1"))
            );
            ("WITHDRAWN", "WITHDRAWN")
        } else {
            let id = text(&item["cancellationId"]);
            assert!(self.scheduled.insert(id.to_owned()), "{pk}: {id} became pending twice");
            assert_eq!(status(&item), status(before), "{pk}: the status stays until the date");
            let requested_by = text(&item["cancellation"]["M"]["requestedBy"]);
            assert_eq!(requested_by, format!("{tenant}1"), "{pk}: by a key of the tenant");
            let (asked, due) = (instant(&item["cancellation"]["M"]["requestedAt"]), instant(&item["dueAt"]));
            let date = text(&item["document"]["M"]["pendingStatus"]["M"]["scheduledAt"]);
            let date: NaiveDate = date.parse().unwrap();
            let local = |at: DateTime<Utc>| zone(tenant).local_time(at).date_naive();
            assert!(local(asked) < date, "{pk}: {date} is later than the day it was asked for");
            assert_eq!(local(due), date, "{pk}: due on its date");
            assert!(local(due - TimeDelta::seconds(1)) < date, "{pk}: due at the first instant of its date");
            (if before["dueAt"].is_null() { "SCHEDULED" } else { "REPLACED" }, "PENDING")
        };
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

    /// Takes down an event that has come onto the bus: the one of the first change that was not published yet, or one that was.
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
            assert_eq!(*before, event, "{pk}: what is published again is the same");
            return;
        }
        let published = self.published.entry(pk.clone()).or_default();
        let change = self.changes.get(&pk).and_then(|changes| changes.get(published.len()));
        let change = change.unwrap_or_else(|| panic!("{pk}: no change is published: {event}"));
        let Change { kind, version, cause, state, cancellation_id, document } = change;
        assert_eq!(event["type"], *kind, "{pk}: published in its order");
        assert_eq!((&event["version"], &event["cause"]), (&(*version).into(), &(*cause).into()), "{pk}");
        let cancellation = &event["cancellation"];
        assert_eq!(
            (&cancellation["cancellationId"], &cancellation["state"]),
            (&cancellation_id.as_str().into(), &(*state).into()),
            "{pk}: with its cancellation"
        );
        assert_eq!(event["data"], *document, "{pk}: published as it was");
        let of = if *kind == "subscription.cancelled" { "cancelledAt" } else { "updatedAt" };
        assert_eq!(event["occurredAt"], document[of], "{pk}: when it was");
        let about = format!("subscription/{}", document["subscriptionId"].as_str().unwrap());
        assert_eq!(entry["Resources"][1], about);
        published.push(id.clone());
        self.events.insert(id, event);
    }

    /// Whether all that happened has been published.
    fn all_is_published(&self) {
        for (pk, changes) in &self.changes {
            assert_eq!(
                self.published.get(pk).map(Vec::len),
                Some(changes.len()),
                "{pk}: each change is published"
            );
        }
    }

    /// Whether an idempotency key has begun a life.
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

    /// Checks what a caller was told.
    pub fn answered(&self, answer: &Answer, now: DateTime<Utc>, intent_of: impl Fn(&str) -> Intent) {
        let Answer { intent, request_id, begun, status, headers, body } = answer;
        let said: Value = serde_json::from_str(body).unwrap();
        let code = said["code"].as_str().unwrap_or("ok");
        let pk = format!("{}#{}", intent.tenant, intent.subscription_id);
        let replayed = headers.contains_key("idempotent-replayed");
        match (status, code) {
            (200, "ok") => {
                assert_eq!(said["subscriptionId"], intent.subscription_id);
                assert_eq!(said["customerId"], intent.tenant, "tenants never mix");
                let etag = headers["etag"].trim_matches('"');
                let version = etag.split('-').next().unwrap().parse().unwrap();
                let promised = &said["pendingStatus"]["scheduledAt"];
                if !replayed {
                    let asked = intent.date(*begun).map(|date| date.to_string());
                    assert_eq!(promised.as_str(), asked.as_deref(), "what is asked for");
                }
                let stored = &self.versions[&(pk.clone(), version)];
                assert_eq!(stored["scheduledAt"], *promised, "what is promised is what was stored");
                if let Some(if_match) = intent.if_match.as_ref().filter(|_| !replayed) {
                    let at = |etag: &str| self.etags[&pk].iter().position(|had| had == etag).unwrap();
                    let (from, to) = (at(if_match), at(&headers["etag"]));
                    assert!(to == from || to == from + 1, "{pk}: only the state that it names is changed");
                }
            }
            (412, "precondition_failed") => {
                if !replayed {
                    let if_match = intent.if_match.as_ref().expect("it had no precondition");
                    assert_ne!(*if_match, headers["etag"], "{pk}: it is in the state that was named");
                }
                assert!(self.etags[&pk].contains(&headers["etag"]), "{pk}: it was in the state that is told");
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
                let today = zone(intent.tenant).local_time(*begun).date_naive();
                let date = intent.date(*begun).unwrap();
                assert!(date <= today, "{date} is later than {today}");
            }
            (404, "subscription_not_found") => assert!(!self.subscriptions.contains_key(&pk)),
            (409, "idempotency_key_mismatch" | "idempotency_key_locked")
            | (503, "temporarily_unavailable") => {}
            _ => panic!("no caller is told {status} {code}"),
        }
        // The answer to a request with a key is that of a life of the key, which began with the same request.
        let Some(key) = &intent.key else { return };
        let lives = self.lives.get(&format!("{}#{key}", intent.tenant));
        let mut lives = lives.into_iter().flatten().filter(|life| life.begins <= now && *begun < life.ends);
        match code {
            "idempotency_key_mismatch" => {
                assert!(
                    lives.any(|life| !intent_of(&life.request_id).is_as(intent)),
                    "a mismatch with itself"
                );
            }
            _ if answer.is_definite() => {
                let life = lives.find(|life| life.status == *status && life.body == *body);
                let life = life.expect("an answer that is not remembered");
                assert!(intent_of(&life.request_id).is_as(intent), "an answer to another request");
                assert_eq!(replayed, life.request_id != *request_id, "a replay is called one");
            }
            _ => {}
        }
    }

    /// The index names what is pending, and nothing else.
    pub fn indexed(&self, database: &Database) {
        let pending = self.subscriptions.values().filter(|item| item["dueAt"].is_object());
        let pending: BTreeSet<_> = pending.map(|item| text(&item["pk"]).to_owned()).collect();
        let indexed = database.scan("subscriptions", Some("due"));
        let indexed: BTreeSet<_> = indexed.iter().map(|item| text(&item["pk"]).to_owned()).collect();
        assert_eq!(indexed, pending);
    }

    /// When long enough has passed, whatever was pending has taken effect.
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
            assert!(id.is_none_or(|id| self.executed.contains(id)), "{pk}: by itself");
        }
        self.indexed(database);
        self.all_is_published();
        assert!(self.executed.is_subset(&self.scheduled));
    }

    /// How many cancellations have become pending since the beginning.
    pub fn changes(&self) -> usize {
        self.scheduled.len() - self.at_the_beginning
    }

    /// How many events there were.
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// How many were withdrawn.
    pub fn withdrawals(&self) -> usize {
        self.withdrawn.len()
    }

    /// How many have taken effect.
    pub fn executions(&self) -> usize {
        self.executed.len()
    }

    /// The entity tags that a subscription has had, the latest last.
    pub fn etags(&self, tenant: &str, subscription_id: &str) -> &[String] {
        self.etags.get(&format!("{tenant}#{subscription_id}")).map_or(&[], Vec::as_slice)
    }

    /// Instants around which things go wrong: when something is due, or a key is free again.
    pub fn boundaries(&self) -> Vec<DateTime<Utc>> {
        let due = self.subscriptions.values().filter(|item| item["dueAt"].is_object());
        let due = due.map(|item| instant(&item["dueAt"]));
        let free = self.lives.values().filter_map(|lives| lives.last()).map(|life| life.ends);
        due.chain(free).collect()
    }

    /// Records that the database may remove.
    pub fn removable(&self, database: &Database, now: DateTime<Utc>) -> Vec<Value> {
        let records = database.scan("idempotency", None).into_iter();
        let at = u64::try_from(now.timestamp()).unwrap();
        records.filter(|item| number(&item["removeAt"]) < at).map(|item| item["pk"].clone()).collect()
    }
}

/// A cancellation is pending exactly when the index has it, and for the instant that is promised.
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

/// The date that a schedule means for a request that is made today.
fn date(schedule: &Value, today: NaiveDate) -> NaiveDate {
    match schedule["type"].as_str().unwrap() {
        "CancelNextDay" => today + Days::new(1),
        "CancelAtBeginningOfNextMonth" => (today + Months::new(1)).with_day(1).unwrap(),
        _ => schedule["date"].as_str().unwrap().parse().unwrap(),
    }
}

/// The document of an item.
fn document(item: &Value) -> Value {
    let mut stored = item["document"].clone();
    let compressed = stored["M"].as_object_mut().unwrap().remove("compressed").unwrap();
    let mut document: Value = serde_json::from_slice(&decompressed(&compressed)).unwrap();
    document.as_object_mut().unwrap().extend(plain(&stored).as_object().unwrap().clone());
    document
}

fn decompressed(attribute: &Value) -> Vec<u8> {
    let bytes = attribute["B"].as_str().unwrap_or_else(|| panic!("no bytes: {attribute}"));
    decompress(&BASE64_STANDARD.decode(bytes).unwrap()).unwrap()
}

/// An attribute as JSON.
fn plain(attribute: &Value) -> Value {
    let (kind, value) = attribute.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => value.clone(),
        "M" => value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        _ => panic!("no such document has {attribute}"),
    }
}

/// What a caller sees of an item, as far as it is about its cancellation.
fn seen(item: &Value) -> Value {
    let pending = &item["document"]["M"]["pendingStatus"]["M"];
    serde_json::json!({"scheduledAt": pending["scheduledAt"]["S"]})
}

fn etag(item: &Value) -> String {
    format!("\"{}-{}\"", number(&item["version"]), text(&item["writeId"]))
}

fn updated_at(item: &Value) -> Option<DateTime<Utc>> {
    let attribute = &item["document"]["M"]["updatedAt"];
    attribute.is_object().then(|| instant(attribute))
}

fn status(item: &Value) -> &str {
    text(&item["document"]["M"]["status"])
}

fn text(attribute: &Value) -> &str {
    attribute["S"].as_str().unwrap_or_else(|| panic!("no text: {attribute}"))
}

fn number(attribute: &Value) -> u64 {
    attribute["N"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no number: {attribute}"))
}

fn instant(attribute: &Value) -> DateTime<Utc> {
    text(attribute).parse().unwrap()
}
