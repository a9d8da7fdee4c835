//! Webhooks: the URLs that a tenant's events are posted to, and what follows from each attempt to post one.
//!
//! A delivery is one event for one webhook. It is attempted until the receiver accepts it, for 24 hours, with growing pauses. A
//! receiver that answers 410 (Gone) wants no more events: its webhook is disabled.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use uuid::Uuid;

use crate::identifiers::{TenantId, WebhookId};

/// The time for which a delivery is attempted.
pub const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// The time after [`LIFETIME`] in which the last attempt is made, if the receiver is left in peace meanwhile.
pub const OVERTIME: TimeDelta = TimeDelta::hours(1);

/// The time for which events and attempts are kept.
pub const KEPT: TimeDelta = TimeDelta::days(30);

/// Most bytes of an answer that are kept.
pub const KEPT_BYTES: usize = 256;

/// The type of an event that only says that a webhook works. It is sent on request, whatever events the webhook takes.
pub const PING: &str = "webhook.ping";

const PREFIX: &str = "whsec_";

/// A secret that signs what is posted to a webhook: 24 to 64 bytes, which Standard Webhooks writes in base64 behind `whsec_`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(Vec<u8>);

/// The error for a malformed secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is whsec_ and 24 to 64 bytes in base64")]
pub struct MalformedSecret;

impl Secret {
    /// The secret with these bytes, which must be random.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    /// The bytes that sign.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret in full, to be shown to its owner once, and to be stored.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(&self.0))
    }
}

impl FromStr for Secret {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<Self, MalformedSecret> {
        let digits = text.strip_prefix(PREFIX).ok_or(MalformedSecret)?;
        let bytes = BASE64_STANDARD.decode(digits).map_err(|_| MalformedSecret)?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(MalformedSecret) }
    }
}

impl TryFrom<String> for Secret {
    type Error = MalformedSecret;

    fn try_from(text: String) -> Result<Self, MalformedSecret> {
        text.parse()
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.reveal()
    }
}

/// Never shows the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// A secret that was replaced. It signs beside its successor until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerSecret {
    /// The secret.
    pub secret: Secret,
    /// The end of its validity.
    pub until: DateTime<Utc>,
}

/// The addresses that a webhook may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Addresses {
    /// Addresses of the public internet, by HTTPS.
    Public,
    /// Any address, also of this machine or a private network, by HTTPS or HTTP.
    Any,
}

/// The reason for which a webhook is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DisabledBy {
    /// An operator disabled it.
    Operator,
    /// The receiver answered 410: it is gone.
    Gone,
}

/// The end of a webhook, until it is enabled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// The reason.
    pub by: DisabledBy,
    /// The time.
    pub at: DateTime<Utc>,
}

/// A webhook of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The id.
    pub id: WebhookId,
    /// The URL. The sender parses it, and refuses one that it can't post to.
    pub url: String,
    /// The types of the events that are posted; empty means all.
    pub events: Vec<String>,
    /// The addresses that the URL may lead to.
    pub addresses: Addresses,
    /// The secret that signs.
    pub secret: Secret,
    /// The secret before it, after a rotation.
    pub former: Option<FormerSecret>,
    /// Set while nothing is posted.
    pub disabled: Option<Disabled>,
    /// The time at which it was added.
    pub created_at: DateTime<Utc>,
}

impl Webhook {
    /// Returns true if events of this type are posted to it, once it is enabled.
    #[must_use]
    pub fn takes(&self, event_type: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|taken| taken == event_type)
    }

    /// Returns the secrets that sign at this time: the current one first.
    pub fn secrets(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Secret> {
        let former = self.former.as_ref().filter(|former| now < former.until);
        [&self.secret].into_iter().chain(former.map(|former| &former.secret))
    }
}

/// A delivery: one event for one webhook, between two attempts.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The tenant.
    pub tenant: TenantId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The event.
    pub event_id: Uuid,
    /// The type of the event.
    pub r#type: String,
    /// The time at which the delivery began. It is attempted for [`LIFETIME`].
    pub since: DateTime<Utc>,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Number of pauses so far: more than attempts if the webhook was left in peace meanwhile.
    pub pauses: u32,
    /// The end of the pause; absent before the first attempt.
    pub not_before: Option<DateTime<Utc>>,
}

/// The response to one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The receiver answered.
    Status {
        /// The status of HTTP.
        status: u16,
        /// The time for which the receiver asked to be left in peace, if it did.
        retry_after: Option<TimeDelta>,
    },
    /// There was no answer in time, or no connection.
    Nothing,
}

impl Response {
    /// Returns true if the receiver has the event.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Status { status: 200..=299, .. })
    }

    /// Returns the time for which the receiver asked to be left in peace: `Retry-After` of a 429 or 503.
    #[must_use]
    pub fn retry_after(&self) -> Option<TimeDelta> {
        match self {
            Self::Status { status: 429 | 503, retry_after } => *retry_after,
            Self::Status { .. } | Self::Nothing => None,
        }
    }
}

/// The outcome of a delivery, or of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// The receiver has the event.
    Delivered,
    /// The attempt failed. There will be another one.
    Retrying,
    /// The attempt failed, and was the last one: the delivery is 24 hours old.
    GivenUp,
    /// The attempt failed with 410, and the webhook was disabled.
    Gone,
    /// Nothing was posted, because the webhook is disabled.
    Disabled,
}

impl Outcome {
    /// The name, as metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "DELIVERED",
            Self::Retrying => "RETRYING",
            Self::GivenUp => "GIVEN_UP",
            Self::Gone => "GONE",
            Self::Disabled => "DISABLED",
        }
    }

    /// Returns true if the receiver does not have the event, and will not get it by itself.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::GivenUp | Self::Gone | Self::Disabled)
    }
}

/// The pauses between attempts. Each is twice as long as the one before, up to a limit. A random part of up to one half is taken
/// off, so that deliveries that failed together are not attempted together again.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first pause.
    pub first: TimeDelta,
    /// The longest pause.
    pub longest: TimeDelta,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: TimeDelta::seconds(10), longest: TimeDelta::hours(1) }
    }
}

impl Backoff {
    /// Returns the pause after as many others. `random` decides how much is taken off: all values of its type are as likely.
    #[must_use]
    pub fn pause(self, pauses: u32, random: u8) -> TimeDelta {
        let doubled = 2_i32.saturating_pow(pauses.min(30));
        let whole = self.first.checked_mul(doubled).map_or(self.longest, |pause| pause.min(self.longest));
        whole - whole / 2 * i32::from(random) / i32::from(u8::MAX)
    }
}

impl Delivery {
    /// Returns the delivery of an event that begins now.
    #[must_use]
    pub fn begin(
        tenant: TenantId,
        webhook_id: WebhookId,
        event_id: Uuid,
        r#type: String,
        now: DateTime<Utc>,
    ) -> Self {
        Self { tenant, webhook_id, event_id, r#type, since: now, attempts: 0, pauses: 0, not_before: None }
    }

    /// Returns true if the delivery has been attempted for long enough: this attempt is the last one.
    #[must_use]
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        now >= self.since + LIFETIME
    }

    /// Returns true if no more time is left for the last attempt.
    #[must_use]
    pub fn is_too_late(&self, now: DateTime<Utc>) -> bool {
        now >= self.since + LIFETIME + OVERTIME
    }

    /// Returns the delivery after a pause that begins now. A pause never goes beyond the time of the last attempt, or in that time,
    /// beyond its end.
    #[must_use]
    pub fn paused(&self, pause: TimeDelta, now: DateTime<Utc>) -> Self {
        let last = self.since + if self.is_over(now) { LIFETIME + OVERTIME } else { LIFETIME };
        let end = (now + pause).min(last);
        Self { pauses: self.pauses.saturating_add(1), not_before: Some(end), ..self.clone() }
    }

    /// Returns the delivery after an attempt.
    #[must_use]
    pub fn attempted(&self) -> Self {
        Self { attempts: self.attempts.saturating_add(1), ..self.clone() }
    }

    /// Decides what follows from the response to an attempt.
    #[must_use]
    pub fn outcome(&self, response: &Response, now: DateTime<Utc>) -> Outcome {
        match response {
            success if success.is_success() => Outcome::Delivered,
            Response::Status { status: 410, .. } => Outcome::Gone,
            _ if self.is_over(now) => Outcome::GivenUp,
            _ => Outcome::Retrying,
        }
    }
}

/// An attempt, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The event.
    pub event_id: Uuid,
    /// The type of the event.
    pub r#type: String,
    /// The number of the attempt in its delivery, from 1; 0 if nothing was posted.
    pub number: u32,
    /// The time.
    pub at: DateTime<Utc>,
    /// The time until the answer, in milliseconds.
    pub milliseconds: u64,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The first 256 bytes of the answer, or the reason why there is none.
    pub answer: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The time of the next attempt, if there will be one.
    pub next_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SINCE: &str = "2026-01-31T22:00:00Z";

    fn since() -> DateTime<Utc> {
        SINCE.parse().unwrap()
    }

    fn delivery() -> Delivery {
        let (webhook, event) = (Uuid::from_u128(1).into(), Uuid::from_u128(2));
        Delivery::begin("demo".parse().unwrap(), webhook, event, "subscription.updated".to_owned(), since())
    }

    fn status(status: u16) -> Response {
        Response::Status { status, retry_after: Some(TimeDelta::seconds(7)) }
    }

    #[test]
    fn only_a_status_of_2xx_is_a_success_and_only_410_is_final_within_a_day() {
        let (early, late) = (since() + LIFETIME - TimeDelta::milliseconds(1), since() + LIFETIME);
        for number in 100..600 {
            let expected = |otherwise| match number {
                200..=299 => Outcome::Delivered,
                410 => Outcome::Gone,
                _ => otherwise,
            };
            assert_eq!(delivery().outcome(&status(number), early), expected(Outcome::Retrying), "{number}");
            assert_eq!(delivery().outcome(&status(number), late), expected(Outcome::GivenUp), "{number}");
        }
        assert_eq!(delivery().outcome(&Response::Nothing, early), Outcome::Retrying);
        assert_eq!(delivery().outcome(&Response::Nothing, late), Outcome::GivenUp);
    }

    #[test]
    fn only_429_and_503_can_ask_for_a_pause() {
        for number in 100..600 {
            let asked = status(number).retry_after().is_some();
            assert_eq!(asked, matches!(number, 429 | 503), "{number}");
        }
    }

    #[test]
    fn pauses_double_up_to_an_hour_and_fill_a_day_with_thirty_attempts() {
        let backoff = Backoff::default();
        let pauses: Vec<_> = (0..12).map(|pauses| backoff.pause(pauses, 0).num_seconds()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);

        let (mut delivery, mut now) = (delivery(), since());
        while delivery.outcome(&Response::Nothing, now) == Outcome::Retrying {
            delivery = delivery.attempted().paused(backoff.pause(delivery.pauses, 0), now);
            now = delivery.not_before.unwrap();
        }
        assert_eq!((now, delivery.attempts), (since() + LIFETIME, 32));
    }

    #[test]
    fn a_pause_that_the_receiver_asks_for_never_goes_beyond_the_last_attempt() {
        let paused = delivery().paused(TimeDelta::days(3), since());
        assert_eq!(paused.not_before, Some(since() + LIFETIME));
        assert!(paused.is_over(paused.not_before.unwrap()));
    }

    #[test]
    fn two_secrets_sign_until_the_end_of_the_former_one() {
        let secret = |letter: &str| Secret::new(letter.repeat(32).into_bytes().try_into().unwrap());
        let webhook = Webhook {
            id: Uuid::nil().into(),
            url: "https://example.com".to_owned(),
            events: vec!["subscription.cancelled".to_owned()],
            addresses: Addresses::Public,
            secret: secret("b"),
            former: Some(FormerSecret { secret: secret("a"), until: since() }),
            disabled: None,
            created_at: since(),
        };
        let signing = |now| webhook.secrets(now).cloned().collect::<Vec<_>>();
        assert_eq!(signing(since() - TimeDelta::milliseconds(1)), [secret("b"), secret("a")]);
        assert_eq!(signing(since()), [secret("b")]);
        assert_eq!(
            (webhook.takes("subscription.cancelled"), webhook.takes("subscription.updated")),
            (true, false)
        );
        assert!(Webhook { events: Vec::new(), ..webhook }.takes("anything"));
    }

    #[test]
    fn a_secret_is_hidden_in_debug_output_and_has_24_to_64_bytes() {
        let text = format!("whsec_{}", "A".repeat(32));
        assert_eq!(format!("{:?}", text.parse::<Secret>().unwrap()), "Secret");
        for good in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &("A".repeat(86) + "==")] {
            let text = format!("whsec_{good}");
            assert_eq!(text.parse::<Secret>().unwrap().reveal(), text);
        }
        for bad in
            ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2Li", &"A".repeat(92), &("A".repeat(29) + "==="), &"-".repeat(32)]
        {
            assert_eq!(format!("whsec_{bad}").parse::<Secret>(), Err(MalformedSecret), "{bad}");
        }
        assert_eq!("A".repeat(32).parse::<Secret>(), Err(MalformedSecret));
    }

    proptest! {
        #[test]
        fn a_pause_is_between_half_and_all_of_its_length(pauses in 0_u32..100, random: u8) {
            let backoff = Backoff::default();
            let (whole, pause) = (backoff.pause(pauses, 0), backoff.pause(pauses, random));
            prop_assert!(whole / 2 <= pause && pause <= whole, "{whole} {pause}");
        }
    }
}
