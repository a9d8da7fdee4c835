//! The reasons why a command fails. Each is one line for people, and an exit code for programs.

use std::io;
use std::path::PathBuf;

use domain::identifiers::{KeyId, TenantId};
use service::ids::NoEntropy;
use service::sweep::NoTime;
use store::StoreError;
use streams::StreamError;

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

/// Advice for an error that no retry fixes.
fn hint(error: &StoreError) -> &'static str {
    match error {
        StoreError::Defect(_) => "; connect doctor may know why",
        _ => "",
    }
}
