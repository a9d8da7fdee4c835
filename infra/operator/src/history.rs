//! The history of all subscriptions: the repair of missing entries.

mod repair;

pub(crate) use self::repair::faults;

use clap::Subcommand;
use domain::identifiers::TenantId;

use crate::arguments::parse_tenant;
use crate::{CommandError, Session};

/// Commands on the history.
#[derive(Clone, Debug, Subcommand)]
pub enum History {
    /// Add the entries that are missing, as far as they can be known
    ///
    /// Entries of the last 24 hours are made again from the stream of the table, exactly as they would have been. Of older changes,
    /// only the last one of a subscription can be known, from the subscription itself. What can't be known stays missing, and is
    /// listed. An entry that exists is never changed. A change of the last five minutes may still be on its way, and is left out.
    /// This reads the whole table and the history of each subscription: its cost grows with both.
    Repair {
        /// Only subscriptions of this tenant [default: all tenants]
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
        /// Only list what is missing; add nothing
        #[arg(long)]
        dry_run: bool,
    },
}

impl History {
    /// Returns true if the command changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        let Self::Repair { dry_run, .. } = self;
        *dry_run
    }
}

pub(crate) async fn run(command: History, session: &mut Session<'_>) -> Result<(), CommandError> {
    let History::Repair { tenant, dry_run } = command;
    repair::all(session, tenant, dry_run).await
}
