//! How subscriptions, keys and records are stored: three DynamoDB tables and the writes that keep
//! them true.
//!
//! A request reads everything it needs in one round trip ([`load`]) and writes everything it decided
//! in one more ([`commit`]). Every write of a decision is conditional on the state it was decided from,
//! and every condition that fails is answered from the item that DynamoDB returns with the failure. Every
//! write is in the table's stream, which events are made from ([`stream`]).

pub mod commit;
pub mod compression;
mod document;
pub mod due;
pub mod import;
pub mod inspect;
mod items;
pub mod load;
pub mod retry;
pub mod scan;
pub mod stream;
pub mod tables;
pub mod tenants;

use std::error::Error;
use std::fmt::Write;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_sdk_dynamodb::config::{Builder, SharedHttpClient};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_types::SdkConfig;

use self::items::Item;
use self::tables::TableNames;

/// The database, as the functions use it.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    tables: TableNames,
}

/// Where the next page of an answer begins that has more than one.
#[derive(Clone)]
pub struct NextPage(Item);

impl Store {
    /// The database that is spoken to like this, in `tables`. Connects at the first request.
    #[must_use]
    pub fn new(dynamodb: &SdkConfig, tables: TableNames) -> Self {
        Self { client: Client::from_conf(config(dynamodb).build()), tables }
    }

    /// The same, but each request goes through `http_client`: a network of the caller's own making.
    #[must_use]
    pub fn through(http_client: SharedHttpClient, dynamodb: &SdkConfig, tables: TableNames) -> Self {
        Self { client: Client::from_conf(config(dynamodb).http_client(http_client).build()), tables }
    }
}

fn config(dynamodb: &SdkConfig) -> Builder {
    // The SDK limits how much it retries a database that keeps failing. A store has a limit of its own, in
    // Lambda as on one machine, where by default all stores of a process would share one.
    Builder::from(dynamodb).retry_partition(RetryPartition::custom("store").build())
}

/// Why the database did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
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
    /// configuration or the data, which no retry mends.
    #[error("{0}")]
    Defect(String),
}

/// The database's own refusal of a call; a call that got no answer is an error.
fn refusal<E: Error + 'static>(error: SdkError<E, HttpResponse>) -> Result<E, StoreError> {
    match error {
        // Something on the way may answer too, without a code that DynamoDB knows.
        SdkError::ServiceError(failed) if failed.raw().status().is_server_error() => {
            Err(StoreError::Unavailable(format!("it answered {}", failed.raw().status())))
        }
        SdkError::ServiceError(refused) => Ok(refused.into_err()),
        SdkError::ConstructionFailure(_) => Err(StoreError::Defect(causes(&error))),
        // Time-outs, broken connections, answers that are no answers.
        _ => Err(StoreError::Unavailable(causes(&error))),
    }
}

impl StoreError {
    fn from_sdk<E: ProvideErrorMetadata + Error + 'static>(error: SdkError<E, HttpResponse>) -> Self {
        refusal(error).map_or_else(|failed| failed, |refused| Self::from_refusal(&refused))
    }

    /// Sorts a refusal by its code. Nothing else of it is kept: a text that quotes an item would carry
    /// personal data into the logs.
    fn from_refusal(refused: &impl ProvideErrorMetadata) -> Self {
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
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String can't fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
