//! The endpoint of AWS: its address, its certificates, and the credentials for it.
//!
//! A function has the credentials of its environment alone: Lambda puts them there, and looking elsewhere would only make a start
//! slower. For the same reason, no certificate file is read by default: the roots of Amazon Trust Services, which vouch for the endpoints of
//! AWS, are compiled in. No call waits without a limit: connecting, each attempt and each operation have time-outs, and the number
//! of retries is limited.
//!
//! A proxy is used if the environment names one (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), but never to reach this
//! machine: the proxy would connect to itself, and local traffic would leave the machine.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    AppName, BehaviorVersion, Credentials, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::SdkConfig;
use aws_types::sdk_config::SharedCredentialsProvider;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::{Host, Url};

use crate::environment::{EnvironmentError, required, variable};

/// The five root certificates of Amazon Trust Services. Amazon asks everyone with a trust store of their own to include them:
/// <https://www.amazontrust.com/repository/>.
const AMAZON_ROOTS: &str = include_str!("amazon_roots.pem");

/// The address of an AWS service, and the credentials for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The URL of the service; `None` means that of AWS in `region`.
    pub url: Option<String>,
    /// The AWS region.
    pub region: String,
    /// The credentials that sign the requests.
    pub credentials: SharedCredentialsProvider,
    /// The function that sends the requests. Their user agent names it, and so does CloudTrail.
    pub function: Option<AppName>,
    /// The root certificates that are trusted, in PEM; `None` means those of Amazon Trust Services.
    pub roots: Option<String>,
}

impl Endpoint {
    /// Reads the endpoint of DynamoDB from the environment, as Lambda sets it. `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`
    /// name another endpoint than that of Amazon DynamoDB.
    ///
    /// `AWS_CA_BUNDLE` names a file of certificates to trust instead of Amazon's, for example those of a proxy on the way.
    ///
    /// # Errors
    /// The region or the credentials are not set, or the certificate file can't be used.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Self::from_env_of("DYNAMODB")
    }

    /// Reads the endpoint of another service, by its name in `AWS_ENDPOINT_URL_<SERVICE>`.
    ///
    /// # Errors
    /// The region or the credentials are not set, or the certificate file can't be used.
    pub fn from_env_of(service: &str) -> Result<Self, EnvironmentError> {
        // Lambda sets the first. On a command line, often the second is set.
        let region =
            required("AWS_REGION").or_else(|missing| variable("AWS_DEFAULT_REGION").ok_or(missing))?;
        let credentials = Credentials::new(
            required("AWS_ACCESS_KEY_ID")?,
            required("AWS_SECRET_ACCESS_KEY")?,
            variable("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        Self::with(service, region, SharedCredentialsProvider::new(credentials))
    }

    /// Returns the endpoint of a service in this region, with these credentials. The rest is read from the environment.
    ///
    /// # Errors
    /// The certificate file can't be used.
    pub fn with(
        service: &str,
        region: String,
        credentials: SharedCredentialsProvider,
    ) -> Result<Self, EnvironmentError> {
        Ok(Self {
            url: variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL")),
            region,
            credentials,
            function: variable("AWS_LAMBDA_FUNCTION_NAME").and_then(|name| AppName::new(name).ok()),
            roots: roots_of_env()?,
        })
    }

    /// Returns the service at `url`, with the credentials of the environment. If the environment has no usable endpoint, the
    /// service is a local one.
    #[must_use]
    pub fn at(url: String) -> Self {
        match Self::from_env() {
            Ok(endpoint) => Self { url: Some(url), ..endpoint },
            Err(_) => Self::local(url),
        }
    }

    /// Returns a service on this machine, which requires a signature but accepts any.
    #[must_use]
    pub fn local(url: String) -> Self {
        let credentials = Credentials::new("local", "local", None, None, "local");
        let region = "eu-north-1".to_owned();
        let credentials = SharedCredentialsProvider::new(credentials);
        Self { url: Some(url), region, credentials, function: None, roots: None }
    }

    /// Returns the same endpoint, for the requests of this function.
    #[must_use]
    pub fn for_function(self, name: &'static str) -> Self {
        Self { function: AppName::new(name).ok(), ..self }
    }

    /// Returns the proxy on the way to the service, without user and password.
    #[must_use]
    pub fn proxy(&self) -> Option<String> {
        // Services of AWS are reached by HTTPS, under names that end like this.
        let url = self.url.clone().unwrap_or_else(|| format!("https://{}.amazonaws.com", self.region));
        let destination = url.parse().ok().filter(|_| !is_on_this_machine(&url))?;
        let proxy = Matcher::from_env().intercept(&destination)?.uri().clone();
        Some(proxy.to_string().trim_end_matches('/').to_owned())
    }

    /// Returns the configuration for a client of the SDK.
    #[must_use]
    pub fn sdk_config(&self) -> SdkConfig {
        // These services answer in milliseconds or not at all. A caller waits for a few operations at most.
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
            .http_client(http_client(
                self.roots.as_deref().unwrap_or(AMAZON_ROOTS),
                self.url.as_deref().is_some_and(is_on_this_machine),
            ))
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials.clone())
            .timeout_config(timeouts)
            // Bodies are short, and each attempt has a time-out. The protection would only take processor time.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(retries);
        config.set_endpoint_url(self.url.clone());
        config.set_app_name(self.function.clone());
        config.build()
    }
}

/// Returns true if a URL leads to this machine: by a loopback or unspecified address, or a name of `localhost`.
fn is_on_this_machine(url: &str) -> bool {
    let url = Url::parse(url).ok();
    let address = match url.as_ref().and_then(Url::host) {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            return name == "localhost" || name.ends_with(".localhost");
        }
        None => return false,
    };
    address.is_loopback() || address.is_unspecified()
}

/// Builds an HTTP client that trusts these roots. It uses the proxy that the environment names, unless the service is on this
/// machine.
fn http_client(roots: &str, is_on_this_machine: bool) -> SharedHttpClient {
    // Building the TLS context can't fail.
    let trusted = TrustStore::empty().with_pem_certificate(roots);
    let tls = TlsContext::builder().with_trust_store(trusted).build().unwrap_or_default();
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default();
        connector.set_connector_settings(settings.cloned());
        let proxy = if is_on_this_machine { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
        connector.set_proxy_config(Some(proxy));
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone()).build()
    })
}

/// Returns an HTTP client for services of AWS, with the certificates and the proxy of the environment.
///
/// # Errors
/// The certificate file can't be used.
pub fn https_client() -> Result<SharedHttpClient, EnvironmentError> {
    Ok(http_client(roots_of_env()?.as_deref().unwrap_or(AMAZON_ROOTS), false))
}

/// Reads the certificates that `AWS_CA_BUNDLE` names.
fn roots_of_env() -> Result<Option<String>, EnvironmentError> {
    variable("AWS_CA_BUNDLE").map(|file| certificates(&file)).transpose()
}

/// Reads the certificates in a file: at least one, and each can be a root.
fn certificates(file: &str) -> Result<String, EnvironmentError> {
    let unusable = |why: String| EnvironmentError::Certificates(format!("{file}: {why}"));
    let text = fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("no certificate".to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::env::temp_dir;

    use super::*;

    /// Reads a certificate file with this text.
    fn read(name: &str, text: &str) -> Result<String, String> {
        let file = temp_dir().join(format!("{name}-{}.pem", std::process::id()));
        fs::write(&file, text).unwrap();
        let read = certificates(file.to_str().unwrap());
        fs::remove_file(file).unwrap();
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_of_this_machine_are_recognised() {
        for here in [
            "http://127.0.0.1:8000",
            "http://127.1.2.3",
            "http://127.1:8000",
            "http://0.0.0.0:8000",
            "http://localhost:8000/",
            "http://LOCALHOST.",
            "http://db.localhost:8000",
            "http://[::1]:8000",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(is_on_this_machine(here), "{here}");
        }
        for elsewhere in [
            "https://dynamodb.eu-north-1.amazonaws.com",
            "http://localhost.example.com",
            "http://10.0.0.1:8000",
            "http://128.0.0.1",
            "http://[::2]",
            "",
        ] {
            assert!(!is_on_this_machine(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn the_five_amazon_root_certificates_can_be_read() {
        assert_eq!(read("amazon", AMAZON_ROOTS).as_deref(), Ok(AMAZON_ROOTS));
        assert_eq!(AMAZON_ROOTS.matches("BEGIN CERTIFICATE").count(), 5);
    }

    #[test]
    fn a_file_without_valid_certificates_is_refused() {
        assert!(read("empty", "").unwrap_err().ends_with("no certificate"));
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in [nonsense, &format!("{AMAZON_ROOTS}{nonsense}"), &nonsense.replace("AAAA", "&&")] {
            assert!(read("nonsense", text).unwrap_err().starts_with("AWS_CA_BUNDLE: "));
        }
        assert!(certificates("/nowhere/to/be/found.pem").unwrap_err().to_string().contains("/nowhere"));
    }
}
