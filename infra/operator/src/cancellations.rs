//! Cancellations: those to come, those that are due, those that took effect, and those that contradict themselves.

mod change;
mod due;
mod index;
mod lag;
mod rederive;
mod repair;
mod report;
mod run;

use chrono::TimeDelta;
use clap::Subcommand;
use domain::identifiers::TenantId;

pub(crate) use self::index::{Entry, Index, Zones};
pub(crate) use self::lag::Lag;
pub(crate) use self::rederive::misplaced;
use self::repair::Part;
pub(crate) use self::repair::contradictory;
pub use self::report::Report;
use crate::arguments::parse_tenant;
use crate::when::duration;
use crate::{CommandError, Session};

/// Commands on cancellations.
#[derive(Clone, Debug, Subcommand)]
pub enum Cancellations {
    /// List what will be cancelled, in the order in which it will be
    Due {
        /// How far to look ahead; what is due already is listed too
        #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
        within: TimeDelta,
        /// Whose cancellations; everybody's if it is not said
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
    },
    /// Execute what is due, now
    ///
    /// It does what the schedule does every minute, and may run beside it: each cancellation is executed once. Of this
    /// machine's clock and the database's, the one that is behind says what is due.
    Run,
    /// Say how late the oldest cancellation is that is due
    ///
    /// Of those that can be executed: `connect doctor` counts the others.
    Lag,
    /// Move pending cancellations whose date begins at another instant than when they were asked for
    ///
    /// The date that was promised stays. When it begins depends on the tenant's time zone and on its rules, and either may have
    /// changed. Until it is moved, a cancellation is executed when both its instant has come and its date has begun.
    Rederive {
        /// Whose cancellations [default: everybody's]
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
        /// List them, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make whole the subscriptions that contradict themselves
    ///
    /// Another system that writes into the table may have changed one part of a subscription and not the others: its document,
    /// the cancellation that is kept with it, its entry in the index of due dates. Nothing is executed then, and callers are told of
    /// no pending cancellation, until you say which part counts. This reads the whole table: its cost grows with the subscriptions
    /// of all tenants.
    Repair {
        /// The part that counts
        #[arg(long, value_enum)]
        by: Part,
        /// Whose subscriptions [default: everybody's]
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
        /// List them, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Count cancellations by month and reason
    ///
    /// Those that took effect, and those to come, by the date on which they do, in the time zone that their tenant has now.
    /// What had taken effect when it was imported is not counted. This reads the whole table: its cost grows with the
    /// subscriptions of all tenants.
    Report(Report),
}

impl Cancellations {
    /// Whether it changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        match self {
            Self::Due { .. } | Self::Lag | Self::Report(_) => true,
            Self::Rederive { dry_run, .. } | Self::Repair { dry_run, .. } => *dry_run,
            Self::Run => false,
        }
    }
}

pub(crate) async fn run(command: Cancellations, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Cancellations::Due { within, tenant } => due::list(session, within, tenant).await,
        Cancellations::Run => run::run(session).await,
        Cancellations::Lag => lag::say(session).await,
        Cancellations::Rederive { tenant, dry_run } => rederive::all(session, tenant, dry_run).await,
        Cancellations::Repair { by, tenant, dry_run, yes } => {
            repair::all(session, by, tenant, dry_run, yes).await
        }
        Cancellations::Report(report) => report::run(report, session).await,
    }
}
