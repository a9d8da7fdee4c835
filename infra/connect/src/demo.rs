//! A tenant, an API key and a few subscriptions, so that there is something to try.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use subscriptions::api_key::{NoEntropy, Token};
use subscriptions::calendar::Calendar;
use subscriptions::identifiers::{InvalidIdentifier, SubscriptionId, TenantId};
use subscriptions::json;
use subscriptions::store::provision::NewSubscription;
use uuid::Uuid;

/// The demo tenant's id.
pub const TENANT: &str = "demo";

/// Eight subscriptions: four ACTIVATED, one of each other status.
pub const SUBSCRIPTIONS: &str = include_str!("demo.ndjson");

/// A line of a file of subscriptions that is no subscription.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct InvalidLine {
    line: usize,
    fault: String,
}

/// Reads subscriptions in the wire shape, one a line; empty lines are passed over.
///
/// # Errors
/// The first line that is no subscription, or repeats the id or reference id of another.
pub fn read_subscriptions(
    ndjson: &str,
    calendar: &Calendar,
    now: DateTime<Utc>,
) -> Result<Vec<NewSubscription>, InvalidLine> {
    let mut ids = HashSet::new();
    let mut references = HashSet::new();
    let mut subscriptions = Vec::new();
    for (line, text) in (1..).zip(ndjson.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let invalid = |fault: String| InvalidLine { line, fault };
        let document = json::parse(text.as_bytes()).map_err(|place| {
            invalid(format!("not JSON, or a repeated member, at column {}", place.column))
        })?;
        let new = NewSubscription::from_json(document, calendar, now)
            .map_err(|fault| invalid(fault.to_string()))?;
        if !ids.insert(new.subscription().subscription_id) {
            return Err(invalid("subscriptionId: another line has the same".to_owned()));
        }
        if let Some(reference) = &new.subscription().reference_id
            && !references.insert(reference.clone())
        {
            return Err(invalid("referenceId: another line has the same".to_owned()));
        }
        subscriptions.push(new);
    }
    Ok(subscriptions)
}

/// Why there is no demo key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file that keeps it can't be read or written.
    #[error("cannot keep the demo key in {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file that keeps it holds something else.
    #[error("{0} holds no API key; remove it to get a new one")]
    NotAKey(String),
    /// There are no random numbers.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// Its parts are no identifiers.
    #[error(transparent)]
    Identifier(#[from] InvalidIdentifier),
}

/// The demo tenant's key: the one in `file`, or a new one, which is kept there for the next start.
///
/// # Errors
/// The file can't be read or written, or holds something else.
pub fn api_key(tenant: &TenantId, file: Option<&Path>) -> Result<Token, KeyError> {
    let Some(path) = file else {
        return generate(tenant);
    };
    let failed = |source| KeyError::File { path: path.display().to_string(), source };
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| KeyError::NotAKey(path.display().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = generate(tenant)?;
            let mut file = create_private(path).map_err(failed)?;
            writeln!(file, "{}", token.reveal()).map_err(failed)?;
            Ok(token)
        }
        Err(error) => Err(failed(error)),
    }
}

fn generate(tenant: &TenantId) -> Result<Token, KeyError> {
    let key_id = Uuid::new_v4().simple().to_string().chars().take(12).collect::<String>();
    let key_id = key_id.parse()?;
    Ok(Token::generate(tenant.clone(), key_id)?)
}

/// A new file that only its owner can read.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The ids of subscriptions, in their order.
#[must_use]
pub fn ids(subscriptions: &[NewSubscription]) -> Vec<SubscriptionId> {
    subscriptions.iter().map(|new| new.subscription().subscription_id).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono_tz::Tz;

    use super::*;

    fn read(ndjson: &str) -> Result<Vec<NewSubscription>, String> {
        let now = "2026-01-31T22:30:00Z".parse().unwrap();
        read_subscriptions(ndjson, &Calendar::new(Tz::UTC, now), now).map_err(|error| error.to_string())
    }

    #[test]
    fn there_are_four_activated_and_one_of_each_other_status() {
        let mut statuses = BTreeMap::new();
        for new in read(SUBSCRIPTIONS).unwrap() {
            *statuses.entry(format!("{:?}", new.subscription().status)).or_insert(0) += 1;
        }
        let expected = [("Activated", 4), ("Blocked", 1), ("Cancelled", 1), ("Paused", 1), ("Pending", 1)];
        assert_eq!(statuses, expected.map(|(status, count)| (status.to_owned(), count)).into());
    }

    #[test]
    fn a_faulty_line_is_named_without_its_content() {
        let good = r#"{"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "ACTIVATED", "referenceId": "r"}"#;
        for (bad, fault) in [
            ("{", "line 3: not JSON, or a repeated member, at column 1"),
            ("[]", "line 3: "),
            (r#"{"status": "ACTIVATED"}"#, "line 3: missing field `subscriptionId`"),
            (
                r#"{"subscriptionId": "secret", "status": "ACTIVATED"}"#,
                "line 3: subscriptionId: not a valid identifier",
            ),
            (
                r#"{"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b2", "status": "secret"}"#,
                "line 3: status: expected one of",
            ),
            (
                r#"{"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b2", "status": "PENDING", "msisdn": 46701740605}"#,
                "line 3: msisdn: expected a string",
            ),
            (good, "line 3: subscriptionId: another line has the same"),
            (&good.replace("13b1", "13b2"), "line 3: referenceId: another line has the same"),
        ] {
            let message = read(&format!("{good}\n\n{bad}\n")).err().unwrap();
            assert!(message.starts_with(fault), "{message}");
            assert!(!message.contains("46701740605") && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn a_cancellation_that_is_pending_in_a_document_needs_a_date_to_come() {
        let line = |status: &str, date: &str| {
            format!(
                r#"{{"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "{status}",
                "pendingStatus": {{"status": "CANCELLED", "scheduledAt": "{date}"}}}}"#
            )
            .replace('\n', " ")
        };
        assert!(read(&line("ACTIVATED", "2026-02-01")).is_ok());
        assert!(read(&line("CANCELLED", "2026-02-01")).is_err());
        assert!(read(&line("ACTIVATED", "+12026-02-01")).is_err());
    }
}
