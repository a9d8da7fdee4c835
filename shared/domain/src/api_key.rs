//! API keys: authentication, and the scopes of a caller.
//!
//! A key is a token of the form `ck_<tenant>_<keyId>_<secret><checksum>`. With the checksum, a malformed key is refused without
//! a request to the database, and secret scanners recognise a leaked one. The secret is 256 random bits. Only its SHA-256 is
//! stored: with that much entropy, a plain hash can't be broken by trying. Hashes are compared in constant time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::identifiers::{InvalidIdentifier, KeyId, TenantId};

const PREFIX: &str = "ck";
/// The length of the secret: 256 bits, in lower-case hexadecimal.
const SECRET_DIGITS: usize = 64;
/// The length of the checksum: the CRC-32 of all characters before it, in lower-case hexadecimal.
const CHECKSUM_DIGITS: usize = 8;

/// An API key as a caller sends it. Its form and checksum are valid. [`ApiKey::admits`] decides whether it admits the caller.
#[derive(Clone)]
pub struct Token {
    tenant: TenantId,
    key_id: KeyId,
    secret: [u8; 32],
}

/// The error for a malformed API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed API key")]
pub struct MalformedToken;

impl Token {
    /// The token of a key of `tenant` with this secret, which must be random.
    #[must_use]
    pub fn new(tenant: TenantId, key_id: KeyId, secret: [u8; 32]) -> Self {
        Self { tenant, key_id, secret }
    }

    /// The tenant that the token claims to belong to.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The id of the key that the token claims to be.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The hash of the secret, as it is stored.
    #[must_use]
    pub fn secret_hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.secret).into())
    }

    /// The last four characters of the token.
    #[must_use]
    pub fn last_four(&self) -> String {
        let token = self.reveal();
        token.chars().skip(token.len().saturating_sub(4)).collect()
    }

    /// The token in full, with its secret, to be shown to its owner once.
    #[must_use]
    pub fn reveal(&self) -> String {
        let text = format!("{PREFIX}_{}_{}_{}", self.tenant, self.key_id, hex::encode(self.secret));
        let checksum = crc32fast::hash(text.as_bytes());
        format!("{text}{checksum:08x}")
    }
}

impl FromStr for Token {
    type Err = MalformedToken;

    fn from_str(text: &str) -> Result<Self, MalformedToken> {
        fn parts(text: &str) -> Option<Token> {
            let (body, checksum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_DIGITS)?)?;
            let (name, secret) = body.split_at_checked(body.len().checked_sub(SECRET_DIGITS)?)?;
            let (tenant, key_id) =
                name.strip_prefix(PREFIX)?.strip_prefix('_')?.strip_suffix('_')?.split_once('_')?;
            // Compared as text: a key can be written in one way only, so that a scanner finds every copy.
            if checksum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
                return None;
            }
            if secret.contains(|digit: char| digit.is_ascii_uppercase()) {
                return None;
            }
            let secret = <[u8; 32]>::try_from(hex::decode(secret).ok()?).ok()?;
            Some(Token { tenant: tenant.parse().ok()?, key_id: key_id.parse().ok()?, secret })
        }
        parts(text).ok_or(MalformedToken)
    }
}

/// Omits the secret: a token that is printed by mistake shows only its public part.
impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}_{}_{}_…", self.tenant, self.key_id)
    }
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for SecretHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Compares in constant time, wherever the two hashes differ.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// One thing that a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read subscriptions: `subscriptions:read`.
    Read,
    /// Cancel subscriptions: `subscriptions:cancel`.
    Cancel,
    /// Read cancellations, with who requested them and why: `cancellations:read`.
    ReadCancellations,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Read, Self::Cancel, Self::ReadCancellations];
}

impl FromStr for Scope {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        Self::ALL.into_iter().find(|scope| scope.to_string() == text).ok_or(InvalidIdentifier)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Read => "subscriptions:read",
            Self::Cancel => "subscriptions:cancel",
            Self::ReadCancellations => "cancellations:read",
        })
    }
}

/// An API key as it is stored.
#[derive(Clone)]
pub struct ApiKey {
    /// The name that the owner gave to the key.
    pub name: Option<String>,
    /// The hash of the secret.
    pub secret_hash: SecretHash,
    /// The last four characters of the token, by which the owner can tell the key from others. They belong to the checksum, and
    /// reveal next to nothing of the secret. Absent for a key that an earlier version of this service created.
    pub last_four: Option<String>,
    /// The scopes of this service.
    pub scopes: Vec<Scope>,
    /// The scopes of other services.
    pub scopes_of_others: Vec<String>,
    /// The time at which the key was created.
    pub created_at: DateTime<Utc>,
    /// The time from which the key is no longer valid, if one was set.
    pub expires_at: Option<DateTime<Utc>>,
    /// The time at which the key was revoked, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The validity of a key at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// The key is valid.
    Valid,
    /// The key was limited to a time that is over.
    Expired,
    /// The key was revoked.
    Revoked,
}

/// A failed authentication or authorization of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The request has no key.
    KeyMissing,
    /// The key is malformed, unknown, wrong, expired or revoked. These cases are not told apart, so that a caller who tries keys
    /// learns nothing.
    KeyInvalid,
    /// The key is valid, but lacks this scope.
    ScopeMissing(Scope),
}

impl ApiKey {
    /// The stored form of `token`: a key with these scopes, valid until it is revoked.
    #[must_use]
    pub fn new(token: &Token, scopes: &[Scope], created_at: DateTime<Utc>) -> Self {
        Self {
            name: None,
            secret_hash: token.secret_hash(),
            last_four: Some(token.last_four()),
            scopes: scopes.to_vec(),
            scopes_of_others: Vec::new(),
            created_at,
            expires_at: None,
            revoked_at: None,
        }
    }

    /// All scopes: those of this service, then those of other services.
    pub fn all_scopes(&self) -> impl Iterator<Item = String> {
        self.scopes.iter().map(ToString::to_string).chain(self.scopes_of_others.iter().cloned())
    }

    /// The validity of the key at `now`.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> KeyState {
        if self.revoked_at.is_some() {
            // The time does not matter, because it is from the clock of the operator who revoked the key.
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else {
            KeyState::Valid
        }
    }

    /// Checks that `token` is this key, and that the key is valid at `now` and has `scope`.
    ///
    /// # Errors
    /// [`NotAdmitted::KeyInvalid`] if the token is of another key or the key is not valid; [`NotAdmitted::ScopeMissing`] if the key
    /// lacks the scope.
    pub fn admits(&self, token: &Token, scope: Scope, now: DateTime<Utc>) -> Result<(), NotAdmitted> {
        if self.secret_hash != token.secret_hash() || self.state(now) != KeyState::Valid {
            return Err(NotAdmitted::KeyInvalid);
        }
        if !self.scopes.contains(&scope) {
            return Err(NotAdmitted::ScopeMissing(scope));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::near_miss::near_miss;

    fn tokens() -> impl Strategy<Value = Token> {
        ("[a-z0-9-]{1,32}", "[A-Za-z0-9]{1,32}", any::<[u8; 32]>()).prop_map(|(tenant, key_id, secret)| {
            Token { tenant: tenant.parse().unwrap(), key_id: key_id.parse().unwrap(), secret }
        })
    }

    fn token() -> Token {
        with_secret([1; 32])
    }

    fn with_secret(secret: [u8; 32]) -> Token {
        Token::new("demo".parse().unwrap(), "k1".parse().unwrap(), secret)
    }

    fn key(token: &Token) -> ApiKey {
        ApiKey::new(token, &[Scope::Read], DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_token_names_its_tenant_and_key() {
        let text = token().reveal();
        assert!(text.starts_with("ck_demo_k1_"), "{text}");
    }

    #[test]
    fn a_token_does_not_print_its_secret() {
        let token = token();
        assert_eq!(format!("{token:?}"), "ck_demo_k1_…");
    }

    #[test]
    fn a_key_admits_its_own_token_within_its_scopes() {
        let (token, other) = (token(), with_secret([2; 32]));
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        assert_eq!(key(&token).admits(&token, Scope::Read, now), Ok(()));
        assert_eq!(
            key(&token).admits(&token, Scope::Cancel, now),
            Err(NotAdmitted::ScopeMissing(Scope::Cancel))
        );
        assert_eq!(key(&token).admits(&other, Scope::Read, now), Err(NotAdmitted::KeyInvalid));
    }

    #[test]
    fn a_key_is_refused_from_the_instant_of_its_expiry() {
        let token = token();
        let end = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let before = end - TimeDelta::milliseconds(1);
        let expiring = ApiKey { expires_at: Some(end), ..key(&token) };
        assert_eq!(expiring.admits(&token, Scope::Read, before), Ok(()));
        assert_eq!(expiring.admits(&token, Scope::Read, end), Err(NotAdmitted::KeyInvalid));
    }

    #[test]
    fn a_revoked_key_is_refused_at_any_time() {
        let token = token();
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        for clock_of_the_operator in [now - TimeDelta::hours(1), now, now + TimeDelta::hours(1)] {
            let revoked = ApiKey { revoked_at: Some(clock_of_the_operator), ..key(&token) };
            assert_eq!(revoked.admits(&token, Scope::Read, now), Err(NotAdmitted::KeyInvalid));
        }
    }

    proptest! {
        #[test]
        fn a_token_is_read_as_it_was_written(token in tokens()) {
            let read: Token = token.reveal().parse().unwrap();
            prop_assert_eq!(
                (read.tenant, read.key_id, read.secret),
                (token.tenant, token.key_id, token.secret)
            );
        }

        #[test]
        fn a_token_with_any_character_changed_is_malformed(
            (token, changed) in tokens().prop_map(|token| token.reveal())
                .prop_flat_map(|token| (Just(token.clone()), near_miss(Just(token))))
        ) {
            prop_assert_eq!(changed.parse::<Token>().is_ok(), changed == token);
        }

        #[test]
        fn a_valid_checksum_is_not_enough_for_a_token(
            prefix in "ck|c|CK|",
            tenant in "[a-z0-9-]{1,32}|[a-zA-Z_#ü-]{0,34}",
            key_id in "[A-Za-z0-9]{1,32}|[a-z_#ü-]{0,34}",
            secret in "[0-9a-f]{64}|[0-9a-fA-F]{64}|[0-9a-g]{62,66}",
        ) {
            let text = format!("{prefix}_{tenant}_{key_id}_{secret}");
            let is_token = prefix == "ck"
                && (1..=32).contains(&tenant.len())
                && tenant.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'))
                && (1..=32).contains(&key_id.len())
                && key_id.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9'))
                && secret.len() == 64
                && secret.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
            let checksum = crc32fast::hash(text.as_bytes());
            prop_assert_eq!(format!("{text}{checksum:08x}").parse::<Token>().is_ok(), is_token);
        }

        #[test]
        fn a_random_text_is_not_a_token(text: String) {
            prop_assert!(text.parse::<Token>().is_err());
            let behind_a_good_beginning = format!("ck_demo_k1_{text}");
            prop_assert!(behind_a_good_beginning.parse::<Token>().is_err());
        }
    }
}
