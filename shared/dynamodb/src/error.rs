//! Errors of DynamoDB, sorted by the way to handle them.

use std::error::Error as StdError;
use std::fmt::Write;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// The error of a request to the database.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database is unreachable, throttled or failing. The same request may work later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Another write to the same item is under way. The same request may work in a moment.
    #[error("the item is being written by another request")]
    Conflict,
    /// The requests exceed the capacity of the database. The same request may work in a moment.
    #[error("the database is throttled")]
    Throttled,
    /// The database is still working on an earlier attempt of the same transaction. The same request may work in some seconds.
    #[error("the database is still working on an earlier attempt")]
    InProgress,
    /// The database refuses the request, or holds something that this service did not write. The mistake is in the code, the
    /// configuration or the data, and no retry fixes it.
    #[error("{0}")]
    Defect(String),
}

/// Returns the database's own refusal of a call. A call without an answer of the database is an error.
///
/// # Errors
/// [`Error::Unavailable`] if the call got no answer or a server error; [`Error::Defect`] if the request could not be built.
pub fn refusal<E: StdError + 'static>(error: SdkError<E, HttpResponse>) -> Result<E, Error> {
    match error {
        // A proxy on the way may answer too, without an error code of DynamoDB.
        SdkError::ServiceError(failed) if failed.raw().status().is_server_error() => {
            Err(Error::Unavailable(format!("it answered with status {}", failed.raw().status())))
        }
        SdkError::ServiceError(refused) => Ok(refused.into_err()),
        SdkError::ConstructionFailure(_) => Err(Error::Defect(causes(&error))),
        // Time-outs, broken connections, malformed answers.
        _ => Err(Error::Unavailable(causes(&error))),
    }
}

impl Error {
    /// Sorts the error of a call, whether or not the database answered.
    pub fn from_sdk<E: ProvideErrorMetadata + StdError + 'static>(error: SdkError<E, HttpResponse>) -> Self {
        refusal(error).map_or_else(|failed| failed, |refused| Self::from_refusal(&refused))
    }

    /// Sorts a refusal by its code. The rest is dropped: a message that quotes an item would bring personal data into the logs.
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

/// Joins the one-line descriptions of an error and its causes.
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
