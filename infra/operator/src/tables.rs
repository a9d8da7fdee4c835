//! `tables create`: the tables, where no template creates them. Tables that exist stay as they are.

use clap::Subcommand;
use serde_json::json;
use store::tables::TableNames;

use crate::{CommandError, Session};

/// Commands on tables.
#[derive(Clone, Debug, Subcommand)]
pub enum Tables {
    /// Create those of the tables that don't exist
    ///
    /// What exists stays as it is, but for the expiry of idempotency records, which is turned on if there is none.
    Create,
}

pub(crate) async fn run(Tables::Create: Tables, session: &mut Session<'_>) -> Result<(), CommandError> {
    let created = session.store().create_tables().await?;
    let TableNames { subscriptions, idempotency, tenants } = &session.tables;
    let existed: Vec<_> = [subscriptions, idempotency, tenants]
        .into_iter()
        .filter(|name| !created.contains(name))
        .cloned()
        .collect();
    session.print(&json!({"created": created, "existed": existed}), || {
        let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("created: {}; there already: {}", names(&created), names(&existed))
    })
}
