//! Importing subscriptions: the stored ones are read, each document is decided on, and the changes are written together.
//!
//! A batch that can't be written together is imported one by one, so that one subscription does not hold up the others.

use chrono::{DateTime, Utc};
use domain::identifiers::TenantId;
use domain::import::{ImportDecision, ImportEffect, NewSubscription, Rules, decide_import};
pub use store::import::TOGETHER;
use store::import::{ImportsWritten, PreparedImport};
use store::{Admin, Patience, StoreError, repeat};

/// The outcome of one import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It was not there, and was written.
    Added,
    /// It was there, and was written over.
    Replaced,
    /// The same, and with it a cancellation was undone or changed that was pending or had taken effect, or one came back that was
    /// withdrawn.
    Undone,
    /// It was there, and is the same.
    Unchanged,
    /// It was there, and was left as it is.
    Kept,
    /// Its reference id belongs to another subscription; nothing was written.
    ReferenceTaken,
    /// It would be cancelled at once, as the date of its cancellation has begun; nothing was written.
    Overdue,
    /// The database can't hold it (more than 400 KB, say, or a number of 1e126); nothing was written.
    Refused,
    /// What is stored under its id or its former reference id is not what this service writes, or is written by others all the
    /// time; it was left as it is.
    Unreadable,
}

impl Imported {
    /// Why it was not imported, if it was not.
    #[must_use]
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::Added | Self::Replaced | Self::Undone | Self::Unchanged | Self::Kept => None,
            Self::ReferenceTaken => Some("referenceId: belongs to another subscription"),
            Self::Overdue => Some("pendingStatus: its date has begun, so it would be cancelled at once"),
            Self::Refused => {
                Some("the database refuses it: over 400 KB, 32 levels, a number beyond 1e126, an empty name")
            }
            Self::Unreadable => Some(
                "what is stored under its id or reference id is not what this service writes, or changes all the time",
            ),
        }
    }
}

/// Imports up to [`TOGETHER`] subscriptions of `tenant`, all or none; what came of each, in their order. `None` if they can't be
/// written together: one of them can't be written, or their order matters. Then each is to be imported for itself.
///
/// The same again changes nothing. Whether a date has begun is judged by the later of `now` and the database's clock.
///
/// # Errors
/// The database can't be reached, or refuses. They may have been written then, or not.
pub async fn import_together(
    store: &Admin,
    tenant: &TenantId,
    batch: &[NewSubscription],
    rules: Rules,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Imported>>, StoreError> {
    let (outcomes, writes) = decide(store, tenant, batch, rules, now).await?;
    // One before it may give up the reference id that it wants.
    if batch.len() > 1 && outcomes.contains(&Imported::ReferenceTaken) {
        return Ok(None);
    }
    let written = store.write_imports(writes).await?;
    Ok((written == ImportsWritten::All).then_some(outcomes))
}

/// Imports a subscription of `tenant`. The same again changes nothing.
///
/// # Errors
/// The database can't be reached, or refuses. It may have been written then, or not. [`StoreError::Conflict`] if others
/// are writing it all the time.
pub async fn import(
    store: &Admin,
    tenant: &TenantId,
    new: &NewSubscription,
    rules: Rules,
    now: DateTime<Utc>,
) -> Result<Imported, StoreError> {
    let attempt = |_| async {
        let (outcomes, writes) = decide(store, tenant, std::slice::from_ref(new), rules, now).await?;
        let imported = outcomes.into_iter().next().unwrap_or(Imported::Unreadable);
        Ok::<_, StoreError>((store.write_imports(writes).await?, imported))
    };
    let to_do = (ImportsWritten::Changed, Imported::Unreadable);
    let meets_none =
        |(written, _): &_| !matches!(written, ImportsWritten::Changed | ImportsWritten::Conflict);
    let (written, imported) = repeat(Patience::OfRequest, to_do, attempt, meets_none).await?;
    match written {
        ImportsWritten::All => Ok(imported),
        ImportsWritten::Invalid => Ok(Imported::Refused),
        // It does not stay as it was read: its former reference id names another one.
        ImportsWritten::Changed => Ok(Imported::Unreadable),
        ImportsWritten::Conflict => Err(StoreError::Conflict),
    }
}

/// Reads what is there and decides; what comes of each, and what is to be written for that.
async fn decide(
    store: &Admin,
    tenant: &TenantId,
    batch: &[NewSubscription],
    rules: Rules,
    now: DateTime<Utc>,
) -> Result<(Vec<Imported>, Vec<PreparedImport>), StoreError> {
    let mut presents = store.presents(tenant, batch).await?;
    let now = presents.time.map_or(now, |there| there.max(now));
    let mut outcomes = Vec::new();
    let mut writes = Vec::new();
    for new in batch {
        let present = presents.subscription(new.id());
        let Ok(reference_is_of) = new.reference_id().map_or(Ok(None), |reference| presents.named(reference))
        else {
            outcomes.push(Imported::Unreadable);
            continue;
        };
        outcomes.push(match decide_import(new, present.as_ref(), reference_is_of, rules, now) {
            // Nothing was asked of the database for it, so it is the subscription that is at fault, and none but it.
            ImportDecision::Write(write) => match store.prepare_import(tenant, new.id(), &write) {
                Err(_) => Imported::Refused,
                Ok(prepared) => {
                    writes.push(prepared);
                    match write.effect {
                        ImportEffect::Added => Imported::Added,
                        ImportEffect::Replaced => Imported::Replaced,
                        ImportEffect::Undone => Imported::Undone,
                    }
                }
            },
            ImportDecision::Unreadable => Imported::Unreadable,
            ImportDecision::Unchanged => Imported::Unchanged,
            ImportDecision::Keep => Imported::Kept,
            ImportDecision::ReferenceTaken => Imported::ReferenceTaken,
            ImportDecision::Overdue => Imported::Overdue,
        });
    }
    Ok((outcomes, writes))
}
