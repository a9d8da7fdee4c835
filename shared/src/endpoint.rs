//! Where AWS is, and as whom to speak to it.
//!
//! Nothing but the environment is asked for credentials: that is where Lambda puts them, and asking elsewhere
//! would only make a start slower. No call waits without bound: connecting, each attempt and each operation
//! have time-outs, and retries are counted.

use std::env;
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{AppName, BehaviorVersion, Credentials, Region};
use aws_types::SdkConfig;
use aws_types::sdk_config::SharedCredentialsProvider;

/// Where a service of AWS is, and as whom to speak to it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its URL; none means that of AWS in `region`.
    pub url: Option<String>,
    /// The AWS region.
    pub region: String,
    /// The credentials that sign the requests.
    pub credentials: Credentials,
    /// The function that sends the requests, which is named in their user agent, and so in CloudTrail.
    pub function: Option<AppName>,
}

/// The environment lacks something that a function needs: what Lambda always sets, or what the template does.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the environment variable {0} is not set")]
pub struct MissingVariable(pub &'static str);

impl Endpoint {
    /// The endpoint of DynamoDB that the environment names, as it is set in Lambda.
    /// `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL` lead elsewhere than to Amazon DynamoDB.
    ///
    /// # Errors
    /// The region or the credentials are not set.
    pub fn from_env() -> Result<Self, MissingVariable> {
        Self::from_env_of("DYNAMODB")
    }

    /// The same of another service, by its name in `AWS_ENDPOINT_URL_<SERVICE>`.
    ///
    /// # Errors
    /// The region or the credentials are not set.
    pub fn from_env_of(service: &str) -> Result<Self, MissingVariable> {
        let required = |name| variable(name).ok_or(MissingVariable(name));
        Ok(Self {
            url: variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL")),
            // Lambda sets the first; on a command line it is often the second.
            region: required("AWS_REGION")
                .or_else(|missing| variable("AWS_DEFAULT_REGION").ok_or(missing))?,
            credentials: Credentials::new(
                required("AWS_ACCESS_KEY_ID")?,
                required("AWS_SECRET_ACCESS_KEY")?,
                variable("AWS_SESSION_TOKEN"),
                None,
                "environment",
            ),
            function: variable("AWS_LAMBDA_FUNCTION_NAME").and_then(|name| AppName::new(name).ok()),
        })
    }

    /// The service at `url`, as whom the environment says; if it says nothing, a local one.
    #[must_use]
    pub fn at(url: String) -> Self {
        match Self::from_env() {
            Ok(endpoint) => Self { url: Some(url), ..endpoint },
            Err(_) => Self::local(url),
        }
    }

    /// A service on this machine, which asks for a signature but doesn't check whose it is.
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

    /// How the service is spoken to, for a client of the SDK.
    #[must_use]
    pub fn sdk_config(self) -> SdkConfig {
        // These services answer in milliseconds or not at all; a caller waits for at most a few of these.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(2))
            .operation_timeout(Duration::from_secs(6))
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(3)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(Duration::from_secs(1));
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region))
            .credentials_provider(SharedCredentialsProvider::new(self.credentials))
            .timeout_config(timeouts)
            .retry_config(retries);
        config.set_endpoint_url(self.url);
        config.set_app_name(self.function);
        config.build()
    }
}

/// A variable of the environment, if it says anything.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
