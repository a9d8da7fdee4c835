//! The environment of a function: the one place that reads its variables.

use std::env;

use store::tables::TableNames;

/// An environment variable is missing, or its value can't be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// A variable is missing that Lambda or the template always sets.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// The certificates that this machine trusts can't be read.
    #[error("the certificates that this machine trusts can't be read: {0}")]
    Roots(String),
    /// The certificate file that `AWS_CA_BUNDLE` names can't be used.
    #[error("AWS_CA_BUNDLE: {0}")]
    Certificates(String),
}

/// Reads a variable; `None` if it is not set, or empty.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads a variable that must be set.
///
/// # Errors
/// The variable is not set, or empty.
pub fn required(name: &'static str) -> Result<String, EnvironmentError> {
    variable(name).ok_or(EnvironmentError::Missing(name))
}

/// Reads the names of the tables from `SUBSCRIPTIONS_TABLE`, `IDEMPOTENCY_TABLE`, `TENANTS_TABLE`, `HISTORY_TABLE`,
/// `WEBHOOKS_TABLE` and `DELIVERIES_TABLE`. For a function, only the names of the tables that it uses are set. The others keep
/// their default names.
#[must_use]
pub fn table_names() -> TableNames {
    let named = |name, default| variable(name).unwrap_or(default);
    let default = TableNames::default();
    TableNames {
        subscriptions: named("SUBSCRIPTIONS_TABLE", default.subscriptions),
        idempotency: named("IDEMPOTENCY_TABLE", default.idempotency),
        tenants: named("TENANTS_TABLE", default.tenants),
        history: named("HISTORY_TABLE", default.history),
        webhooks: named("WEBHOOKS_TABLE", default.webhooks),
        deliveries: named("DELIVERIES_TABLE", default.deliveries),
    }
}
