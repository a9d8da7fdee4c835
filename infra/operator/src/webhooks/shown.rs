//! A webhook as it is printed. Its secret is printed once, when it is created. It can't be shown again.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::identifiers::WebhookId;
use domain::webhook::{Addresses, Attempt, DisabledBy, Outcome, Webhook};
use serde::Serialize;
use serde_with::skip_serializing_none;
use url::Url;
use uuid::Uuid;

use crate::format::{NOTHING, instant, or_nothing};
use crate::terminal::Text;
use crate::{CommandError, Session};

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownWebhook {
    webhook_id: WebhookId,
    url: String,
    events: Vec<String>,
    addresses: Addresses,
    enabled: bool,
    disabled_by: Option<DisabledBy>,
    disabled_at: Option<String>,
    former_secret_until: Option<String>,
    created_at: String,
    /// The secret, only when it is new.
    secret: Option<String>,
}

impl ShownWebhook {
    pub(super) fn new(webhook: &Webhook) -> Self {
        Self {
            webhook_id: webhook.id,
            url: without_password(&webhook.url),
            events: webhook.events.clone(),
            addresses: webhook.addresses,
            enabled: webhook.disabled.is_none(),
            disabled_by: webhook.disabled.map(|disabled| disabled.by),
            disabled_at: webhook.disabled.map(|disabled| instant(disabled.at)),
            former_secret_until: webhook.former.as_ref().map(|former| instant(former.until)),
            created_at: instant(webhook.created_at),
            secret: None,
        }
    }

    fn events(&self) -> String {
        if self.events.is_empty() { "all".to_owned() } else { self.events.join(" ") }
    }

    fn state(&self) -> String {
        match (self.disabled_by, &self.disabled_at) {
            (Some(DisabledBy::Operator), Some(at)) => format!("disabled at {at}"),
            (Some(DisabledBy::Gone), Some(at)) => format!("disabled at {at}: the receiver answered 410"),
            _ => "enabled".to_owned(),
        }
    }

    /// Formats the webhook as a row of the table of webhooks.
    pub(super) fn row(&self) -> [String; 5] {
        let Self { webhook_id, url, created_at, .. } = self;
        [webhook_id.to_string(), url.clone(), self.events(), created_at.clone(), self.state()]
    }

    /// Formats the webhook for people, one member per line.
    pub(super) fn text(&self) -> Text {
        let addresses = match self.addresses {
            Addresses::Public => "public ones, by https",
            Addresses::Any => "any",
        };
        let lines = [
            ("webhook", self.webhook_id.to_string()),
            ("url", self.url.clone()),
            ("events", self.events()),
            ("addresses", addresses.to_owned()),
            ("created", self.created_at.clone()),
            ("state", self.state()),
            ("former secret until", or_nothing(self.former_secret_until.as_ref())),
        ];
        lines.into_iter().map(|(name, value)| format!("{name:<20} {value}")).collect()
    }
}

/// Returns a URL with stars in place of its password.
fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // A URL with a password can have another one.
            let _ = parsed.set_password(Some("***"));
            parsed.to_string()
        }
        _ => url.to_owned(),
    }
}

/// Prints a webhook with its new secret. This is the only time that the secret is shown.
pub(super) fn reveal(session: &mut Session<'_>, webhook: &Webhook) -> Result<(), CommandError> {
    let secret = webhook.secret.reveal();
    let shown = ShownWebhook { secret: Some(secret.clone()), ..ShownWebhook::new(webhook) };
    session.print(&shown, || secret)
}

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownAttempt {
    at: String,
    event_id: Uuid,
    r#type: String,
    webhook_id: WebhookId,
    attempt: u32,
    outcome: Outcome,
    status: Option<u16>,
    milliseconds: u64,
    next_at: Option<String>,
    answer: String,
}

impl ShownAttempt {
    pub(super) const HEADING: [&str; 8] =
        ["AT", "EVENT", "TYPE", "WEBHOOK", "#ATTEMPT", "OUTCOME", "#MS", "ANSWER"];

    pub(super) fn new(attempt: Attempt) -> Self {
        let Attempt {
            webhook_id,
            event_id,
            r#type,
            number,
            at,
            milliseconds,
            status,
            answer,
            outcome,
            next_at,
        } = attempt;
        Self {
            at: to_the_millisecond(at),
            event_id,
            r#type,
            webhook_id,
            attempt: number,
            outcome,
            status,
            milliseconds,
            next_at: next_at.map(instant),
            answer,
        }
    }

    /// Formats the attempt as a row of the table of attempts.
    pub(super) fn row(&self) -> [String; 8] {
        let outcome = match (self.outcome, &self.next_at) {
            (Outcome::Delivered, _) => "delivered".to_owned(),
            (Outcome::Retrying, next) => format!("again at {}", or_nothing(next.as_ref())),
            (Outcome::GivenUp, _) => "given up".to_owned(),
            (Outcome::Gone, _) => "gone".to_owned(),
            (Outcome::Disabled, _) => "not posted".to_owned(),
        };
        let status = self.status.map_or_else(|| NOTHING.to_owned(), |status| status.to_string());
        let answer = format!("{status} {}", self.answer);
        [
            self.at.clone(),
            self.event_id.to_string(),
            self.r#type.clone(),
            self.webhook_id.to_string(),
            self.attempt.to_string(),
            outcome,
            self.milliseconds.to_string(),
            answer.trim_end().to_owned(),
        ]
    }
}

fn to_the_millisecond(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
