//! What an operator does from the command line, on this machine or on AWS; the endpoint decides which.
//!
//! What was asked for goes to standard output: a table, or JSON on one line. What is said beside it goes to standard
//! error. A command that fails says why in one line.

mod cancellations;
mod doctor;
mod import;
mod keys;
mod report;
mod session;
mod subscriptions;
mod tables;
mod tenants;
mod when;

use std::io;
use std::path::PathBuf;

use ::subscriptions::api_key::{NoEntropy, Tenant};
use ::subscriptions::identifiers::{KeyId, TenantId};
use ::subscriptions::store::{Store, StoreError};
use clap::Subcommand;

pub use self::cancellations::Cancellations;
pub use self::doctor::Doctor;
pub use self::import::Import;
pub use self::keys::Keys;
pub use self::report::Report;
pub use self::session::Session;
pub use self::subscriptions::Subscriptions;
pub use self::tables::Tables;
pub use self::tenants::Tenants;
pub use self::when::When;

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
    /// Create the tables where no template does
    #[command(subcommand)]
    Tables(Tables),
    /// Check that all is as it should be; say what is wrong and how to mend it
    Doctor(Doctor),
}

impl Command {
    /// Whether it ends well by itself when the session is asked to stop. Any other can be dropped at any moment.
    #[must_use]
    pub fn stops_by_itself(&self) -> bool {
        matches!(self, Self::Subscriptions(Subscriptions::Import(_)))
    }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it all")]
pub enum CommandError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("there is a tenant {0} already")]
    TenantExists(TenantId),
    #[error("there is no tenant {0}")]
    NoTenant(TenantId),
    #[error("{tenant} has no key {key}")]
    NoKey { tenant: TenantId, key: KeyId },
    #[error("the key {key} {why}; create another one")]
    KeyIsOver { key: KeyId, why: &'static str },
    #[error("{0} has no such subscription")]
    NoSubscription(TenantId),
    #[error("{0} does not lie in the future")]
    Past(&'static str),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    #[error("{0}; there is nobody to ask, so say --yes")]
    NobodyToAsk(&'static str),
    #[error("nothing was done")]
    Declined,
    /// It was carried out, and not all went well.
    #[error("{0}")]
    Incomplete(String),
    /// What was asked for can't be, as a wrong option can't.
    #[error("{0}")]
    Usage(&'static str),
}

impl CommandError {
    /// What the process exits with: 2 for wrong usage, or else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NobodyToAsk(_) => 2,
            _ => 1,
        }
    }

    /// Whether it only says that whoever read the output has stopped.
    #[must_use]
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Print(cause) if cause.kind() == io::ErrorKind::BrokenPipe)
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
        Command::Tables(command) => tables::run(command, session).await,
        Command::Doctor(command) => doctor::run(command, session).await,
    }
}

async fn find_tenant(store: &Store, id: TenantId) -> Result<Tenant, CommandError> {
    store.tenant(&id).await?.ok_or(CommandError::NoTenant(id))
}
