//! The demo: a tenant, API keys and a few subscriptions to try the service with.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use domain::api_key::{MalformedToken, Scope, Token};
use domain::identifiers::TenantId;
use service::ids::{self, NoEntropy};

use operator::private;

/// The demo tenant's id.
pub const TENANT: &str = "demo";

/// The demo tenant's key on an embedded database.
///
/// The key is public and protects nothing: anyone who reaches an embedded database can write into it without a key. So the
/// events and examples of this project can contain it.
pub const KEY: &str = "ck_demo_all_0000000000000000000000000000000000000000000000000000000000000000066cf89c";

/// The same key, and two keys with fewer scopes, to show how requests are refused.
pub const KEYS: [(&str, &[Scope]); 3] = [
    (KEY, &Scope::ALL),
    ("ck_demo_read_000000000000000000000000000000000000000000000000000000000000000046e9ed9d", &[Scope::Read]),
    (
        "ck_demo_cancel_0000000000000000000000000000000000000000000000000000000000000000fc3be708",
        &[Scope::Cancel],
    ),
];

/// Eight subscriptions: four that are ACTIVATED, and one in each other status.
pub const SUBSCRIPTIONS: &str = include_str!("demo.ndjson");

/// Returns the instant of the state in [`SUBSCRIPTIONS`]. A clock that starts earlier finds the same state.
#[must_use]
pub fn written() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_454)
}

/// The reason for which there is no demo key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file of the key can't be read or written.
    #[error("cannot keep the demo key in {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file of the key holds something else.
    #[error("{0} holds no API key; remove it to get a new one")]
    NotAKey(String),
    /// One of [`KEYS`] is malformed.
    #[error(transparent)]
    Malformed(#[from] MalformedToken),
    /// The system gives no random numbers.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

/// Returns the demo tenant's key for a database that may hold more than a demo: a secret key with all scopes.
///
/// The key is read from `file`, or created, and kept there for the next start.
///
/// # Errors
/// The file can't be read or written, or holds something else.
pub fn secret_key(tenant: &TenantId, file: Option<&Path>) -> Result<Token, KeyError> {
    let Some(path) = file else {
        return Ok(ids::token(tenant.clone(), ids::key_id())?);
    };
    let failed = |source| KeyError::File { path: path.display().to_string(), source };
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| KeyError::NotAKey(path.display().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = ids::token(tenant.clone(), ids::key_id())?;
            let mut file = private::create_file(path).map_err(failed)?;
            writeln!(file, "{}", token.reveal()).map_err(failed)?;
            Ok(token)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::calendar::{Calendar, TimeZone};

    use super::*;
    use operator::ndjson::Lines;

    #[test]
    fn the_demo_has_four_activated_subscriptions_and_one_of_each_other_status() {
        let now = "2026-01-31T22:30:00Z".parse().unwrap();
        let lines = Lines::new(SUBSCRIPTIONS.as_bytes(), Calendar::new(TimeZone::UTC, now), now);
        let mut statuses = BTreeMap::new();
        for line in lines {
            let new = line.unwrap().subscription.unwrap();
            *statuses.entry(format!("{:?}", new.subscription().status)).or_insert(0) += 1;
        }
        let expected = [("Activated", 4), ("Blocked", 1), ("Cancelled", 1), ("Paused", 1), ("Pending", 1)];
        assert_eq!(statuses, expected.map(|(status, count)| (status.to_owned(), count)).into());
    }

    #[test]
    fn the_demo_keys_belong_to_the_demo_tenant_and_are_named_after_their_scopes() {
        let keys = KEYS.map(|(token, _)| token.parse::<Token>().unwrap());
        assert!(keys.iter().all(|token| token.tenant().to_string() == TENANT));
        assert_eq!(keys.map(|token| token.key_id().to_string()), ["all", "read", "cancel"]);
    }
}
