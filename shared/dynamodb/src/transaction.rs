//! Transactions: several writes, all of them or none.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, TransactWriteItem};
use uuid::Uuid;

use crate::{Error, Patience, refusal, try_again};

/// An item, or the key of an item.
pub type Item = HashMap<String, AttributeValue>;

/// A transaction that is ready to be written.
///
/// Each attempt sends the same bytes with the same `ClientRequestToken`, by which DynamoDB recognises the transaction for ten
/// minutes. So a lost acknowledgement is harmless: the writes are done once.
pub struct Transaction {
    writes: Vec<TransactWriteItem>,
    token: Uuid,
}

/// The outcome of a transaction.
#[derive(Debug)]
pub enum Written {
    /// Everything was written.
    All,
    /// Nothing was written: conditions failed. The list has one element for each write, in order: `None` if the condition of that
    /// write did not fail.
    Refused(Vec<Option<FailedCondition>>),
    /// Nothing was written: the database refuses a write as invalid, not because of a condition.
    Invalid,
}

/// The error for [`Written::Invalid`], if the writes should be valid for every state of the items.
#[must_use]
pub fn invalid() -> Error {
    Error::Defect("the database refused a request: ValidationException".to_owned())
}

/// A write whose condition failed, with the item that made it fail if DynamoDB was asked to return it.
#[derive(Debug)]
pub struct FailedCondition(pub Option<Item>);

impl Transaction {
    /// A transaction of these writes, at most 100.
    #[must_use]
    pub fn new(writes: Vec<TransactWriteItem>) -> Self {
        Self { writes, token: Uuid::new_v4() }
    }

    /// Writes everything or nothing. A transaction that meets another write is retried unchanged, because an earlier attempt may
    /// have succeeded without an acknowledgement.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another write was under way at every attempt: the last attempt wrote nothing. If the database became
    /// unavailable, everything may have been written, or nothing.
    pub async fn write(&self, client: &Client, patience: Patience) -> Result<Written, Error> {
        try_again(patience, || self.try_write(client)).await
    }

    /// Writes everything or nothing, with one attempt.
    ///
    /// # Errors
    /// The same as for [`Transaction::write`].
    pub async fn try_write(&self, client: &Client) -> Result<Written, Error> {
        let request = client.transact_write_items().set_transact_items(Some(self.writes.clone()));
        match request.client_request_token(self.token.to_string()).send().await {
            Ok(_) => Ok(Written::All),
            Err(error) => match refusal(error)? {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => explain(cancelled),
                other if other.code() == Some("ValidationException") => Ok(Written::Invalid),
                other => Err(Error::from_refusal(&other)),
            },
        }
    }
}

/// Turns the reasons for which a transaction was cancelled into an outcome or an error.
fn explain(cancelled: TransactionCanceledException) -> Result<Written, Error> {
    let reasons = cancelled.cancellation_reasons.unwrap_or_default();
    let any = |code: &str| reasons.iter().any(|reason| reason.code() == Some(code));
    if any("ValidationError") {
        Ok(Written::Invalid)
    } else if any("ConditionalCheckFailed") {
        let failed = |reason: &CancellationReason| reason.code() == Some("ConditionalCheckFailed");
        let condition = |reason: CancellationReason| failed(&reason).then_some(FailedCondition(reason.item));
        Ok(Written::Refused(reasons.into_iter().map(condition).collect()))
    } else if any("TransactionConflict") {
        Err(Error::Conflict)
    } else if any("ThrottlingError") || any("ProvisionedThroughputExceeded") {
        Err(Error::Throttled)
    } else {
        let codes: Vec<_> = reasons.iter().map(|reason| reason.code().unwrap_or_default()).collect();
        Err(Error::Defect(format!("the database cancelled a transaction: {}", codes.join(", "))))
    }
}

/// The error of a request with a missing part.
#[must_use]
pub fn defect(error: BuildError) -> Error {
    Error::Defect(error.to_string())
}
