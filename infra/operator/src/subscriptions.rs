//! Subscriptions: imported, exported, shown.

mod export;
mod import;
mod show;

use std::path::PathBuf;

use clap::Subcommand;
use domain::identifiers::{SubscriptionName, TenantId};

pub use self::import::Import;
use crate::arguments::parse_tenant;
use crate::{CommandError, Session};

/// Commands on subscriptions.
#[derive(Clone, Debug, Subcommand)]
pub enum Subscriptions {
    /// Import subscriptions from a file, one a line
    ///
    /// Each line is checked; one that is no subscription is rejected, and the others are imported, in their order. What is
    /// there already and is the same is passed over, so an import that was interrupted is begun again with the same command.
    /// Unless you say so, what is there already and differs is kept.
    ///
    /// What callers don't see (members that this service does not know) stays when a document is written over another, unless
    /// it belongs to a part that the file leaves out, or that is about something else now: another SIM card, another customer.
    /// So an export can be mended and imported.
    ///
    /// A cancellation that is pending in a document (pendingStatus) takes effect like any other.
    Import(Import),
    /// Export a tenant's subscriptions in the wire shape, one a line, in no particular order
    ///
    /// It has what callers see, and no more: not the reason of a cancellation, nor members that this service doesn't know.
    /// A file is there when the export is complete, in place of the one that was. This reads the whole table: its cost grows
    /// with the subscriptions of all tenants.
    Export {
        /// Where to; standard output if it is not said, or `-`
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Whose subscriptions
        #[arg(long, value_parser = parse_tenant)]
        tenant: TenantId,
    },
    /// Show what is stored of one subscription, with its cancellation
    Show {
        /// Its id, or its reference id behind rid_
        #[arg(value_name = "ID|rid_REFERENCE", value_parser = parse_name)]
        name: SubscriptionName,
        /// Whose it is
        #[arg(long, value_parser = parse_tenant)]
        tenant: TenantId,
    },
}

fn parse_name(text: &str) -> Result<SubscriptionName, &'static str> {
    text.parse().map_err(|_| "write the UUID of a subscription, or its reference id behind rid_")
}

pub(crate) async fn run(command: Subscriptions, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Subscriptions::Import(import) => import::run(import, session).await,
        Subscriptions::Export { file, tenant } => export::run(session, tenant, file).await,
        Subscriptions::Show { name, tenant } => show::run(session, tenant, name).await,
    }
}
