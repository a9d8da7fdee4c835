//! Arguments of the commands on API keys: the key, its scopes, and the time at which it expires.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use domain::api_key::{Scope, Token};
use domain::identifiers::{KeyId, TenantId};

use crate::{CommandError, When};

/// How a key is named: by its id; or by its token, which is all that one may have of a key that has leaked.
#[derive(Clone, Debug)]
pub enum NamedKey {
    /// By its id.
    Id(KeyId),
    /// By its token.
    Token(Token),
    /// By what is meant to be a token. That is no fault of the argument, which would be shown with it.
    Malformed,
}

/// A key by its id or its token. A part of a token is not an id.
pub(super) fn parse_key(text: &str) -> Result<NamedKey, &'static str> {
    let text = text.trim();
    // Longer than an id: it may be a part of a token.
    if text.contains("ck_") || text.len() > 32 {
        return Ok(text.parse().map_or(NamedKey::Malformed, NamedKey::Token));
    }
    text.parse()
        .map(NamedKey::Id)
        .map_err(|_| "a key is named by 1 to 32 letters and digits, or by its token")
}

impl NamedKey {
    /// The id of the key, if it is one of this tenant.
    pub(super) fn of(self, tenant: &TenantId) -> Result<KeyId, CommandError> {
        match self {
            Self::Id(id) => Ok(id),
            Self::Token(token) if token.tenant() == tenant => Ok(token.key_id().clone()),
            Self::Token(_) => Err(CommandError::Usage("the token is of another tenant")),
            Self::Malformed => Err(CommandError::Usage("that is neither the id of a key nor a whole token")),
        }
    }
}

/// When a key expires.
#[derive(Clone, Copy, Debug)]
pub enum Expiry {
    /// Not by itself.
    Never,
    /// Then.
    When(When),
}

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" { Ok(Self::Never) } else { text.parse().map(Self::When) }
    }
}

impl Expiry {
    /// The instant at which it expires, seen from `now`.
    pub(super) fn from(self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, CommandError> {
        match self {
            Self::Never => Ok(None),
            Self::When(when) => future("the time at which the key expires", when, now).map(Some),
        }
    }
}

pub(super) fn parse_scope(text: &str) -> Result<Scope, String> {
    let known = || Scope::ALL.map(|scope| scope.to_string()).join(" or ");
    text.parse().map_err(|_| format!("a scope is {}", known()))
}

/// An instant after `now`; `what` names it in the error.
pub(super) fn future(
    what: &'static str,
    when: When,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, CommandError> {
    when.from(now).filter(|at| *at > now).ok_or(CommandError::Past(what))
}
