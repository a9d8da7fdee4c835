//! The database as an operator uses it: tenants and keys, exports and imports, the tables themselves.
//!
//! No function has the permissions for this, and none is given an [`Admin`].

use std::ops::Deref;

use aws_types::SdkConfig;

use super::Store;
use super::tables::TableNames;

/// The database, as an operator's commands use it. It can do all that a [`Store`] can.
#[derive(Clone, Debug)]
pub struct Admin(Store);

impl Admin {
    /// Returns the database with this configuration, in `tables`. Connects at the first request.
    #[must_use]
    pub fn new(dynamodb: &SdkConfig, tables: TableNames) -> Self {
        Self(Store::new(dynamodb, tables))
    }
}

impl From<Store> for Admin {
    fn from(store: Store) -> Self {
        Self(store)
    }
}

impl Deref for Admin {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.0
    }
}
