//! `keys grant`: gives a key more scopes, from the next request on.

use domain::api_key::Scope;
use domain::identifiers::{KeyId, TenantId};
use store::Admin;

use super::find_valid;
use super::shown::ShownKey;
use crate::arguments::find_tenant;
use crate::{CommandError, Session};

pub(super) async fn run(
    session: &mut Session<'_>,
    store: &Admin,
    tenant: TenantId,
    key_id: KeyId,
    scopes: &[Scope],
) -> Result<(), CommandError> {
    let now = session.now();
    let tenant = find_tenant(store, tenant).await?.id;
    find_valid(store, &tenant, &key_id, now).await?;
    for scope in scopes {
        store.add_scope(&tenant, &key_id, *scope).await?;
    }
    let key = find_valid(store, &tenant, &key_id, now).await?;
    let shown = ShownKey::new(key_id, key, now);
    session.print(&shown, || shown.granted())
}
