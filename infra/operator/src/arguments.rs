//! Arguments that several commands share: one parser, one message and one lookup for each.

use std::fmt::Display;

use chrono::NaiveDate;
use clap::Args;
use domain::identifiers::TenantId;
use domain::origin::Actor;
use domain::tenant::Tenant;
use store::Admin;
use strum::VariantArray;

use crate::{CommandError, terminal};

/// The environment variable with the tenant of the commands that need one.
pub(crate) const TENANT_VARIABLE: &str = "CONNECT_TENANT";

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

/// Parses one of the values of a type, in any case.
pub(crate) fn one_of<T: VariantArray + Display + Copy>(text: &str) -> Result<T, String> {
    let named = T::VARIANTS.iter().find(|value| value.to_string().eq_ignore_ascii_case(text));
    let all = || T::VARIANTS.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    named.copied().ok_or_else(|| format!("write one of {}", all()))
}

/// Parses a date in a tenant's calendar.
pub(crate) fn parse_date(text: &str) -> Result<NaiveDate, &'static str> {
    text.parse().map_err(|_| "write a date as 2026-12-31")
}

/// Finds the tenant with this id. Fails if it does not exist.
pub(crate) async fn find_tenant(store: &Admin, id: TenantId) -> Result<Tenant, CommandError> {
    store.tenant(&id).await?.ok_or(CommandError::NoTenant(id))
}

/// The operator who has a command change subscriptions.
#[derive(Clone, Debug, Args)]
pub struct Operator {
    /// Name to note as the author of each change; callers of the API may see it [default: the system's user]
    #[arg(long = "as", value_name = "NAME", value_parser = parse_actor)]
    name: Option<Actor>,
}

fn parse_actor(text: &str) -> Result<Actor, &'static str> {
    text.parse().map_err(|_| "write 1 to 128 printable ASCII characters")
}

impl Operator {
    /// Returns the name. Fails if none is given and the system has none that can be noted.
    pub(crate) fn name(&self) -> Result<Actor, CommandError> {
        let of_system = || whoami::username().ok().and_then(|user| user.parse().ok());
        let name = self.name.clone().or_else(of_system);
        name.ok_or(CommandError::Usage("the name of the system's user can't be noted; give yours with --as"))
    }
}
