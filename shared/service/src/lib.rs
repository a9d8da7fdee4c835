//! The use cases of the service, and the parts that a function needs to run.
//!
//! - [`get`], [`cancel`]: the requests of callers, to read, preview, cancel and withdraw.
//! - [`import`]: imports subscriptions for an operator.
//! - [`sweep`]: executes the cancellations that are due.
//! - [`publish`]: turns writes into events on a bus.
//! - [`deliver`]: posts events to webhooks.
//! - [`http`]: turns requests into types, and decisions and problems into answers.
//! - [`ids`]: makes new ids and secrets.
//! - [`clock`], [`endpoint`], [`environment`], [`telemetry`].

#![warn(missing_docs)]

pub mod cancel;
pub mod deliver;
pub mod get;
pub mod import;
pub mod publish;
pub mod sweep;

pub mod http;

pub mod clock;
pub mod endpoint;
pub mod environment;
pub mod ids;
pub mod telemetry;

use store::Store;

use self::clock::Clock;
use self::endpoint::Endpoint;
use self::environment::{EnvironmentError, table_names};

/// The database and the clock, built once when a function starts.
#[derive(Clone, Debug)]
pub struct Service {
    /// The database.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
}

impl Service {
    /// Builds the service from the environment of a Lambda function.
    ///
    /// # Errors
    /// The region or the credentials are not set, or the certificate file can't be used.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        let store = Store::new(&Endpoint::from_env()?.sdk_config(), table_names());
        Ok(Self { store, clock: Clock::system() })
    }
}
