//! Requests to DynamoDB: errors sorted by what can be done about them, transactions, and the one place that retries.
//!
//! *Invariant:* an error says whether the same request may work later, and has nothing of an item in it.

#![warn(missing_docs)]

mod error;
mod retry;
mod transaction;

pub use self::error::{Error, refusal};
pub use self::retry::{Patience, repeat, try_again};
pub use self::transaction::{FailedCondition, Item, Transaction, Written, defect, invalid};
