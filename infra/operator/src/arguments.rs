//! Arguments that several commands have: parsed with one rule and one message, and looked up.

use domain::identifiers::TenantId;
use domain::tenant::Tenant;
use store::Admin;

use crate::{CommandError, terminal};

/// The id of a tenant, which need not exist.
pub(crate) fn parse_tenant(text: &str) -> Result<TenantId, &'static str> {
    text.parse().map_err(|_| "a tenant is named by 1 to 32 lower-case letters, digits and hyphens")
}

/// A name for people.
pub(crate) fn parse_name(text: &str) -> Result<String, &'static str> {
    if !(1..=64).contains(&text.chars().count()) {
        return Err("a name has 1 to 64 characters");
    }
    if text.contains(terminal::acts) {
        return Err("a name has no control characters, and none that change the direction of text");
    }
    Ok(text.to_owned())
}

/// The tenant of this id; an error if there is none.
pub(crate) async fn find_tenant(store: &Admin, id: TenantId) -> Result<Tenant, CommandError> {
    store.tenant(&id).await?.ok_or(CommandError::NoTenant(id))
}
