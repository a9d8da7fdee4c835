//! How subscriptions, keys and records are stored: three DynamoDB tables and the writes that keep
//! them true.
//!
//! A request reads everything it needs in one round trip ([`load`]) and writes everything it decided
//! in one more ([`commit`]). Every write of a decision is conditional on the state it was decided from,
//! and every condition that fails is answered from the item that DynamoDB returns with the failure. No call
//! waits without bound: connecting, each attempt and each operation have time-outs, and retries are
//! counted.

pub mod commit;
pub mod due;
pub mod import;
pub mod inspect;
mod items;
pub mod load;
pub mod scan;
pub mod tables;
pub mod tenants;

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    AppName, BehaviorVersion, Builder, Config, Credentials, Region, SharedHttpClient,
};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

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

/// Where the database is, and as whom to speak to it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its URL; none means Amazon DynamoDB in `region`.
    pub url: Option<String>,
    /// The AWS region.
    pub region: String,
    /// The credentials that sign the requests.
    pub credentials: Credentials,
    /// The function that sends the requests, which is named in their user agent, and so in CloudTrail.
    pub function: Option<AppName>,
}

/// The environment lacks something that Lambda always sets.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the environment variable {0} is not set")]
pub struct MissingVariable(&'static str);

impl Endpoint {
    /// The endpoint that the environment names, as it is set in Lambda. `AWS_ENDPOINT_URL_DYNAMODB` or
    /// `AWS_ENDPOINT_URL` lead elsewhere than to Amazon DynamoDB.
    ///
    /// Nothing but the environment is asked for credentials: that is where Lambda puts them, and asking
    /// elsewhere would only make a start slower.
    ///
    /// # Errors
    /// The region or the credentials are not set.
    pub fn from_env() -> Result<Self, MissingVariable> {
        let optional = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let required = |name| optional(name).ok_or(MissingVariable(name));
        Ok(Self {
            url: optional("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| optional("AWS_ENDPOINT_URL")),
            // Lambda sets the first; on a command line it is often the second.
            region: required("AWS_REGION")
                .or_else(|missing| optional("AWS_DEFAULT_REGION").ok_or(missing))?,
            credentials: Credentials::new(
                required("AWS_ACCESS_KEY_ID")?,
                required("AWS_SECRET_ACCESS_KEY")?,
                optional("AWS_SESSION_TOKEN"),
                None,
                "environment",
            ),
            function: optional("AWS_LAMBDA_FUNCTION_NAME").and_then(|name| AppName::new(name).ok()),
        })
    }

    /// The database at `url`, as whom the environment says; if it says nothing, a local one.
    #[must_use]
    pub fn at(url: String) -> Self {
        match Self::from_env() {
            Ok(endpoint) => Self { url: Some(url), ..endpoint },
            Err(_) => Self::local(url),
        }
    }

    /// A database on this machine, which asks for a signature but doesn't check whose it is.
    #[must_use]
    pub fn local(url: String) -> Self {
        let credentials = Credentials::new("local", "local", None, None, "local");
        Self { url: Some(url), region: "eu-north-1".to_owned(), credentials, function: None }
    }

    /// The same, for the requests of this function.
    #[must_use]
    pub fn for_function(self, name: &'static str) -> Self {
        Self { function: AppName::new(name).ok(), ..self }
    }
}

impl Store {
    /// The database at `endpoint`, in `tables`. Connects at the first request.
    #[must_use]
    pub fn new(endpoint: Endpoint, tables: TableNames) -> Self {
        Self { client: Client::from_conf(config(endpoint).build()), tables }
    }

    /// The same, but each request goes through `http_client`: a network of the caller's own making.
    #[must_use]
    pub fn through(http_client: SharedHttpClient, endpoint: Endpoint, tables: TableNames) -> Self {
        Self { client: Client::from_conf(config(endpoint).http_client(http_client).build()), tables }
    }
}

/// How the database is spoken to.
fn config(endpoint: Endpoint) -> Builder {
    // DynamoDB answers in milliseconds or not at all; a caller waits for at most a few of these.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(6))
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_secs(1));
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(endpoint.region))
        .credentials_provider(endpoint.credentials)
        .timeout_config(timeouts)
        .retry_config(retries)
        // The SDK limits how much it retries a database that keeps failing. A store has a limit of its own,
        // in Lambda as on one machine, where by default all stores of a process would share one.
        .retry_partition(RetryPartition::custom("store").build());
    config.set_endpoint_url(endpoint.url);
    config.set_app_name(endpoint.function);
    config
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
        const PASSING: [&str; 6] = [
            "LimitExceededException",
            "ProvisionedThroughputExceededException",
            "ReplicatedWriteConflictException",
            "RequestLimitExceeded",
            "ThrottlingException",
            "TransactionInProgressException",
        ];
        match refused.code().unwrap_or("an error without a code") {
            "TransactionConflictException" => Self::Conflict,
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
