//! Idempotency: the same key and the same request get the same answer for 24 hours, and the request
//! takes effect once.
//!
//! What makes that hold is not here but in how it is stored: the record of the answer and the effect
//! are one transaction, so there is never an effect without its record nor a record without its effect,
//! and no lock that a dead function could leave behind. Here are the rules of it: what a key is, when
//! two requests are the same, and what a record means for a request that finds it.
//!
//! Recorded is every answer that ends the matter: a success, or a refusal by the state of a subscription or by the time. So two
//! attempts with a key never get two different answers, and what was refused is not done by an attempt that was still under
//! way. What is wrong with a request at any time, and what went wrong here, leaves the key free.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

/// How long a key belongs to its first request, to the second.
pub const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// A caller's name for one intended change: 1–256 printable ASCII characters, none of them a comma, which is what
/// gateways join two values of a header with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// A text that is no idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an idempotency key")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// The key as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        if (1..=256).contains(&text.len())
            && text.bytes().all(|byte| byte != b',' && matches!(byte, b' '..=b'~'))
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }
}

/// What makes two requests the same: method, path, query, content type and body, to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a request that consists of these parts.
    #[must_use]
    pub fn of(parts: [&[u8]; 5]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // The length first, so that no two requests become one by moving a border.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The fingerprint as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// An answer that can be given again, byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that belong to the answer rather than to the exchange, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// A body may be personal, so an answer never prints itself whole.
impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// What is kept of the first request with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which request it was.
    pub fingerprint: Fingerprint,
    /// What it was answered.
    pub answer: Answer,
    /// The id under which that request is found in the logs. It also tells a request that meets its own
    /// record, because the acknowledgement of writing it was lost, from one that repeats another.
    pub request_id: String,
    /// The second from which the key is free again.
    pub expires_at: DateTime<Utc>,
}

/// What a record means for a request that carries its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The record is no longer valid, though the database may not have removed it yet.
    Expired,
    /// The same request: the same answer.
    Replay(Answer),
    /// Another request: the key is taken.
    Mismatch,
}

impl Record {
    /// The record of a request that is answered at `now`.
    #[must_use]
    pub fn new(fingerprint: Fingerprint, answer: Answer, request_id: String, now: DateTime<Utc>) -> Self {
        Self { fingerprint, answer, request_id, expires_at: whole_second(now + LIFETIME) }
    }

    /// What this record means for a request that comes at `now`.
    #[must_use]
    pub fn verdict(&self, fingerprint: Fingerprint, now: DateTime<Utc>) -> Verdict {
        if self.expires_at <= now {
            Verdict::Expired
        } else if self.fingerprint == fingerprint {
            Verdict::Replay(self.answer.clone())
        } else {
            Verdict::Mismatch
        }
    }
}

/// The database counts expiry in whole seconds, so everything here does.
fn whole_second(instant: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(instant.timestamp(), 0).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        let answer = Answer { status: 200, headers: BTreeMap::new(), body: "{}".into() };
        Record::new(fingerprint(b"{}"), answer, "r1".into(), at("2026-01-01T12:00:00.900Z"))
    }

    fn fingerprint(body: &[u8]) -> Fingerprint {
        Fingerprint::of([b"POST", b"/subscriptions/1/cancel", b"", b"application/json", body])
    }

    fn at(instant: &str) -> DateTime<Utc> {
        instant.parse().unwrap()
    }

    #[test]
    fn a_key_has_1_to_256_printable_ascii_characters_and_no_comma() {
        for valid in ["a", " ~!\"#", &"k".repeat(256)] {
            assert_eq!(valid.parse::<IdempotencyKey>().unwrap().as_str(), valid);
        }
        for invalid in ["", "é", "a,b", "a\tb", "a\u{7f}", &"k".repeat(257)] {
            assert_eq!(invalid.parse::<IdempotencyKey>(), Err(InvalidIdempotencyKey), "{invalid}");
        }
    }

    #[test]
    fn the_same_request_is_replayed_and_another_is_a_mismatch() {
        let now = at("2026-01-02T11:59:59.999Z");
        assert_eq!(record().verdict(fingerprint(b"{}"), now), Verdict::Replay(record().answer));
        assert_eq!(record().verdict(fingerprint(b"{} "), now), Verdict::Mismatch);
    }

    #[test]
    fn a_key_is_free_after_24_hours_to_the_second() {
        assert_eq!(record().verdict(fingerprint(b"{}"), at("2026-01-02T12:00:00Z")), Verdict::Expired);
    }

    #[test]
    fn every_part_of_a_request_counts_and_borders_between_them_do() {
        let original: [&[u8]; 5] = [b"POST", b"/a", b"q=1", b"application/json", b"{}"];
        for part in 0..original.len() {
            let mut other = original;
            other[part] = b"x";
            assert_ne!(Fingerprint::of(original), Fingerprint::of(other));
        }
        assert_ne!(
            Fingerprint::of([b"POST", b"/ab", b"c", b"", b""]),
            Fingerprint::of([b"POST", b"/a", b"bc", b"", b""])
        );
    }

    proptest! {
        #[test]
        fn exactly_the_stated_texts_are_keys(text in "[ -~]{0,258}|[ -~]{0,8}[\\x00-\\x7fé][ -~]{0,8}|.*") {
            let is_key = (1..=256).contains(&text.len())
                && text.chars().all(|c| c.is_ascii() && !c.is_ascii_control() && c != ',');
            let key = text.parse::<IdempotencyKey>().ok();
            prop_assert_eq!(key.as_ref().map(IdempotencyKey::as_str), is_key.then_some(text.as_str()));
        }

        #[test]
        fn two_requests_are_the_same_exactly_if_all_their_parts_are(
            // Of two letters and short, so that many differ in nothing but where a part ends.
            [one, other] in any::<()>().prop_flat_map(|()| {
                let part = || vec(0..2_u8, 0..3);
                let parts = || [part(), part(), part(), part(), part()];
                [parts(), parts()]
            })
        ) {
            let of = |parts: &[Vec<u8>; 5]| Fingerprint::of(parts.each_ref().map(Vec::as_slice));
            prop_assert_eq!(of(&one) == of(&other), one == other);
        }
    }
}
