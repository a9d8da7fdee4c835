//! `keys revoke`: makes a key permanently invalid, from the next request on.

use domain::api_key::ApiKey;
use domain::identifiers::{KeyId, TenantId};
use store::Admin;
use store::tenants::Revoked;

use super::shown::ShownKey;
use crate::arguments::find_tenant;
use crate::format::instant;
use crate::{CommandError, Session};

pub(super) async fn run(
    session: &mut Session<'_>,
    store: &Admin,
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

/// Describes the effect of revoking a key, for the confirmation.
pub(super) fn locks_out(key_id: &KeyId, key: &ApiKey, tenant: &TenantId) -> String {
    let name = key.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("This locks out everyone who uses the key {key_id}{name} of {tenant}, at once and permanently")
}
