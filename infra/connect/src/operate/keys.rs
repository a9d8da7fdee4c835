//! API keys: made, looked at, rotated, revoked. A token is shown once, when it is made; nobody can show it again.

use ::subscriptions::api_key::{ApiKey, KeyState, Scope, Token};
use ::subscriptions::identifiers::{KeyId, TenantId};
use ::subscriptions::store::Store;
use ::subscriptions::store::tenants::Revoked;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::session::{NOTHING, Session, instant, or_nothing, table};
use super::{CommandError, When, find_tenant};

/// Commands on API keys.
#[derive(Clone, Debug, Subcommand)]
pub enum Keys {
    /// Create an API key, and print it: this once, as only a hash of it is kept
    Create {
        /// Whose key it is
        #[arg(long)]
        tenant: TenantId,
        /// What you call it: who uses it, say
        #[arg(long, value_parser = parse_name)]
        name: Option<String>,
        /// What it may do, once for each scope; everything if it is not said
        #[arg(long = "scope", value_name = "SCOPE", value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// From when it is no longer valid: an instant (RFC 3339), or how long from now (90d)
        #[arg(long, value_name = "WHEN")]
        expires: Option<When>,
    },
    /// List a tenant's API keys, by the last four characters of their tokens
    List {
        /// Whose keys
        #[arg(long)]
        tenant: TenantId,
    },
    /// Create an API key that takes over from another, which stays valid for a while
    ///
    /// The new key has the name and the scopes of the former one, and is printed this once. Until the time that you
    /// give, both are valid.
    Rotate {
        /// The key that is replaced: the id that `keys list` shows
        key: KeyId,
        /// Whose key it is
        #[arg(long)]
        tenant: TenantId,
        /// How long the former key stays valid: an instant (RFC 3339), or how long from now
        #[arg(long, value_name = "WHEN", default_value = "24h")]
        until: When,
        /// From when the new key is no longer valid: an instant (RFC 3339), or how long from now (90d)
        #[arg(long, value_name = "WHEN")]
        expires: Option<When>,
    },
    /// Revoke an API key: from the next request it is not valid, and never again
    Revoke {
        /// The key: the id that `keys list` shows
        key: KeyId,
        /// Whose key it is
        #[arg(long)]
        tenant: TenantId,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    let known = || Scope::ALL.map(|scope| scope.to_string()).join(" or ");
    text.parse().map_err(|_| format!("a scope is {}", known()))
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    let is_name = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_name.then(|| text.to_owned()).ok_or("a name has 1 to 64 characters")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
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

impl Shown {
    fn new(key_id: KeyId, key: ApiKey, now: DateTime<Utc>) -> Self {
        Self {
            key_id,
            state: key.state(now),
            name: key.name,
            last_four: key.last_four,
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
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

pub(super) async fn run(command: Keys, session: &mut Session<'_>) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    match command {
        Keys::Create { tenant, name, scopes, expires } => {
            let expires_at = future("the time at which the key expires", expires, now)?;
            let tenant = find_tenant(&store, tenant).await?;
            let token = Token::generate(tenant.id.clone(), KeyId::random())?;
            let scopes = if scopes.is_empty() { &Scope::ALL[..] } else { &scopes };
            let key = ApiKey { name, expires_at, ..ApiKey::new(&token, scopes, now) };
            store.add_api_key(&tenant.id, token.key_id(), &key).await?;
            reveal(session, &token, key, now)
        }
        Keys::List { tenant } => {
            let tenant = find_tenant(&store, tenant).await?;
            let keys = store.api_keys(&tenant.id).await?;
            let keys: Vec<_> = keys.into_iter().map(|(id, key)| Shown::new(id, key, now)).collect();
            session.print(&keys, || {
                let heading = ["KEY", "NAME", "TOKEN", "SCOPES", "CREATED", "EXPIRES", "STATE"];
                table(heading, keys.iter().map(Shown::row))
            })
        }
        Keys::Rotate { key, tenant, until, expires } => {
            let until = future("the end of the former key", Some(until), now)?.unwrap_or(now);
            let expires_at = future("the time at which the new key expires", expires, now)?;
            rotate(session, &store, tenant, key, until, expires_at).await
        }
        Keys::Revoke { key, tenant, yes } => {
            let tenant = find_tenant(&store, tenant).await?.id;
            session.confirm(yes, "Whoever uses this key is locked out at once, and for good")?;
            let text = match store.revoke_api_key(&tenant, &key, now).await? {
                Revoked::Now => format!("revoked the key {key} of {tenant}"),
                Revoked::Before(at) => format!("the key {key} of {tenant} was revoked at {}", instant(at)),
                Revoked::NoKey => return Err(CommandError::NoKey { tenant, key }),
            };
            let revoked = store.api_key(&tenant, &key).await?;
            let revoked = revoked.map(|stored| Shown::new(key, stored, now));
            session.print(&revoked, || text)
        }
    }
}

async fn rotate(
    session: &mut Session<'_>,
    store: &Store,
    tenant: TenantId,
    former_id: KeyId,
    until: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
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
    // A rotation never prolongs the life of a key.
    let until = former.expires_at.map_or(until, |expires_at| expires_at.min(until));
    let token = Token::generate(tenant.clone(), KeyId::random())?;
    let key = ApiKey { name: former.name, expires_at, ..ApiKey::new(&token, &former.scopes, now) };
    if !store.rotate_api_key(&tenant, &former_id, until, (token.key_id(), &key)).await? {
        return Err(over("is revoked"));
    }
    session.note(&format!("The former key {former_id} stays valid until {}.", instant(until)));
    reveal(session, &token, key, now)
}

/// Shows a token, the one time that there is.
fn reveal(
    session: &mut Session<'_>,
    token: &Token,
    key: ApiKey,
    now: DateTime<Utc>,
) -> Result<(), CommandError> {
    let expires =
        key.expires_at.map_or_else(|| "never expires".to_owned(), |at| format!("expires {}", instant(at)));
    let shown = Shown { token: Some(token.reveal()), ..Shown::new(token.key_id().clone(), key, now) };
    session.note(&format!(
        "The key {} may do {} and {expires}. Its token is not shown again:",
        shown.key_id,
        shown.scopes.join(" "),
    ));
    session.print(&shown, || token.reveal())
}

fn future(
    what: &'static str,
    when: Option<When>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, CommandError> {
    let Some(when) = when else { return Ok(None) };
    when.from(now).filter(|at| *at > now).map(Some).ok_or(CommandError::Past(what))
}
