//! One effect for each idempotency key, on DynamoDB.
//!
//! **Guarantee.** The effect of a request and the record of its answer are one transaction. So there is never an effect without
//! its record, nor a record without its effect, and no lock that a process could leave behind when it dies. For as long as the key
//! is kept, the same request gets the same answer, and another request with the key gets none.
//!
//! *Invariant:* nothing here knows what the effect is, or what an answer looks like.
//!
//! - [`Key`]: the caller's name for one intended change.
//! - [`Fingerprint`]: the parts that make two requests the same.
//! - [`Attempt`]: one request with a key.
//! - [`Record`], [`Verdict`]: the answer that is kept, and its meaning for another attempt.
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
