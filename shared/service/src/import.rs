//! Importing subscriptions: the stored ones are read, each document is decided on, and the changes are written together.
//!
//! A batch that can't be written together is imported one by one, so that one subscription does not block the others.

use chrono::{DateTime, Utc};
use domain::identifiers::TenantId;
use domain::import::{ImportDecision, ImportEffect, NewSubscription, Rules, decide_import};
use domain::origin::Author;
pub use store::import::TOGETHER;
use store::import::{ImportsWritten, PreparedImport};
use store::{Admin, Patience, StoreError, repeat};

/// The outcome of one import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// The subscription did not exist, and was added.
    Added,
    /// The subscription existed, and was replaced.
    Replaced,
    /// The subscription was replaced, and its cancellation with it: a pending or executed one was undone or changed, or a withdrawn
    /// one came back.
    Undone,
    /// The subscription existed, and is the same.
    Unchanged,
    /// The subscription existed, and was left as it is.
    Kept,
    /// The reference id belongs to another subscription; nothing was written.
    ReferenceTaken,
    /// The subscription would be cancelled at once, as the date of its cancellation has begun; nothing was written.
    Overdue,
    /// The database can't hold the subscription (more than 400 KB, say, or a number of 1e126); nothing was written.
    Refused,
    /// The item stored under the id or the former reference id is malformed, or is being changed all the time; nothing was written.
    Unreadable,
}

impl Imported {
    /// Returns the reason why the subscription was not imported, if a fault prevented it.
    #[must_use]
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::Added | Self::Replaced | Self::Undone | Self::Unchanged | Self::Kept => None,
            Self::ReferenceTaken => Some("referenceId: belongs to another subscription"),
            Self::Overdue => {
                Some("pendingStatus: the date has begun, so the subscription would be cancelled at once")
            }
            Self::Refused => Some(
                "the database refuses it: over 400 KB, over 32 levels, a number beyond 1e126, or an empty name",
            ),
            Self::Unreadable => Some(
                "the item stored under the id or reference id is malformed, or is being changed all the time",
            ),
        }
    }
}

/// Imports up to [`TOGETHER`] subscriptions of `tenant`, all or none. Returns the outcome of each, in their order.
///
/// Returns `None` if they can't be written together: one of them can't be written, their order matters, or others change them at
/// the same time. Then each is to be imported separately.
///
/// Importing the same subscriptions again changes nothing. The later of `now` and the database's clock decides which dates have
/// begun.
///
/// # Errors
/// The database can't be reached, or refuses. The subscriptions may have been written or not.
pub async fn import_together(
    store: &Admin,
    tenant: &TenantId,
    batch: &[NewSubscription],
    rules: Rules,
    author: &Author,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Imported>>, StoreError> {
    let (outcomes, writes) = decide(store, tenant, batch, rules, author, now).await?;
    // An earlier subscription of the batch may give up the reference id that a later one wants.
    if batch.len() > 1 && outcomes.contains(&Imported::ReferenceTaken) {
        return Ok(None);
    }
    let written = store.write_imports(writes).await?;
    Ok((written == ImportsWritten::All).then_some(outcomes))
}

/// Imports a subscription of `tenant`. Importing it again changes nothing.
///
/// # Errors
/// The database can't be reached, or refuses. The subscription may have been written or not. [`StoreError::Conflict`] if others are
/// writing it all the time.
pub async fn import(
    store: &Admin,
    tenant: &TenantId,
    new: &NewSubscription,
    rules: Rules,
    author: &Author,
    now: DateTime<Utc>,
) -> Result<Imported, StoreError> {
    let attempt = |_| async {
        let (outcomes, writes) = decide(store, tenant, std::slice::from_ref(new), rules, author, now).await?;
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
        // Every attempt found a change since its read: the former reference id names another subscription.
        ImportsWritten::Changed => Ok(Imported::Unreadable),
        ImportsWritten::Conflict => Err(StoreError::Conflict),
    }
}

/// Reads the stored subscriptions and decides on each document. Returns the outcomes, and the writes that they need.
async fn decide(
    store: &Admin,
    tenant: &TenantId,
    batch: &[NewSubscription],
    rules: Rules,
    author: &Author,
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
        outcomes.push(match decide_import(new, present.as_ref(), reference_is_of, rules, author, now) {
            // Preparing makes no request to the database. So an error means a fault of this subscription alone.
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
