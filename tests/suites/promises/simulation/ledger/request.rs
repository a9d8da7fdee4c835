//! Requests of callers, and the answers to them.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use domain::calendar::TimeZone;
use serde_json::Value;

/// A request that a caller may repeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    pub tenant: &'static str,
    /// Name of the subscription in the path: its id, or its reference id with the prefix `rid_`.
    pub name: String,
    /// Id of the subscription that the name stands for.
    pub subscription_id: String,
    pub key: Option<String>,
    /// ETag of the state that the request may change.
    pub if_match: Option<String>,
    /// Body of a request to cancel. `None` for a withdrawal.
    pub body: Option<String>,
}

impl Intent {
    /// Returns true if an idempotency key treats both as the same request. A precondition does not count.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let without = |intent: &Self| Self { if_match: None, ..intent.clone() };
        without(self) == without(other)
    }

    /// Returns the date that is asked for if the request is sent at this instant. `None` for a withdrawal.
    pub(super) fn date(&self, sent: DateTime<Utc>) -> Option<NaiveDate> {
        let asked: Value = serde_json::from_str(self.body.as_ref()?).unwrap();
        Some(date(&asked["schedule"], zone(self.tenant).local_time(sent).date_naive()))
    }
}

/// A request and the answer to it.
pub struct Answer<'a> {
    pub intent: &'a Intent,
    pub request_id: String,
    pub begun: DateTime<Utc>,
    pub status: u64,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer<'_> {
    /// Returns true if the answer is final, so that the caller need not retry.
    pub fn is_definite(&self) -> bool {
        self.status != 503 && !self.body.contains("idempotency_key_locked")
    }
}

/// Returns the time zone of a tenant.
pub fn zone(tenant: &str) -> TimeZone {
    let name = match tenant {
        "north" => "Europe/Stockholm",
        _ => "Pacific/Auckland",
    };
    name.parse().unwrap()
}

/// Returns the date of a schedule for a request that is made today.
fn date(schedule: &Value, today: NaiveDate) -> NaiveDate {
    match schedule["type"].as_str().unwrap() {
        "CancelNextDay" => today + Days::new(1),
        "CancelAtBeginningOfNextMonth" => (today + Months::new(1)).with_day(1).unwrap(),
        _ => schedule["date"].as_str().unwrap().parse().unwrap(),
    }
}
