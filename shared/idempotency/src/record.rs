//! Records of answers, and their meaning for another attempt.

use chrono::{DateTime, TimeDelta, Utc};
use dynamodb::{Error, Item};

use crate::{Fingerprint, Key};

/// An answer that can be given again.
///
/// It is stored as attributes of the record's item, beside the record's own: `pk`, `fingerprint`, `requestId`, `expiresAt`,
/// `removeAt`. An answer decides itself what of it is kept: a large body compressed, a personal one encrypted.
pub trait Answer: Clone {
    /// The answer as attributes.
    ///
    /// # Errors
    /// It can't be stored.
    fn to_item(&self) -> Result<Item, Error>;

    /// The answer that these attributes are; `None` if they are none.
    fn from_item(item: &Item) -> Option<Self>;
}

/// One request with a key.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The key.
    pub key: Key,
    /// The request that it is.
    pub fingerprint: Fingerprint,
    /// The id under which it is found in the logs. By it an attempt knows its own record, where the acknowledgement of writing that
    /// was lost, from the record of an earlier attempt.
    pub request_id: String,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// The first answer to a request with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<A> {
    /// The request.
    pub fingerprint: Fingerprint,
    /// Its answer.
    pub answer: A,
    /// The id of the request. Empty if the record was stored without one.
    pub request_id: String,
    /// The second from which the key is free again.
    pub expires_at: DateTime<Utc>,
}

/// The meaning of a record for another attempt with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<A> {
    /// The record is no longer valid, though the database may not have removed it yet: the key is free.
    Expired,
    /// The same request: the same answer. Here a caller may mark it as a replay.
    Replay(A),
    /// Another request: the key is taken.
    Mismatch,
}

impl Attempt {
    /// The record of this attempt, if it is answered like this and its key is kept for `lifetime`.
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

    /// Whether this attempt has written that record itself.
    #[must_use]
    pub fn wrote<A>(&self, record: &Record<A>) -> bool {
        record.request_id == self.request_id && record.fingerprint == self.fingerprint
    }
}

/// The database counts expiry in whole seconds, so everything here does.
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
