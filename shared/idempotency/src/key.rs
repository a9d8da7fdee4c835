//! Idempotency keys.

use std::str::FromStr;

/// The caller's name for one intended change: 1–256 printable ASCII characters without a comma. Gateways join two values of a
/// header with a comma.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

/// The error for a malformed idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed idempotency key: it must have 1 to 256 printable ASCII characters and no comma")]
pub struct InvalidKey;

impl Key {
    /// The key as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let is_allowed = |byte: u8| byte != b',' && matches!(byte, b' '..=b'~');
        if (1..=256).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_has_1_to_256_printable_ascii_characters_and_no_comma() {
        for valid in ["a", " ~!\"#", &"k".repeat(256)] {
            assert_eq!(valid.parse::<Key>().unwrap().as_str(), valid);
        }
        for invalid in ["", "é", "a,b", "a\tb", "a\u{7f}", &"k".repeat(257)] {
            assert_eq!(invalid.parse::<Key>(), Err(InvalidKey), "{invalid}");
        }
    }

    proptest! {
        #[test]
        fn exactly_the_stated_texts_are_keys(
            text in "[ -~]{0,258}|[ -+.-~-]{1,256}|[ -~]{0,8}[\\x00-\\x7fé][ -~]{0,8}|.*"
        ) {
            let is_key = (1..=256).contains(&text.len())
                && text.chars().all(|c| c.is_ascii() && !c.is_ascii_control() && c != ',');
            let key = text.parse::<Key>().ok();
            prop_assert_eq!(key.as_ref().map(Key::as_str), is_key.then_some(text.as_str()));
        }
    }
}
