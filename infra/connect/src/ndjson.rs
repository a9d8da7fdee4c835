//! Files of subscriptions in the wire shape, one a line.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use subscriptions::calendar::Calendar;
use subscriptions::json;
use subscriptions::store::provision::NewSubscription;

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

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    fn read(ndjson: &str) -> Result<Vec<NewSubscription>, String> {
        let now = "2026-01-31T22:30:00Z".parse().unwrap();
        read_subscriptions(ndjson, &Calendar::new(Tz::UTC, now), now).map_err(|error| error.to_string())
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
