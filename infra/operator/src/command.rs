//! All commands, and the one function that runs them.

use clap::Subcommand;

use crate::backup::{self, Backup, Restore};
use crate::cancellations::{self, Cancellations};
use crate::doctor::{self, Doctor};
use crate::events::{self, Events};
use crate::history::{self, History};
use crate::keys::{self, Keys};
use crate::subscriptions::{self, Subscriptions};
use crate::tables::{self, Tables};
use crate::tenants::{self, Tenants};
use crate::webhooks::{self, Webhooks};
use crate::{CommandError, Session};

/// The operator's commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Manage tenants, the companies that use the API
    #[command(subcommand)]
    Tenants(Tenants),
    /// Manage the API keys of a tenant
    #[command(subcommand)]
    Keys(Keys),
    /// Import, export, find, list and show subscriptions, with their history
    #[command(subcommand)]
    Subscriptions(Subscriptions),
    /// Schedule, withdraw, list, count and repair cancellations, and execute those that are due
    #[command(subcommand)]
    Cancellations(Cancellations),
    /// Show the events about subscriptions
    #[command(subcommand)]
    Events(Events),
    /// Repair the history of subscriptions
    #[command(subcommand)]
    History(History),
    /// Manage the webhooks of a tenant, list attempts to post events, and send events again
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// Save everything that a tenant has in a file: API keys, webhooks, subscriptions, cancellations, history
    ///
    /// Each item is saved as it is stored, with who and why. To move a tenant, pause its cancellations and stop its callers first:
    /// what changes during the backup may be saved or not. This reads all tables of all tenants.
    Backup(Backup),
    /// Restore a tenant from a file of `backup`, into a database that does not have it
    ///
    /// Answers, ETags, API keys and the history are the same as before. Nothing of the tenant is executed, and no key is valid, until
    /// everything is there. The same command continues one that was interrupted.
    Restore(Restore),
    /// Create the tables (on AWS, the template creates them)
    #[command(subcommand)]
    Tables(Tables),
    /// Check the database, the clock, the schedule and the cancellations, and say how to fix each fault
    ///
    /// Checks the database and the rights to it, this machine's clock, the tables with their index, stream and expiry, the
    /// schedule that sweeps, that the cancellations that are due are executed, and the history of a few subscriptions. Changes
    /// nothing.
    Doctor(Doctor),
}

impl Command {
    /// Returns true if the command must be allowed to end by itself when the session is asked to stop.
    ///
    /// An import or a batch still reports its progress, and the token of a new key, or a new secret, is still shown. Any other command can be dropped at any
    /// moment: it changes the database by one write, or by several that are independent of each other.
    #[must_use]
    pub fn ends_by_itself(&self) -> bool {
        match self {
            Self::Keys(command) => matches!(command, Keys::Create { .. } | Keys::Rotate { .. }),
            Self::Subscriptions(command) => {
                matches!(command, Subscriptions::Import(_) | Subscriptions::Erase(_))
            }
            Self::Cancellations(command) => {
                matches!(command, Cancellations::Schedule(_) | Cancellations::Withdraw(_))
            }
            Self::Webhooks(command) => matches!(command, Webhooks::Add { .. } | Webhooks::Rotate { .. }),
            Self::Restore(_) => true,
            _ => false,
        }
    }

    /// Returns true if the command runs until it is stopped. Then a stop is a success.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        matches!(self, Self::Events(Events::Tail { .. }))
    }

    /// Returns true if a page may run the command: it uses no file of this machine, not even standard input, and ends.
    #[must_use]
    pub fn is_for_a_page(&self) -> bool {
        match self {
            Self::Subscriptions(command) => !matches!(
                command,
                Subscriptions::Import(_) | Subscriptions::Export { .. } | Subscriptions::Index { .. }
            ),
            Self::Cancellations(command) => {
                !matches!(command, Cancellations::Schedule(_) | Cancellations::Withdraw(_))
            }
            Self::Keys(command) => !command.reads_input(),
            Self::Tenants(_) | Self::Webhooks(_) | Self::Doctor(_) => true,
            Self::Events(_) | Self::History(_) | Self::Tables(_) | Self::Backup(_) | Self::Restore(_) => {
                false
            }
        }
    }

    /// Returns true if the command changes nothing. Then it is a success if the reader of its output stops early.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Tenants(command) => matches!(command, Tenants::List | Tenants::Show { .. }),
            Self::Keys(command) => matches!(command, Keys::List { .. } | Keys::Activity { .. }),
            Self::Subscriptions(command) => !matches!(
                command,
                Subscriptions::Import(_)
                    | Subscriptions::Erase(_)
                    | Subscriptions::Index { dry_run: false, .. }
            ),
            Self::Cancellations(command) => command.only_reads(),
            Self::History(command) => command.only_reads(),
            Self::Webhooks(command) => command.only_reads(),
            Self::Tables(_) | Self::Restore(_) => false,
            Self::Events(_) | Self::Doctor(_) | Self::Backup(_) => true,
        }
    }
}

/// Runs a command.
///
/// # Errors
/// The command failed, or did only a part of its work.
pub async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Command::Tenants(command) => tenants::run(command, session).await,
        Command::Keys(command) => keys::run(command, session).await,
        Command::Subscriptions(command) => subscriptions::run(command, session).await,
        Command::Cancellations(command) => cancellations::run(command, session).await,
        Command::Events(command) => events::run(command, session).await,
        Command::History(command) => history::run(command, session).await,
        Command::Webhooks(command) => webhooks::run(command, session).await,
        Command::Backup(command) => backup::run(command, session).await,
        Command::Restore(command) => backup::restore(command, session).await,
        Command::Tables(command) => tables::run(command, session).await,
        Command::Doctor(command) => doctor::run(command, session).await,
    }
}
