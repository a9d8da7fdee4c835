//! Subscriptions as they are stored: the document, its revision, and its latest cancellation.

use std::fmt;

use chrono::NaiveDate;

use crate::cancellation::Cancellation;
use crate::identifiers::WriteId;
use crate::standing::{Claims, Contradiction, IndexEntry, Standing};
use crate::subscription::{Status, Subscription};

/// One state of a subscription: its version, which counts the writes, and the id of the write that made it. It is shown as the
/// `ETag`, `7-0f3a9c2e71d4`, and no other state has the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counts the writes: +1 with each.
    pub version: u64,
    /// The write that made it. Absent if an earlier version of this service wrote it, or another system did.
    pub write_id: Option<WriteId>,
}

impl Revision {
    /// The one that follows, by this write.
    #[must_use]
    pub fn next(&self, write_id: WriteId) -> Self {
        Self { version: self.version + 1, write_id: Some(write_id) }
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
    /// The document, as callers see it. It has a pending status of CANCELLED only if that will be executed.
    pub document: Subscription,
    /// Which of its states this is.
    pub revision: Revision,
    /// Its latest cancellation: pending, done or withdrawn.
    pub cancellation: Option<Cancellation>,
    contradiction: Option<(Contradiction, Option<NaiveDate>)>,
}

/// Comment, metadata and most of the document may be personal, so it never prints itself whole.
impl fmt::Debug for StoredSubscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("StoredSubscription");
        shown.field("document", &self.document).field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl StoredSubscription {
    /// Puts together what is stored.
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
            // What will not happen is not told.
            document.pending_status.take_if(|pending| pending.status == Status::Cancelled);
        }
        Self { document, revision, cancellation, contradiction }
    }

    /// The cancellation that has not taken effect yet.
    #[must_use]
    pub fn pending_cancellation(&self) -> Option<&Cancellation> {
        let pending = self.document.pending_status.as_ref()?;
        if pending.status == Status::Cancelled { self.cancellation.as_ref() } else { None }
    }

    /// The date of the cancellation that has not taken effect yet.
    #[must_use]
    pub fn pending_date(&self) -> Option<NaiveDate> {
        self.document
            .pending_status
            .as_ref()
            .filter(|pending| pending.ends())
            .map(|pending| pending.scheduled_at)
    }

    /// Whether a cancellation is pending.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (&self.contradiction, self.pending_cancellation()) {
            (Some((contradiction, _)), _) => Standing::Contradictory(*contradiction),
            (None, Some(_)) => Standing::Pending,
            (None, None) => Standing::NotPending,
        }
    }

    /// The date on which the document says that it will be cancelled, though nothing would do that.
    #[must_use]
    pub fn claimed_date(&self) -> Option<NaiveDate> {
        self.contradiction.as_ref().and_then(|(_, date)| *date)
    }
}
