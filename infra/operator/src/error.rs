//! The reasons for which a command fails. Each has one line for people, and an exit code for programs.

use std::io;
use std::path::PathBuf;

use domain::identifiers::{KeyId, TenantId, WebhookId};
use service::deliver::{NotSent, Unusable};
use service::ids::NoEntropy;
use service::sweep::NoTime;
use store::StoreError;
use streams::StreamError;

/// The reason for which a command failed.
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
    #[error("the key {0} was changed in the meantime; check it, and try again")]
    KeyChanged(KeyId),
    #[error("{tenant} has no webhook {webhook}")]
    NoWebhook { tenant: TenantId, webhook: WebhookId },
    #[error("the webhook {0} was changed in the meantime; check it, and try again")]
    WebhookChanged(WebhookId),
    #[error("{0} (--any-address allows any)")]
    Unusable(#[from] Unusable),
    #[error(transparent)]
    NotSent(#[from] NotSent),
    #[error("{0} has no such subscription")]
    NoSubscription(TenantId),
    #[error("{0} is not in the future")]
    Past(&'static str),
    #[error("the table of subscriptions has no stream; run connect doctor for the fix")]
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
    #[error("{0}; to confirm this without a terminal, add --yes")]
    NobodyToAsk(String),
    #[error("not confirmed, so nothing was done")]
    Declined,
    /// The command ran, but was interrupted, failed in part, or found faults.
    #[error("{0}")]
    Incomplete(String),
    /// The arguments are wrong in a way that the parser can't see.
    #[error("{0}")]
    Usage(&'static str),
}

impl CommandError {
    /// Returns the exit code of the process: 2 for wrong usage, otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NobodyToAsk(_) | Self::Unusable(_) => 2,
            _ => 1,
        }
    }

    /// Returns true if the database did not answer, or something else answered in its place.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_)))
    }

    /// Returns true if the reader of standard output stopped early.
    #[must_use]
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Print(cause) if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Returns advice for an error that no retry fixes.
fn hint(error: &StoreError) -> &'static str {
    match error {
        StoreError::Defect(_) => "; connect doctor may find the cause",
        _ => "",
    }
}
