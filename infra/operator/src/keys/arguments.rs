//! Arguments of the commands on API keys: the key, its scopes, and the time at which it expires.

use std::io::{self, BufRead, IsTerminal, Read};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use domain::api_key::{Scope, Token};
use domain::identifiers::{KeyId, TenantId};

use crate::{CommandError, When};

/// A key as an operator names it: by its id, or by its token, which may be all that is known of a leaked key. The token is read from
/// standard input: arguments can be seen by others, and stay in the history of the shell.
#[derive(Clone, Debug)]
pub enum NamedKey {
    /// The id of the key.
    Id(KeyId),
    /// The key whose token is on standard input.
    OfInput,
    /// A token, or a part of one. The parser accepts it, because the error of the parser would show it.
    Exposed,
}

/// Parses the id of a key, or `-` for a token on standard input.
pub(super) fn parse_key(text: &str) -> Result<NamedKey, &'static str> {
    let text = text.trim();
    if text == "-" {
        return Ok(NamedKey::OfInput);
    }
    // A text that is longer than an id may be a part of a token.
    if text.contains("ck_") || text.len() > 32 {
        return Ok(NamedKey::Exposed);
    }
    text.parse().map(NamedKey::Id).map_err(
        |_| "write the id of a key (1 to 32 letters and digits), or - and its token on standard input",
    )
}

/// Longest line of standard input that is read. A token is much shorter.
const LONGEST: u64 = 1 << 10;

impl NamedKey {
    /// Returns the id of the key. Fails if the token belongs to another tenant or is malformed.
    pub(super) fn of(self, tenant: &TenantId) -> Result<KeyId, CommandError> {
        match self {
            Self::Id(id) => Ok(id),
            Self::OfInput if io::stdin().is_terminal() => Err(CommandError::Usage(
                "a terminal would show the token: read it with read -rs, and pass it with <<<",
            )),
            Self::OfInput => {
                let mut line = String::new();
                let read = io::stdin().lock().take(LONGEST).read_line(&mut line);
                read.map_err(|source| CommandError::Read { path: "standard input".into(), source })?;
                match line.trim().parse::<Token>() {
                    Ok(token) if token.tenant() == tenant => Ok(token.key_id().clone()),
                    Ok(_) => Err(CommandError::Usage("the token belongs to another tenant")),
                    Err(_) => Err(CommandError::Usage("standard input has no complete token")),
                }
            }
            Self::Exposed => Err(CommandError::Usage(
                "this is not the id of a key; a token is not an argument, where others can see it: write -, and give it on \
                 standard input",
            )),
        }
    }
}

/// The expiry of a key.
#[derive(Clone, Copy, Debug)]
pub enum Expiry {
    /// The key never expires.
    Never,
    /// The key expires at this time.
    When(When),
}

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" { Ok(Self::Never) } else { text.parse().map(Self::When) }
    }
}

impl Expiry {
    /// Returns the instant at which the key expires, seen from `now`. Fails if it is not in the future.
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

/// Returns an instant. Fails if it is not after `now`; `what` names it in the error.
pub(super) fn future(
    what: &'static str,
    when: When,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, CommandError> {
    when.from(now).filter(|at| *at > now).ok_or(CommandError::Past(what))
}
