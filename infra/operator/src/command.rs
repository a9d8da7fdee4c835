//! All commands, and the one place that carries them out.

use clap::Subcommand;

use crate::cancellations::{self, Cancellations};
use crate::doctor::{self, Doctor};
use crate::events::{self, Events};
use crate::keys::{self, Keys};
use crate::subscriptions::{self, Subscriptions};
use crate::tables::{self, Tables};
use crate::tenants::{self, Tenants};
use crate::{CommandError, Session};

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Manage tenants, the operators that use the API
    #[command(subcommand)]
    Tenants(Tenants),
    /// Manage the API keys of a tenant
    #[command(subcommand)]
    Keys(Keys),
    /// Import, export and show subscriptions
    #[command(subcommand)]
    Subscriptions(Subscriptions),
    /// See what will be cancelled and what has been, and execute what is due
    #[command(subcommand)]
    Cancellations(Cancellations),
    /// See what is published about subscriptions
    #[command(subcommand)]
    Events(Events),
    /// Create the tables where no template does
    #[command(subcommand)]
    Tables(Tables),
    /// Check that all is as it should be; say what is wrong and how to mend it
    ///
    /// It looks at the database and the rights to it, at this machine's clock, at the tables with their index, stream and
    /// expiry, at the schedule that sweeps, and at whether what is due is executed. It changes nothing.
    Doctor(Doctor),
}

impl Command {
    /// Whether it ends well by itself when the session is asked to stop: an import says how far it came, and a new key is
    /// shown. Any other can be dropped at any moment: what it changes is changed by one write, or by many that need nothing
    /// of each other.
    #[must_use]
    pub fn ends_by_itself(&self) -> bool {
        match self {
            Self::Keys(command) => matches!(command, Keys::Create { .. } | Keys::Rotate { .. }),
            Self::Subscriptions(command) => matches!(command, Subscriptions::Import(_)),
            _ => false,
        }
    }

    /// Whether it has no end of its own, so that it ends well whenever it is stopped.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        matches!(self, Self::Events(Events::Tail { .. }))
    }

    /// Whether it changes nothing, so that it may end where its reader stops.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Tenants(command) => matches!(command, Tenants::List | Tenants::Show { .. }),
            Self::Keys(command) => matches!(command, Keys::List { .. }),
            Self::Subscriptions(command) => !matches!(command, Subscriptions::Import(_)),
            Self::Cancellations(command) => command.only_reads(),
            Self::Tables(_) => false,
            Self::Events(_) | Self::Doctor(_) => true,
        }
    }
}

/// Carries out a command.
///
/// # Errors
/// It could not be carried out, or not all of it.
pub async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Command::Tenants(command) => tenants::run(command, session).await,
        Command::Keys(command) => keys::run(command, session).await,
        Command::Subscriptions(command) => subscriptions::run(command, session).await,
        Command::Cancellations(command) => cancellations::run(command, session).await,
        Command::Events(command) => events::run(command, session).await,
        Command::Tables(command) => tables::run(command, session).await,
        Command::Doctor(command) => doctor::run(command, session).await,
    }
}
