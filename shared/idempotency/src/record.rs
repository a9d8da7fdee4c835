//! Records of answers, and their meaning for another attempt.

use chrono::{DateTime, TimeDelta, Utc};
use dynamodb::{Error, Item};

use crate::{Fingerprint, Key};

/// An answer that can be replayed.
///
/// The answer is stored as attributes of the record's item, beside the record's own: `pk`, `fingerprint`, `requestId`, `expiresAt`,
/// `removeAt`. The implementation decides which parts are kept, and in which form: it may compress a large body, or encrypt a
/// personal one.
pub trait Answer: Clone {
    /// The answer as attributes.
    ///
    /// # Errors
    /// The answer can't be stored.
    fn to_item(&self) -> Result<Item, Error>;

    /// The answer in these attributes; `None` if it is missing or malformed.
    fn from_item(item: &Item) -> Option<Self>;
}

/// One request with a key.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The idempotency key.
    pub key: Key,
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The id of the request, under which it is found in the logs. If the acknowledgement of a write was lost, an attempt uses this
    /// id to tell its own record from the record of an earlier attempt.
    pub request_id: String,
    /// The time of the attempt.
    pub now: DateTime<Utc>,
}

/// The answer to the first request with a key, stored under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<A> {
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The answer to the request.
    pub answer: A,
    /// The id of the request. Empty if the record was stored without one.
    pub request_id: String,
    /// The time from which the key is free again, in whole seconds.
    pub expires_at: DateTime<Utc>,
}

/// The meaning of a record for another attempt with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<A> {
    /// The key is free: the record has expired, although the database may not have removed it yet.
    Expired,
    /// The request is the same, so the answer is the same. The user of this crate may mark it as a replay.
    Replay(A),
    /// The key belongs to another request.
    Mismatch,
}

impl Attempt {
    /// The record of this attempt, with this answer and a key that is valid for `lifetime`.
    #[must_use]
    pub fn record<A>(&self, answer: A, lifetime: TimeDelta) -> Record<A> {
        Record {
            fingerprint: self.fingerprint,
            answer,
            request_id: self.request_id.clone(),
            expires_at: whole_second(self.now + lifetime),
        }
    }

    /// The meaning of a record for this attempt.
    #[must_use]
    pub fn verdict<A>(&self, record: Record<A>) -> Verdict<A> {
        if record.expires_at <= self.now {
            Verdict::Expired
        } else if record.fingerprint == self.fingerprint {
            Verdict::Replay(record.answer)
        } else {
            Verdict::Mismatch
        }
    }

    /// Returns true if this attempt wrote the record itself.
    #[must_use]
    pub fn wrote<A>(&self, record: &Record<A>) -> bool {
        record.request_id == self.request_id && record.fingerprint == self.fingerprint
    }
}

/// The instant, rounded down to a whole second. The database counts expiry in whole seconds, so this module does too.
fn whole_second(instant: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(instant.timestamp(), 0).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(body: &[u8], now: &str) -> Attempt {
        let fingerprint = Fingerprint::of([b"POST".as_slice(), body]);
        Attempt { key: "k".parse().unwrap(), fingerprint, request_id: "r1".into(), now: now.parse().unwrap() }
    }

    fn record() -> Record<u16> {
        attempt(b"{}", "2026-01-01T12:00:00.900Z").record(200, TimeDelta::hours(24))
    }

    #[test]
    fn the_same_request_is_replayed_and_another_is_a_mismatch() {
        let now = "2026-01-02T11:59:59.999Z";
        assert_eq!(attempt(b"{}", now).verdict(record()), Verdict::Replay(200));
        assert_eq!(attempt(b"{} ", now).verdict(record()), Verdict::Mismatch);
    }

    #[test]
    fn a_key_is_free_after_its_lifetime_to_the_second() {
        assert_eq!(attempt(b"{}", "2026-01-02T12:00:00Z").verdict(record()), Verdict::Expired);
    }

    #[test]
    fn an_attempt_knows_its_own_record() {
        let own = attempt(b"{}", "2026-01-01T12:00:01Z");
        assert!(own.wrote(&record()));
        assert!(!Attempt { request_id: "r2".into(), ..own.clone() }.wrote(&record()));
        assert!(!attempt(b"other", "2026-01-01T12:00:01Z").wrote(&record()));
    }
}
