//! API keys: made, looked at, rotated, revoked. A token is shown once, when it is made; nobody can show it again.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use domain::api_key::{ApiKey, KeyState, Scope, Token};
use domain::identifiers::{KeyId, TenantId};
use serde::Serialize;
use service::ids;
use store::Store;
use store::tenants::{Former, Revoked};

use crate::arguments::{find_tenant, parse_name, parse_tenant};
use crate::format::{NOTHING, instant, or_nothing, table};
use crate::{CommandError, Session, When};

/// Commands on API keys.
#[derive(Clone, Debug, Subcommand)]
pub enum Keys {
    /// Create an API key, and print it: this once, as only a hash of it is kept
    Create {
        /// Whose key it is
        #[arg(long, value_parser = parse_tenant)]
        tenant: TenantId,
        /// What you call it: who uses it, say
        #[arg(long, value_parser = parse_name)]
        name: Option<String>,
        /// What it may do: subscriptions:read or subscriptions:cancel, once for each; both if it is not said
        #[arg(long = "scope", value_name = "SCOPE", value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// From when it is no longer valid: an instant (RFC 3339), how long from now (90d), or never
        #[arg(long, value_name = "WHEN", default_value = "never")]
        expires: Expiry,
    },
    /// List a tenant's API keys, by the last four characters of their tokens
    List {
        /// Whose keys
        #[arg(long, value_parser = parse_tenant)]
        tenant: TenantId,
    },
    /// Create an API key that takes over from another, which stays valid for a while
    ///
    /// The new key has the name and the scopes of the former one, and is printed this once. Until the time that you
    /// give, both are valid; with --now the former one, which has leaked perhaps, is revoked at once.
    Rotate {
        /// The key that is replaced: the id that `keys list` shows, or its token
        #[arg(value_name = "KEY", value_parser = parse_key)]
        key: NamedKey,
        /// Whose key it is
        #[arg(long, value_parser = parse_tenant)]
        tenant: TenantId,
        /// How long the former key stays valid: an instant (RFC 3339), or how long from now
        #[arg(long, value_name = "WHEN", default_value = "24h", conflicts_with = "now")]
        until: When,
        /// Revoke the former key at once, as --until 0s does
        #[arg(long)]
        now: bool,
        /// Don't ask before a key is revoked
        #[arg(long)]
        yes: bool,
        /// From when the new key is no longer valid: an instant (RFC 3339), how long from now (90d), or never. If the former
        /// key expires, it has to be said
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// Revoke an API key: from the next request it is not valid, and never again
    Revoke {
        /// The key: the id that `keys list` shows, or its token
        #[arg(value_name = "KEY", value_parser = parse_key)]
        key: NamedKey,
        /// Whose key it is
        #[arg(long, value_parser = parse_tenant)]
        tenant: TenantId,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

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

fn parse_key(text: &str) -> Result<NamedKey, &'static str> {
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
    fn of(self, tenant: &TenantId) -> Result<KeyId, CommandError> {
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
    fn from(self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, CommandError> {
        match self {
            Self::Never => Ok(None),
            Self::When(when) => future("the time at which the key expires", when, now).map(Some),
        }
    }
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    let known = || Scope::ALL.map(|scope| scope.to_string()).join(" or ");
    text.parse().map_err(|_| format!("a scope is {}", known()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownKey {
    key_id: KeyId,
    name: Option<String>,
    last_four: Option<String>,
    scopes: Vec<String>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    state: KeyState,
    /// Only of a key that is made now.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl ShownKey {
    fn new(key_id: KeyId, key: ApiKey, now: DateTime<Utc>) -> Self {
        Self {
            key_id,
            state: key.state(now),
            scopes: key.all_scopes().collect(),
            name: key.name,
            last_four: key.last_four,
            created_at: instant(key.created_at),
            expires_at: key.expires_at.map(instant),
            revoked_at: key.revoked_at.map(instant),
            token: None,
        }
    }

    fn row(&self) -> [String; 7] {
        let state = match self.state {
            KeyState::Valid => "valid",
            KeyState::Expired => "expired",
            KeyState::Revoked => "revoked",
        };
        [
            self.key_id.to_string(),
            or_nothing(self.name.as_ref()),
            self.last_four.as_ref().map_or_else(|| NOTHING.to_owned(), |four| format!("…{four}")),
            self.scopes.join(" "),
            self.created_at.clone(),
            or_nothing(self.expires_at.as_ref()),
            state.to_owned(),
        ]
    }
}

pub(crate) async fn run(command: Keys, session: &mut Session<'_>) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    match command {
        Keys::Create { tenant, name, scopes, expires } => {
            let expires_at = expires.from(now)?;
            let tenant = find_tenant(&store, tenant).await?;
            let token = ids::token(tenant.id.clone(), ids::key_id())?;
            let is_wanted = |scope: &Scope| scopes.is_empty() || scopes.contains(scope);
            let scopes: Vec<_> = Scope::ALL.into_iter().filter(is_wanted).collect();
            let key = ApiKey { name, expires_at, ..ApiKey::new(&token, &scopes, now) };
            announce(session, token.key_id(), &key);
            store.add_api_key(&tenant.id, token.key_id(), &key).await?;
            reveal(session, &token, key, now)
        }
        Keys::List { tenant } => {
            let tenant = find_tenant(&store, tenant).await?;
            let page = store.api_keys(&tenant.id).await?;
            let keys: Vec<_> = page.found.into_iter().map(|(id, key)| ShownKey::new(id, key, now)).collect();
            let outcome = session.complain(&page.unreadable);
            let heading = ["KEY", "NAME", "TOKEN", "SCOPES", "CREATED", "EXPIRES", "STATE"];
            session.conclude(&keys, || table(heading, keys.iter().map(ShownKey::row)), outcome)
        }
        Keys::Rotate { key, tenant, until, now: at_once, yes, expires } => {
            let until = match until {
                _ if at_once => None,
                When::In(duration) if duration.is_zero() => None,
                until => Some(future("the end of the former key", until, now)?),
            };
            let key = key.of(&tenant)?;
            rotate(session, &store, tenant, key, until, expires, yes).await
        }
        Keys::Revoke { key, tenant, yes } => {
            let key = key.of(&tenant)?;
            revoke(session, &store, tenant, key, yes).await
        }
    }
}

async fn revoke(
    session: &mut Session<'_>,
    store: &Store,
    tenant: TenantId,
    key_id: KeyId,
    yes: bool,
) -> Result<(), CommandError> {
    let tenant = find_tenant(store, tenant).await?.id;
    let Some(key) = store.api_key(&tenant, &key_id).await? else {
        return Err(CommandError::NoKey { tenant, key: key_id });
    };
    if key.revoked_at.is_none() {
        session.confirm(yes, locks_out(&key_id, &key, &tenant)).await?;
    }
    let text = match store.revoke_api_key(&tenant, &key_id, session.now()).await? {
        Revoked::Now => format!("revoked the key {key_id} of {tenant}"),
        Revoked::Before(at) => format!("the key {key_id} of {tenant} was revoked at {}", instant(at)),
        Revoked::NoKey => return Err(CommandError::NoKey { tenant, key: key_id }),
    };
    let revoked = store.api_key(&tenant, &key_id).await?;
    let now = session.now();
    let revoked = revoked.map(|stored| ShownKey::new(key_id, stored, now));
    session.print(&revoked, || text)
}

fn locks_out(key_id: &KeyId, key: &ApiKey, tenant: &TenantId) -> String {
    let name = key.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("Whoever uses the key {key_id}{name} of {tenant} is locked out at once, and for good")
}

async fn rotate(
    session: &mut Session<'_>,
    store: &Store,
    tenant: TenantId,
    former_id: KeyId,
    until: Option<DateTime<Utc>>,
    expires: Option<Expiry>,
    yes: bool,
) -> Result<(), CommandError> {
    let now = session.now();
    let tenant = find_tenant(store, tenant).await?.id;
    let Some(former) = store.api_key(&tenant, &former_id).await? else {
        return Err(CommandError::NoKey { tenant, key: former_id });
    };
    let over = |why| CommandError::KeyIsOver { key: former_id.clone(), why };
    match former.state(now) {
        KeyState::Valid => {}
        KeyState::Expired => return Err(over("has expired")),
        KeyState::Revoked => return Err(over("is revoked")),
    }
    let expires_at = match expires {
        Some(expires) => expires.from(now)?,
        None if former.expires_at.is_some() => {
            return Err(CommandError::Usage(
                "the key expires; say with --expires when the new one does, or never",
            ));
        }
        None => None,
    };
    if until.is_none() {
        session.confirm(yes, locks_out(&former_id, &former, &tenant)).await?;
    }
    // A rotation never prolongs the life of a key.
    let asked_for = until;
    let until = until.map(|until| former.expires_at.map_or(until, |expires_at| expires_at.min(until)));
    let token = ids::token(tenant.clone(), ids::key_id())?;
    let key = ApiKey {
        name: former.name,
        expires_at,
        scopes_of_others: former.scopes_of_others,
        ..ApiKey::new(&token, &former.scopes, now)
    };
    announce(session, token.key_id(), &key);
    let becomes = until.map_or(Former::Revoked(session.now()), Former::ValidUntil);
    if !store.rotate_api_key(&tenant, &former_id, becomes, (token.key_id(), &key)).await? {
        return Err(CommandError::KeyChanged(former_id));
    }
    let as_before = if until < asked_for { ", as it was to be" } else { "" };
    session.note(&match until {
        Some(until) => format!("The key {former_id} stays valid until {}{as_before}.", instant(until)),
        None => format!("The key {former_id} is revoked."),
    });
    reveal(session, &token, key, now)
}

/// Says which key is being made, before it is: should its token get lost on the way, it can be revoked.
fn announce(session: &mut Session<'_>, key_id: &KeyId, key: &ApiKey) {
    let scopes: Vec<_> = key.all_scopes().collect();
    let expires =
        key.expires_at.map_or_else(|| "never expires".to_owned(), |at| format!("expires {}", instant(at)));
    session.note(&format!(
        "The key {key_id} may {} and {expires}. Its token is shown this once.",
        scopes.join(" and ").replace("subscriptions:", "")
    ));
}

/// Shows a token, the one time that there is.
fn reveal(
    session: &mut Session<'_>,
    token: &Token,
    key: ApiKey,
    now: DateTime<Utc>,
) -> Result<(), CommandError> {
    let shown = ShownKey { token: Some(token.reveal()), ..ShownKey::new(token.key_id().clone(), key, now) };
    session.print(&shown, || token.reveal())
}

fn future(what: &'static str, when: When, now: DateTime<Utc>) -> Result<DateTime<Utc>, CommandError> {
    when.from(now).filter(|at| *at > now).ok_or(CommandError::Past(what))
}
