//! Errors of DynamoDB, sorted by what can be done about them.

use std::error::Error as StdError;
use std::fmt::Write;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// Why the database did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It can't at the moment: unreachable, throttled, or failing. The same request may work later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Another write to the same item is under way. The same request may work in a moment.
    #[error("the item is being written by another request")]
    Conflict,
    /// It is asked for more than it is made for. The same request may work in a moment.
    #[error("the database is throttled")]
    Throttled,
    /// It is still at an earlier attempt of the same transaction. The same request may work in some seconds.
    #[error("the database is still at an earlier attempt")]
    InProgress,
    /// It refuses, or holds something that this service did not write: a mistake in the code, the
    /// configuration or the data, which no retry fixes.
    #[error("{0}")]
    Defect(String),
}

/// The database's own refusal of a call; a call that got no answer is an error.
///
/// # Errors
/// The call got no answer of the database.
pub fn refusal<E: StdError + 'static>(error: SdkError<E, HttpResponse>) -> Result<E, Error> {
    match error {
        // Something on the way may answer too, without a code that DynamoDB knows.
        SdkError::ServiceError(failed) if failed.raw().status().is_server_error() => {
            Err(Error::Unavailable(format!("it answered {}", failed.raw().status())))
        }
        SdkError::ServiceError(refused) => Ok(refused.into_err()),
        SdkError::ConstructionFailure(_) => Err(Error::Defect(causes(&error))),
        // Time-outs, broken connections, answers that are no answers.
        _ => Err(Error::Unavailable(causes(&error))),
    }
}

impl Error {
    /// Why a call failed.
    pub fn from_sdk<E: ProvideErrorMetadata + StdError + 'static>(error: SdkError<E, HttpResponse>) -> Self {
        refusal(error).map_or_else(|failed| failed, |refused| Self::from_refusal(&refused))
    }

    /// Sorts a refusal by its code. Nothing else of it is kept: a text that quotes an item would carry
    /// personal data into the logs.
    #[must_use]
    pub fn from_refusal(refused: &impl ProvideErrorMetadata) -> Self {
        const PASSING: [&str; 5] = [
            "LimitExceededException",
            "ProvisionedThroughputExceededException",
            "ReplicatedWriteConflictException",
            "RequestLimitExceeded",
            "ThrottlingException",
        ];
        match refused.code().unwrap_or("an error without a code") {
            "TransactionConflictException" => Self::Conflict,
            "TransactionInProgressException" => Self::InProgress,
            code if PASSING.contains(&code) => Self::Unavailable(code.to_owned()),
            code => Self::Defect(format!("the database refused a request: {code}")),
        }
    }
}

/// The chain of causes, by their one-line descriptions.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String can't fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
