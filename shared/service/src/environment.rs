//! The environment of a function: the one place that reads its variables.

use std::env;

use store::tables::TableNames;

/// The environment does not say what a function needs.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// It lacks what Lambda always sets, or what the template does.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// The file of certificates that it names can't be used.
    #[error("AWS_CA_BUNDLE: {0}")]
    Certificates(String),
}

/// A variable; `None` if it is not set, or empty.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that must be set.
///
/// # Errors
/// It is not.
pub fn required(name: &'static str) -> Result<String, EnvironmentError> {
    variable(name).ok_or(EnvironmentError::Missing(name))
}

/// The names of the tables, in `SUBSCRIPTIONS_TABLE`, `IDEMPOTENCY_TABLE` and `TENANTS_TABLE`. A function is told only those that
/// it uses; the others keep their default names.
#[must_use]
pub fn table_names() -> TableNames {
    let named = |name, default| variable(name).unwrap_or(default);
    let default = TableNames::default();
    TableNames {
        subscriptions: named("SUBSCRIPTIONS_TABLE", default.subscriptions),
        idempotency: named("IDEMPOTENCY_TABLE", default.idempotency),
        tenants: named("TENANTS_TABLE", default.tenants),
    }
}
