//! API keys: created, listed, rotated, revoked, and what was requested with them.

mod activity;
mod arguments;
mod grant;
mod revoke;
mod rotate;
mod shown;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use clap::Subcommand;
use domain::api_key::{ApiKey, KeyState, Scope};
use domain::identifiers::{KeyId, TenantId};
use domain::tenant::Tenant;
use service::ids;
use store::{Admin, Patience, try_again};

pub use self::arguments::{Expiry, NamedKey};
use self::arguments::{future, parse_key, parse_scope};
use self::shown::{ShownKey, announce, reveal};
use crate::arguments::{TENANT_VARIABLE, find_tenant, parse_name, parse_tenant};
use crate::format::table;
use crate::{CommandError, Session, When};

/// Commands on API keys.
#[derive(Clone, Debug, Subcommand)]
pub enum Keys {
    /// Create an API key, and print its token, which is shown only once: only a hash of it is stored
    Create {
        /// Tenant of the key
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
        /// Name of the key, such as the system that uses it
        #[arg(long, value_parser = parse_name)]
        name: Option<String>,
        /// Scope of the key: subscriptions:read, subscriptions:cancel or cancellations:read; may be repeated [default: all]
        #[arg(long = "scope", value_name = "SCOPE", value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// Expiry of the key: an instant (RFC 3339), a duration from now (90d), or never
        #[arg(long, value_name = "WHEN", default_value = "never")]
        expires: Expiry,
    },
    /// List a tenant's API keys, with the last four characters of their tokens
    List {
        /// Tenant of the keys
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
        /// Also show the day, in the tenant's time zone, of the last change that each key has requested
        ///
        /// From the history, which has a change within seconds. Reads are not in it: the log has those. This reads the whole history:
        /// its cost grows with the changes of all tenants.
        #[arg(long)]
        last_used: bool,
    },
    /// Give an API key more scopes, from the next request on
    ///
    /// The key keeps its token and the scopes that it has. Keys that an earlier version of this service created can't read
    /// cancellations until they get that scope.
    Grant {
        /// The key: its id, as `keys list` shows it; or `-`, and its token on standard input
        #[arg(value_name = "KEY", value_parser = parse_key)]
        key: NamedKey,
        /// Tenant of the key
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
        /// Scope to add: subscriptions:read, subscriptions:cancel or cancellations:read; may be repeated
        #[arg(long = "scope", value_name = "SCOPE", value_parser = parse_scope, required = true)]
        scopes: Vec<Scope>,
    },
    /// Create an API key that replaces another, which stays valid for a while
    ///
    /// The new key has the name and the scopes of the former key. Its token is shown only once. Both keys are valid until the
    /// time that --until gives. With --now, the former key is revoked at once, for example because it has leaked.
    Rotate {
        /// The key to replace: its id, as `keys list` shows it; or `-`, and its token on standard input
        #[arg(value_name = "KEY", value_parser = parse_key)]
        key: NamedKey,
        /// Tenant of the key
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
        /// End of the former key: an instant (RFC 3339), or a duration from now
        #[arg(long, value_name = "WHEN", default_value = "24h", conflicts_with = "now")]
        until: When,
        /// Revoke the former key at once, as --until 0s does
        #[arg(long)]
        now: bool,
        /// Don't ask for confirmation before a key is revoked
        #[arg(long)]
        yes: bool,
        /// Expiry of the new key: an instant (RFC 3339), a duration from now (90d), or never; required if the former key expires
        /// [default: never]
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// List the changes that an API key has requested, the earliest first
    ///
    /// From the history, which has a change within seconds. Reads are not in it: the log has those. This reads the whole history: its
    /// cost grows with the changes of all tenants.
    Activity {
        /// The key: its id, as `keys list` shows it; or `-`, and its token on standard input
        #[arg(value_name = "KEY", value_parser = parse_key)]
        key: NamedKey,
        /// Tenant of the key
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
        /// Begin here: an instant (RFC 3339), or a duration before now
        #[arg(long, value_name = "WHEN", default_value = "90d")]
        since: When,
    },
    /// Revoke an API key permanently: it is refused from the next request on
    Revoke {
        /// The key to revoke: its id, as `keys list` shows it; or `-`, and its token on standard input
        #[arg(value_name = "KEY", value_parser = parse_key)]
        key: NamedKey,
        /// Tenant of the key
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
        /// Don't ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

impl Keys {
    /// Returns true if the command reads a token from standard input.
    pub(crate) fn reads_input(&self) -> bool {
        match self {
            Self::Create { .. } | Self::List { .. } => false,
            Self::Grant { key, .. }
            | Self::Rotate { key, .. }
            | Self::Activity { key, .. }
            | Self::Revoke { key, .. } => matches!(key, NamedKey::OfInput),
        }
    }
}

pub(crate) async fn run(command: Keys, session: &mut Session<'_>) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    match command {
        Keys::Create { tenant, name, scopes, expires } => {
            create(session, &store, tenant, name, scopes, expires).await
        }
        Keys::List { tenant, last_used } => list(session, &store, tenant, last_used).await,
        Keys::Grant { key, tenant, scopes } => {
            let key = key.of(&tenant)?;
            grant::run(session, &store, tenant, key, &scopes).await
        }
        Keys::Rotate { key, tenant, until, now: at_once, yes, expires } => {
            let until = match until {
                _ if at_once => None,
                When::In(duration) if duration.is_zero() => None,
                until => Some(future("the end of the former key", until, now)?),
            };
            let key = key.of(&tenant)?;
            rotate::run(session, &store, tenant, key, until, expires, yes).await
        }
        Keys::Activity { key, tenant, since } => {
            let key = key.of(&tenant)?;
            activity::run(session, &store, tenant, key, since.ago(now)).await
        }
        Keys::Revoke { key, tenant, yes } => {
            let key = key.of(&tenant)?;
            revoke::run(session, &store, tenant, key, yes).await
        }
    }
}

async fn create(
    session: &mut Session<'_>,
    store: &Admin,
    tenant: TenantId,
    name: Option<String>,
    scopes: Vec<Scope>,
    expires: Expiry,
) -> Result<(), CommandError> {
    let now = session.now();
    let expires_at = expires.from(now)?;
    let tenant = find_tenant(store, tenant).await?;
    let token = ids::token(tenant.id.clone(), ids::key_id())?;
    let is_wanted = |scope: &Scope| scopes.is_empty() || scopes.contains(scope);
    let scopes: Vec<_> = Scope::ALL.into_iter().filter(is_wanted).collect();
    let key = ApiKey { name, expires_at, ..ApiKey::new(&token, &scopes, now) };
    announce(session, token.key_id(), &key);
    store.add_api_key(&tenant.id, token.key_id(), &key).await?;
    reveal(session, &token, key, now)
}

async fn list(
    session: &mut Session<'_>,
    store: &Admin,
    tenant: TenantId,
    last_used: bool,
) -> Result<(), CommandError> {
    let tenant = find_tenant(store, tenant).await?;
    let page = store.api_keys(&tenant.id).await?;
    let mut unreadable = page.unreadable;
    let mut keys: Vec<_> =
        page.found.into_iter().map(|(id, key)| ShownKey::new(id, key, session.now())).collect();
    if last_used {
        let (last, malformed) = last_changes(store, &tenant).await?;
        keys.iter_mut().for_each(|key| key.note_use(&last));
        unreadable.extend(malformed);
    }
    let outcome = session.complain(&unreadable);
    let text = || {
        if last_used {
            let heading = ["KEY", "NAME", "TOKEN", "SCOPES", "CREATED", "EXPIRES", "STATE", "LAST CHANGE"];
            return table(heading, keys.iter().map(ShownKey::row_with_use));
        }
        let heading = ["KEY", "NAME", "TOKEN", "SCOPES", "CREATED", "EXPIRES", "STATE"];
        table(heading, keys.iter().map(ShownKey::row))
    };
    session.conclude(&keys, text, outcome)
}

/// Returns the day of the last change that each key has requested. Also returns the keys of the entries that can't be read.
async fn last_changes(
    store: &Admin,
    tenant: &Tenant,
) -> Result<(BTreeMap<KeyId, NaiveDate>, Vec<String>), CommandError> {
    let (mut last, mut unreadable, mut next) = (BTreeMap::new(), Vec::new(), None);
    loop {
        let page = try_again(Patience::OfCommand, || store.changes_by_keys(&tenant.id, next.clone())).await?;
        for (key, at) in page.found {
            let day = tenant.time_zone.local_date(at);
            last.entry(key).and_modify(|known: &mut NaiveDate| *known = day.max(*known)).or_insert(day);
        }
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() {
            return Ok((last, unreadable));
        }
    }
}

/// Finds a key that is valid now.
async fn find_valid(
    store: &Admin,
    tenant: &TenantId,
    key_id: &KeyId,
    now: DateTime<Utc>,
) -> Result<ApiKey, CommandError> {
    let over = |why| CommandError::KeyIsOver { key: key_id.clone(), why };
    let Some(key) = store.api_key(tenant, key_id).await? else {
        return Err(CommandError::NoKey { tenant: tenant.clone(), key: key_id.clone() });
    };
    match key.state(now) {
        KeyState::Valid => Ok(key),
        KeyState::Expired => Err(over("has expired")),
        KeyState::Revoked => Err(over("is revoked")),
    }
}
