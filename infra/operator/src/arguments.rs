//! Arguments that several commands share: one parser, one message and one lookup for each.

use domain::identifiers::TenantId;
use domain::tenant::Tenant;
use store::Admin;

use crate::{CommandError, terminal};

/// Parses the id of a tenant. The tenant need not exist.
pub(crate) fn parse_tenant(text: &str) -> Result<TenantId, &'static str> {
    text.parse().map_err(|_| "a tenant id has 1 to 32 lower-case letters, digits and hyphens")
}

/// Parses a name that people read.
pub(crate) fn parse_name(text: &str) -> Result<String, &'static str> {
    if !(1..=64).contains(&text.chars().count()) {
        return Err("a name has 1 to 64 characters");
    }
    if text.contains(terminal::acts) {
        return Err(
            "a name must not have control characters, or characters that change the direction of text",
        );
    }
    Ok(text.to_owned())
}

/// Finds the tenant with this id. Fails if it does not exist.
pub(crate) async fn find_tenant(store: &Admin, id: TenantId) -> Result<Tenant, CommandError> {
    store.tenant(&id).await?.ok_or(CommandError::NoTenant(id))
}
