//! Cancellations: upcoming, due and executed ones, many at once, and the repair of contradictions.

mod batches;
mod change;
mod due;
mod index;
mod lag;
mod many;
mod pause;
mod rederive;
mod repair;
mod report;
mod run;

use clap::Subcommand;
use domain::identifiers::TenantId;

pub use self::due::ListDue;
pub(crate) use self::index::{Entry, Index, Zones};
pub(crate) use self::lag::Lag;
pub use self::many::{ScheduleMany, ScheduleWhen, WithdrawMany};
pub use self::pause::PausedTenants;
pub(crate) use self::pause::confirm_executions;
pub(crate) use self::rederive::misplaced;
use self::repair::Part;
pub(crate) use self::repair::contradictory;
pub use self::report::Report;
use crate::arguments::{Operator, TENANT_VARIABLE, parse_tenant};
use crate::{CommandError, Session};

/// Commands on cancellations.
#[derive(Clone, Debug, Subcommand)]
pub enum Cancellations {
    /// List the cancellations that are due or upcoming, the earliest first
    Due(ListDue),
    /// Cancel many subscriptions: those of a file, or those with a product
    ///
    /// Each is cancelled as by a request of the API, with the same checks, and noted with the batch. The same command with the same
    /// --batch and date continues one that was interrupted: a line that the batch has done is not done again. A cancellation that is
    /// pending already is replaced, unless it has the same date and reason.
    Schedule(ScheduleMany),
    /// List the batches of a tenant, the latest first, and what became of their cancellations
    ///
    /// Only the latest cancellation of each subscription counts. This reads the whole table: its cost grows with the subscriptions of
    /// all tenants.
    Batches {
        /// Tenant of the batches
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
    },
    /// Withdraw many pending cancellations: those of a batch, or those that an API key has requested
    ///
    /// Each is withdrawn as by a request of the API. Cancellations that were executed stay, and so do those that were requested
    /// anew since. A cancellation that the batch had replaced does not come back: `subscriptions history` shows it.
    Withdraw(WithdrawMany),
    /// Pause the cancellations of a tenant or of all: none is executed until they are resumed
    ///
    /// Callers can still cancel and withdraw, and a read shows what is pending as before. A cancellation whose date arrives in the
    /// pause is executed when it is over, for the promised instant. A tenant that is created later is not paused.
    Pause {
        /// The tenants
        #[command(flatten)]
        tenants: PausedTenants,
        /// The tenant has moved to another stack: nothing of it is executed here any more, no alarm tells of it, and it can't be resumed
        #[arg(long)]
        moved: bool,
        /// The author of the pause
        #[command(flatten)]
        operator: Operator,
    },
    /// Resume cancellations that were paused: those that are due are executed within a minute
    ///
    /// With --all, only the tenants are resumed that were paused with --all. The others are named.
    Resume {
        /// The tenants
        #[command(flatten)]
        tenants: PausedTenants,
        /// Don't ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Execute the cancellations that are due
    ///
    /// Does the same as the schedule does every minute, and may run at the same time: each cancellation is executed once. A
    /// cancellation is due if its instant has come by both clocks, this machine's and the database's.
    Run {
        /// The author of the change
        #[command(flatten)]
        operator: Operator,
    },
    /// Show how late the oldest cancellation is that is due
    ///
    /// Only cancellations that can be executed count, and not those that are paused. `connect doctor` counts the others.
    Lag,
    /// Move pending cancellations to the first instant of their date, after a change of time zone
    ///
    /// The promised date stays. The instant at which it begins depends on the tenant's time zone and on the rules of that time
    /// zone, and either may have changed. A cancellation that is not moved is executed when its instant has come and its date
    /// has begun.
    Rederive {
        /// Only cancellations of this tenant [default: all tenants]
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
        /// Only list them; change nothing
        #[arg(long)]
        dry_run: bool,
        /// The author of the change
        #[command(flatten)]
        operator: Operator,
    },
    /// Repair the subscriptions whose parts contradict each other
    ///
    /// Another system that writes into the table may have changed one part of a subscription and not the others: the document,
    /// the cancellation that is kept with it, or its entry in the due index. Until you choose the part that counts, no
    /// cancellation of the subscription is executed, and callers see none as pending. This reads the whole table: its cost grows
    /// with the subscriptions of all tenants.
    Repair {
        /// The part that counts
        #[arg(long, value_enum)]
        by: Part,
        /// Only subscriptions of this tenant [default: all tenants]
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
        /// Only list them; change nothing
        #[arg(long)]
        dry_run: bool,
        /// Don't ask for confirmation
        #[arg(long)]
        yes: bool,
        /// The author of the change
        #[command(flatten)]
        operator: Operator,
    },
    /// Count cancellations by month and reason
    ///
    /// Counts executed, pending and withdrawn cancellations by their date: the latest one of each subscription. A cancellation without a promised date counts by its instant, in
    /// the time zone that its tenant has now. A cancellation that had taken effect when it was imported is not counted. This
    /// reads the whole table: its cost grows with the subscriptions of all tenants.
    Report(Report),
}

impl Cancellations {
    /// Returns true if the command changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        match self {
            Self::Due(_) | Self::Batches { .. } | Self::Lag | Self::Report(_) => true,
            Self::Rederive { dry_run, .. } | Self::Repair { dry_run, .. } => *dry_run,
            Self::Pause { .. } | Self::Resume { .. } => false,
            Self::Run { .. } | Self::Schedule(_) | Self::Withdraw(_) => false,
        }
    }
}

pub(crate) async fn run(command: Cancellations, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Cancellations::Due(arguments) => due::list(session, arguments).await,
        Cancellations::Batches { tenant } => batches::list(session, tenant).await,
        Cancellations::Schedule(arguments) => many::schedule(session, arguments).await,
        Cancellations::Withdraw(arguments) => many::withdraw(session, arguments).await,
        Cancellations::Pause { tenants, moved, operator } => {
            pause::pause(session, &operator, tenants, moved).await
        }
        Cancellations::Resume { tenants, yes } => pause::resume(session, tenants, yes).await,
        Cancellations::Run { operator } => run::run(session, &operator).await,
        Cancellations::Lag => lag::say(session).await,
        Cancellations::Rederive { tenant, dry_run, operator } => {
            rederive::all(session, &operator, tenant, dry_run).await
        }
        Cancellations::Repair { by, tenant, dry_run, yes, operator } => {
            repair::all(session, &operator, by, tenant, dry_run, yes).await
        }
        Cancellations::Report(report) => report::run(report, session).await,
    }
}
