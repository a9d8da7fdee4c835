//! `keys rotate`: creates a key with the name and the scopes of another, which stays valid for a while or is revoked at once.

use chrono::{DateTime, Utc};
use domain::api_key::ApiKey;
use domain::identifiers::{KeyId, TenantId};
use service::ids;
use store::Admin;
use store::tenants::Former;

use super::arguments::Expiry;
use super::find_valid;
use super::revoke::locks_out;
use super::shown::{announce, reveal};
use crate::arguments::find_tenant;
use crate::format::instant;
use crate::{CommandError, Session};

pub(super) async fn run(
    session: &mut Session<'_>,
    store: &Admin,
    tenant: TenantId,
    former_id: KeyId,
    until: Option<DateTime<Utc>>,
    expires: Option<Expiry>,
    yes: bool,
) -> Result<(), CommandError> {
    let now = session.now();
    let tenant = find_tenant(store, tenant).await?.id;
    let former = find_valid(store, &tenant, &former_id, now).await?;
    let expires_at = match expires {
        Some(expires) => expires.from(now)?,
        None if former.expires_at.is_some() => {
            return Err(CommandError::Usage(
                "the key expires; give the expiry of the new key with --expires (a time, or never)",
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
    let as_before = if until < asked_for { ", when it expires anyway" } else { "" };
    session.note(&match until {
        Some(until) => format!("The key {former_id} stays valid until {}{as_before}.", instant(until)),
        None => format!("The key {former_id} is revoked."),
    });
    reveal(session, &token, key, now)
}
