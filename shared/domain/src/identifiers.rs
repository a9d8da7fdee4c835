//! Identifiers of tenants, API keys, subscriptions, cancellations, writes and webhooks.
//!
//! Each is parsed once, where it enters the service, and needs no check after that. None of them can contain `#` or `_`, which
//! separate them in table keys and API keys. The exception is a reference id, which always comes last.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The error for a malformed identifier. The valid form depends on the type of the identifier, and is described there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct InvalidIdentifier;

/// The id of a tenant: 1–32 lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

impl FromStr for TenantId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        name(text, allowed).map(Self)
    }
}

/// The public part of an API key, which names it in logs and records: 1–32 ASCII letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl From<Uuid> for KeyId {
    /// Takes the first 12 hexadecimal digits.
    fn from(uuid: Uuid) -> Self {
        Self(twelve_digits(uuid))
    }
}

/// New ids for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIds {
    /// The id of the cancellation, if the change makes one.
    pub cancellation: CancellationId,
    /// The id of the write.
    pub write: WriteId,
}

fn twelve_digits(uuid: Uuid) -> String {
    uuid.simple().to_string().chars().take(12).collect()
}

impl FromStr for KeyId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        name(text, |byte| byte.is_ascii_alphanumeric()).map(Self)
    }
}

fn name(text: &str, allowed: fn(u8) -> bool) -> Result<String, InvalidIdentifier> {
    if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(InvalidIdentifier)
    }
}

/// The service's own identifier of a subscription: a UUID in its hyphenated form. Upper-case
/// digits are accepted and mean the same (RFC 9562, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubscriptionId(Uuid);

impl FromStr for SubscriptionId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        // The other forms that `Uuid` reads (braced, URN, without hyphens) have other lengths.
        if text.len() != uuid::fmt::Hyphenated::LENGTH {
            return Err(InvalidIdentifier);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidIdentifier)
    }
}

/// The tenant's own name for a subscription, unique within the tenant: 1–255 characters without `/`, `?`, `%` and control
/// characters. An HTTP API decodes a path twice and cuts it at `?`, so a path can't hold other characters safely.
///
/// Names from outside are parsed (`FromStr`). Deserializing also accepts names that an earlier version stored, of any 1–255
/// characters: [`ReferenceId::is_addressable`] tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReferenceId(String);

impl ReferenceId {
    /// The valid form of a reference id from outside, in words.
    pub const FORM: &str = "1 to 255 characters without / ? % and control characters";

    /// Returns true if a request can name a subscription by this reference id.
    #[must_use]
    pub fn is_addressable(&self) -> bool {
        !self.0.contains(|c: char| matches!(c, '/' | '?' | '%') || c.is_control())
    }
}

impl FromStr for ReferenceId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let stored = Self::try_from(text.to_owned()).map_err(|_| InvalidIdentifier)?;
        if stored.is_addressable() { Ok(stored) } else { Err(InvalidIdentifier) }
    }
}

impl TryFrom<String> for ReferenceId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        // 255 code points are at most 1,020 bytes, which fits into DynamoDB's keys of 2,048 bytes.
        if (1..=255).contains(&text.chars().count()) { Ok(Self(text)) } else { Err(Self::FORM) }
    }
}

/// The name of a subscription in a request: its UUID, or its reference id behind `rid_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionName {
    /// The subscription id.
    Id(SubscriptionId),
    /// The reference id, without the prefix `rid_`.
    Reference(ReferenceId),
}

impl FromStr for SubscriptionName {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        match text.strip_prefix("rid_") {
            Some(reference) => reference.parse().map(Self::Reference),
            None => text.parse().map(Self::Id),
        }
    }
}

/// The id of a cancellation. A replacement has another id. So an execution knows whether the cancellation it was started for is
/// still the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CancellationId(Uuid);

impl From<Uuid> for CancellationId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for CancellationId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidIdentifier)
    }
}

/// The id of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookId(Uuid);

impl From<Uuid> for WebhookId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for WebhookId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidIdentifier)
    }
}

/// The id of one write of a subscription, different from all others. A version number alone could be used twice: after a table was
/// restored, or a subscription was removed and added again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WriteId(String);

impl From<Uuid> for WriteId {
    /// Takes the first 12 hexadecimal digits.
    fn from(uuid: Uuid) -> Self {
        Self(twelve_digits(uuid))
    }
}

impl FromStr for WriteId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        name(text, |byte| byte.is_ascii_alphanumeric()).map(Self)
    }
}

/// The name of a batch: many cancellations that one command of an operator requests. 1–64 letters, digits, hyphens, underscores and
/// dots, so that it can be a part of an idempotency key and of a file name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchId(String);

impl FromStr for BatchId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        // A file of this name would be hidden.
        let is_hidden = text.starts_with('.');
        if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) && !is_hidden {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdentifier)
        }
    }
}

impl From<Uuid> for BatchId {
    fn from(id: Uuid) -> Self {
        Self(id.to_string())
    }
}

macro_rules! shown_as_text {
    ($($identifier:ident),*) => {$(
        impl fmt::Display for $identifier {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl From<$identifier> for String {
            fn from(identifier: $identifier) -> Self {
                identifier.0.to_string()
            }
        }
    )*};
}

macro_rules! deserialized_as_parsed {
    ($($identifier:ident),*) => {$(
        impl TryFrom<String> for $identifier {
            type Error = InvalidIdentifier;

            fn try_from(text: String) -> Result<Self, InvalidIdentifier> {
                text.parse()
            }
        }
    )*};
}

shown_as_text!(TenantId, KeyId, SubscriptionId, ReferenceId, CancellationId, WebhookId, WriteId, BatchId);
deserialized_as_parsed!(TenantId, KeyId, SubscriptionId, CancellationId, WriteId, BatchId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::near_miss::around;

    #[test]
    fn a_subscription_id_is_a_hyphenated_uuid_in_either_case() {
        let upper = "A81BC81B-DEAD-4E5D-ABFF-90865D1E13B1";
        let id: SubscriptionId = upper.parse().unwrap();
        assert_eq!(id.to_string(), upper.to_lowercase());

        for other in [
            "",
            "a81bc81bdead4e5dabff90865d1e13b1",
            "{a81bc81b-dead-4e5d-abff-90865d1e13b1}",
            "urn:uuid:a81bc81b-dead-4e5d-abff-90865d1e13b1",
            "a81bc81b-dead-4e5d-abff-90865d1e13bz",
            "a81bc81b-dead-4e5d-abff-90865d1e13b1 ",
        ] {
            assert_eq!(other.parse::<SubscriptionId>(), Err(InvalidIdentifier), "{other}");
        }
    }

    #[test]
    fn a_reference_id_has_1_to_255_characters_behind_its_prefix() {
        let longest = "ü".repeat(255);
        assert_eq!(
            format!("rid_{longest}").parse(),
            Ok(SubscriptionName::Reference(ReferenceId(longest.clone())))
        );
        assert_eq!(format!("rid_{longest}x").parse::<SubscriptionName>(), Err(InvalidIdentifier));
        assert_eq!("rid_".parse::<SubscriptionName>(), Err(InvalidIdentifier));
        assert_eq!("crm-1".parse::<SubscriptionName>(), Err(InvalidIdentifier));
    }

    #[test]
    fn a_reference_id_that_a_path_would_change_is_refused_but_still_read_from_storage() {
        for text in ["a/b", "a?b", "a%b", "a\u{1}b", "a\u{7f}b", "a\u{9f}b", "%41"] {
            assert_eq!(text.parse::<ReferenceId>(), Err(InvalidIdentifier), "{text:?}");
            assert_eq!(format!("rid_{text}").parse::<SubscriptionName>(), Err(InvalidIdentifier), "{text:?}");
            let stored: ReferenceId = serde_json::from_value(text.into()).unwrap();
            assert_eq!((stored.to_string().as_str(), stored.is_addressable()), (text, false));
        }
        for text in ["a b", "a#b", "a&b", "a+b", "é", "..", "a\u{a0}b"] {
            assert!(text.parse::<ReferenceId>().is_ok(), "{text:?}");
        }
        for text in ["", &"x".repeat(256)] {
            let error = serde_json::from_value::<ReferenceId>(text.into()).unwrap_err();
            assert_eq!(error.to_string(), ReferenceId::FORM);
        }
    }

    #[test]
    fn tenant_ids_and_key_ids_cannot_hold_a_separator() {
        for text in ["a#b", "a_b", "", "A", "é", &"a".repeat(33)] {
            assert_eq!(text.parse::<TenantId>(), Err(InvalidIdentifier), "{text}");
        }
        for text in ["a#b", "a_b", "", "a-b", "é", &"a".repeat(33)] {
            assert_eq!(text.parse::<KeyId>(), Err(InvalidIdentifier), "{text}");
        }
    }

    #[test]
    fn a_batch_id_can_be_a_part_of_a_file_name() {
        for text in ["a", "2026-12_old.product", &"x".repeat(64)] {
            assert_eq!(text.parse::<BatchId>().unwrap().to_string(), text);
        }
        for text in ["", ".", "..", ".a", "a/b", "a b", "a,b", "é", &"x".repeat(65)] {
            assert_eq!(text.parse::<BatchId>(), Err(InvalidIdentifier), "{text}");
        }
    }

    /// Reads a text, and writes it again.
    fn again<T: FromStr + ToString>(text: &str) -> Option<String> {
        text.parse().ok().map(|identifier: T| identifier.to_string())
    }

    proptest! {
        #[test]
        fn exactly_the_stated_texts_are_tenant_ids_and_key_ids(text in around("[a-z0-9]{1,32}")) {
            let length = (1..=32).contains(&text.chars().count());
            let alphanumeric = |lower: bool| {
                move |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || !lower && c.is_ascii_uppercase()
            };
            let is_tenant = length && text.chars().all(|c| c == '-' || alphanumeric(true)(c));
            prop_assert_eq!(again::<TenantId>(&text), is_tenant.then(|| text.clone()));
            let is_key = length && text.chars().all(alphanumeric(false));
            prop_assert_eq!(again::<KeyId>(&text), is_key.then_some(text));
        }

        #[test]
        fn exactly_the_stated_texts_are_subscription_ids(
            text in around("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
        ) {
            let groups: Vec<_> = text.split('-').collect();
            let is_id = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
                && groups.concat().chars().all(|c| c.is_ascii_hexdigit());
            prop_assert_eq!(again::<SubscriptionId>(&text), is_id.then(|| text.to_lowercase()));
        }

        #[test]
        fn exactly_the_stated_texts_are_reference_ids(text in around("rid_.{1,255}")) {
            let in_paths = |rest: &str| !rest.chars().any(|c| "/?%".contains(c) || c.is_control());
            let reference = text.strip_prefix("rid_").filter(|rest| (1..=255).contains(&rest.chars().count()));
            let reference = reference.filter(|rest| in_paths(rest));
            let name = text.parse();
            if let Some(reference) = reference {
                prop_assert_eq!(name, Ok(SubscriptionName::Reference(reference.parse().unwrap())));
                prop_assert_eq!(again::<ReferenceId>(reference), Some(reference.to_owned()));
            } else {
                prop_assert_eq!(name, text.parse().map(SubscriptionName::Id));
            }
        }
    }
}
