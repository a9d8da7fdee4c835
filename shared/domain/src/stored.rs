//! Subscriptions as they are stored: the document, its revision, and its latest cancellation.

use std::fmt;

use chrono::NaiveDate;

use crate::cancellation::{Cancellation, CancellationState};
use crate::identifiers::WriteId;
use crate::origin::Origin;
use crate::standing::{Claims, Contradiction, IndexEntry, Standing};
use crate::subscription::{Status, Subscription};

/// One state of a subscription: its version, which counts the writes, and the id of the write that made it. Callers see it as the
/// `ETag`, such as `7-0f3a9c2e71d4`. No two states have the same revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The version: one more with each write.
    pub version: u64,
    /// The id of the write that made the state. Absent if an earlier version of this service wrote it, or another system did.
    pub write_id: Option<WriteId>,
}

impl Revision {
    /// The next revision, made by this write.
    #[must_use]
    pub fn next(&self, write_id: WriteId) -> Self {
        Self { version: self.version + 1, write_id: Some(write_id) }
    }

    /// True if this revision may have been made by a change of `before`.
    #[must_use]
    pub fn follows(&self, before: &Self) -> bool {
        before.version.checked_add(1) == Some(self.version)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.write_id {
            Some(write_id) => write!(formatter, "{}-{write_id}", self.version),
            None => self.version.fmt(formatter),
        }
    }
}

/// A subscription as it is stored.
#[derive(Clone, PartialEq)]
pub struct StoredSubscription {
    /// The document, as callers see it. It has a pending status of CANCELLED only if the cancellation will be executed.
    pub document: Subscription,
    /// The revision of the subscription.
    pub revision: Revision,
    /// The latest cancellation: pending, executed or withdrawn.
    pub cancellation: Option<Cancellation>,
    /// The origin of the last write by this service. Another system may have written since, and leaves this as it is. Absent if an
    /// earlier version of this service wrote last.
    pub origin: Option<Origin>,
    contradiction: Option<(Contradiction, Option<NaiveDate>)>,
}

/// Omits everything that may be personal: comment, metadata and most of the document.
impl fmt::Debug for StoredSubscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("StoredSubscription");
        shown.field("document", &self.document).field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl StoredSubscription {
    /// A subscription from its stored parts. A cancellation that will not be executed is removed from the document.
    #[must_use]
    pub fn new(
        mut document: Subscription,
        revision: Revision,
        cancellation: Option<Cancellation>,
        entry: Option<IndexEntry>,
    ) -> Self {
        let kept = cancellation.as_ref().map(|kept| (kept.entry(), kept.scheduled_at));
        let claims =
            Claims { status: document.status, pending_status: document.pending_status.clone(), kept, entry };
        let contradiction = match claims.standing() {
            Standing::Contradictory(contradiction) => Some((contradiction, claims.date())),
            Standing::NotPending | Standing::Pending => None,
        };
        if claims.standing() != Standing::Pending {
            // Callers don't see a cancellation that will not be executed.
            document.pending_status.take_if(|pending| pending.status == Status::Cancelled);
        }
        Self { document, revision, cancellation, origin: None, contradiction }
    }

    /// The same subscription, made by a write of this origin.
    #[must_use]
    pub fn made_by(self, origin: Option<Origin>) -> Self {
        Self { origin, ..self }
    }

    /// The pending cancellation, if there is one.
    #[must_use]
    pub fn pending_cancellation(&self) -> Option<&Cancellation> {
        let pending = self.document.pending_status.as_ref()?;
        if pending.status == Status::Cancelled { self.cancellation.as_ref() } else { None }
    }

    /// The date of the pending cancellation, if there is one.
    #[must_use]
    pub fn pending_date(&self) -> Option<NaiveDate> {
        self.document
            .pending_status
            .as_ref()
            .filter(|pending| pending.ends())
            .map(|pending| pending.scheduled_at)
    }

    /// The state of the cancellation: pending, not pending or contradictory.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (&self.contradiction, self.pending_cancellation()) {
            (Some((contradiction, _)), _) => Standing::Contradictory(*contradiction),
            (None, Some(_)) => Standing::Pending,
            (None, None) => Standing::NotPending,
        }
    }

    /// The state of the latest cancellation. `None` if there is none, or if its state is unclear: the parts of the subscription
    /// contradict each other, or nothing says how the cancellation ended.
    #[must_use]
    pub fn cancellation_state(&self) -> Option<CancellationState> {
        let kept = self.cancellation.as_ref()?;
        match self.standing() {
            Standing::Pending => Some(CancellationState::Pending),
            Standing::NotPending if kept.executed_at.is_some() => Some(CancellationState::Executed),
            Standing::NotPending if kept.withdrawn_at.is_some() => Some(CancellationState::Withdrawn),
            // An earlier version of this service does not note the time of an execution.
            Standing::NotPending if self.document.status == Status::Cancelled => {
                Some(CancellationState::Executed)
            }
            Standing::NotPending | Standing::Contradictory(_) => None,
        }
    }

    /// The date on which the subscription will be cancelled, as a contradictory document says. Nothing will do that.
    #[must_use]
    pub fn claimed_date(&self) -> Option<NaiveDate> {
        self.contradiction.as_ref().and_then(|(_, date)| *date)
    }
}
