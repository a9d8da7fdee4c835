//! Requests to DynamoDB: errors sorted by the way to handle them, transactions, and the one place that retries.
//!
//! *Invariant:* an error says whether the same request may work later, and contains nothing of an item.

#![warn(missing_docs)]

mod error;
mod retry;
mod transaction;

pub use self::error::{Error, refusal};
pub use self::retry::{Patience, repeat, try_again};
pub use self::transaction::{FailedCondition, Item, Transaction, Written, defect, invalid};
