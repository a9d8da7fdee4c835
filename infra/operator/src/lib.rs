//! The operator's commands, on any DynamoDB: on this machine or on AWS, as the endpoint says.
//!
//! The result of a command goes to standard output: a table, or JSON on one line. Everything else goes to standard error. A command
//! that fails gives the reason in one line.
//!
//! *Invariant:* nothing here knows the service on one machine (`local`). That one knows this crate, for what both need and no
//! function does: files of subscriptions ([`ndjson`]), files for their owner alone ([`private`]) and a sweep on demand ([`sweep`]).
//! - [`terminal`]: text with nothing in it that a terminal acts on.

#![warn(missing_docs)]

pub mod ndjson;
pub mod private;
pub mod sweep;
pub mod terminal;

mod cancellations;
mod clock;
mod doctor;
mod events;
mod import;
mod keys;
mod mend;
mod report;
mod session;
mod subscriptions;
mod tables;
mod tenants;
mod when;

use std::io;
use std::path::PathBuf;

use clap::Subcommand;
use domain::identifiers::{KeyId, TenantId};
use domain::tenant::Tenant;
use service::ids::NoEntropy;
use store::{Store, StoreError};
use streams::StreamError;

pub use self::cancellations::Cancellations;
pub use self::doctor::Doctor;
pub use self::events::Events;
pub use self::import::Import;
pub use self::keys::{Expiry, Keys};
pub use self::report::Report;
pub use self::session::{SCHEDULE_VARIABLE, Session};
pub use self::subscriptions::Subscriptions;
use self::sweep::NoTime;
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

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it all")]
pub enum CommandError {
    #[error("{0}{hint}", hint = hint(.0))]
    Store(#[from] StoreError),
    #[error("there is a tenant {0} already")]
    TenantExists(TenantId),
    #[error("there is no tenant {0}")]
    NoTenant(TenantId),
    #[error("{tenant} has no key {key}")]
    NoKey { tenant: TenantId, key: KeyId },
    #[error("the key {key} {why}; create another one")]
    KeyIsOver { key: KeyId, why: &'static str },
    #[error("the key {0} was changed meanwhile; look at it, and try again")]
    KeyChanged(KeyId),
    #[error("{0} has no such subscription")]
    NoSubscription(TenantId),
    #[error("{0} does not lie in the future")]
    Past(&'static str),
    #[error("the table of subscriptions has no stream; connect doctor says more")]
    NoStream,
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    NoTime(#[from] NoTime),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write rejects to {}: {source}; name another file with --rejects", path.display())]
    Rejects { path: PathBuf, source: io::Error },
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    #[error("{0}; there is nobody to ask, so say --yes")]
    NobodyToAsk(String),
    #[error("nothing was done")]
    Declined,
    /// It was carried out, and not all went well.
    #[error("{0}")]
    Incomplete(String),
    /// What was asked for can't be, as a wrong option can't.
    #[error("{0}")]
    Usage(&'static str),
}

/// What to do about what no retry mends.
fn hint(error: &StoreError) -> &'static str {
    match error {
        StoreError::Defect(_) => "; connect doctor may know why",
        _ => "",
    }
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

    /// True if the database did not answer, or something else answered in its place.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_)))
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
        Command::Events(command) => events::run(command, session).await,
        Command::Tables(command) => tables::run(command, session).await,
        Command::Doctor(command) => doctor::run(command, session).await,
    }
}

fn parse_tenant(text: &str) -> Result<TenantId, &'static str> {
    text.parse().map_err(|_| "a tenant is named by 1 to 32 lower-case letters, digits and hyphens")
}

/// A name for people.
fn parse_name(text: &str) -> Result<String, &'static str> {
    if !(1..=64).contains(&text.chars().count()) {
        return Err("a name has 1 to 64 characters");
    }
    if text.contains(terminal::acts) {
        return Err("a name has no control characters, and none that change the direction of text");
    }
    Ok(text.to_owned())
}

async fn find_tenant(store: &Store, id: TenantId) -> Result<Tenant, CommandError> {
    store.tenant(&id).await?.ok_or(CommandError::NoTenant(id))
}
