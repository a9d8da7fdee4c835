//! What a function is built on: the database and the clock.

use crate::clock::Clock;
use crate::endpoint::{Endpoint, EnvironmentError};
use crate::store::Store;
use crate::store::tables::TableNames;

/// The database and the clock, built once when a function starts.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where everything is stored.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
}

impl Service {
    /// The service that the environment of a Lambda function describes.
    ///
    /// # Errors
    /// The region or the credentials are not set, or the file of certificates holds none.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        let store = Store::new(Endpoint::from_env()?, TableNames::from_env());
        Ok(Self { store, clock: Clock::system() })
    }
}
