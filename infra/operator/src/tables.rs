//! `tables create`: creates the tables where no template does. Existing ones stay as they are.

use clap::Subcommand;
use serde_json::json;
use store::tables::TableNames;

use crate::{CommandError, Session};

/// Commands on tables.
#[derive(Clone, Debug, Subcommand)]
pub enum Tables {
    /// Create the tables and indexes that don't exist
    ///
    /// Existing ones stay as they are. Only the expiry of idempotency records and deliveries is turned on if the table has none.
    Create,
}

pub(crate) async fn run(Tables::Create: Tables, session: &mut Session<'_>) -> Result<(), CommandError> {
    let created = session.store().create_tables().await?;
    let TableNames { subscriptions, idempotency, tenants, history, webhooks, deliveries } = &session.tables;
    let existed: Vec<_> = [subscriptions, idempotency, tenants, history, webhooks, deliveries]
        .into_iter()
        .filter(|name| !created.contains(name))
        .cloned()
        .collect();
    session.print(&json!({"created": created, "existed": existed}), || {
        let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("created: {}; existed already: {}", names(&created), names(&existed))
    })
}
