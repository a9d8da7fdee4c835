//! The credentials of a command: as the AWS CLI finds them, in the environment, in profiles and by single sign-on. A function has
//! those of its environment only.

use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_credential_types::provider::ProvideCredentials;
use service::endpoint::{Endpoint, https_client};
use service::environment::variable;

/// A service of AWS, by its name in `AWS_ENDPOINT_URL_<SERVICE>`.
pub(crate) const DYNAMODB: &str = "DYNAMODB";
pub(crate) const SQS: &str = "SQS";

/// Returns the endpoint of a service, with the credentials that the SDK finds.
pub(crate) async fn endpoint(service: &str) -> Result<Endpoint, String> {
    let is_in_environment = variable("AWS_ACCESS_KEY_ID").is_some();
    if is_in_environment && variable("AWS_PROFILE").is_none() {
        return Endpoint::from_env_of(service).map_err(|missing| missing.to_string());
    }
    // The region of a machine in AWS is not asked for: elsewhere, that would only take time.
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let client = https_client().map_err(|error| error.to_string())?;
    let config =
        aws_config::defaults(BehaviorVersion::latest()).region(region).http_client(client).load().await;
    let region = config
        .region()
        .ok_or("no region is known; set AWS_REGION, or AWS_PROFILE to a profile that has one")?;
    let credentials = config.credentials_provider().ok_or("no credentials are known")?;
    let found = credentials.provide_credentials().await;
    found.map_err(|error| format!("no credentials are found: {}", aws_sdk_error(&error)))?;
    Endpoint::with(service, region.to_string(), credentials).map_err(|error| error.to_string())
}

/// Formats an error with its causes, on one line.
fn aws_sdk_error(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
