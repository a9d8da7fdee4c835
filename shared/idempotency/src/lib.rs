//! One effect for each idempotency key, on DynamoDB.
//!
//! **Guarantee.** The effect of a request and the record of its answer are written in one transaction. So an effect never exists
//! without its record, nor a record without its effect. No lock is taken, so a process that dies leaves none behind. As long as the
//! key is valid, the same request gets the same answer, and another request with the key is a mismatch.
//!
//! *Invariant:* this crate knows neither the effect nor the form of an answer.
//!
//! - [`Key`]: the caller's name for one intended change.
//! - [`Fingerprint`]: a hash of the parts that identify a request.
//! - [`Attempt`]: one request with a key.
//! - [`Record`], [`Verdict`]: the recorded answer, and its meaning for another attempt.
//! - [`Records`]: the table of records, and the transaction around an effect.

#![warn(missing_docs)]

mod fingerprint;
mod key;
mod record;
mod records;

pub use self::fingerprint::Fingerprint;
pub use self::key::{InvalidKey, Key};
pub use self::record::{Answer, Attempt, Record, Verdict};
pub use self::records::{Commit, Outcome, Records, TTL_ATTRIBUTE};
