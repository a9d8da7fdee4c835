//! Changes: the attributes of a stored subscription that a write sets or removes.
//!
//! A decision ends in a [`Change`], and the store turns that into the write. No rule is stated a second time in the words of the
//! database.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};

use crate::cancellation::Cancellation;
use crate::document::{StoredDocument, StoredValue};
use crate::identifiers::{CancellationId, WriteId};
use crate::standing::{Claims, IndexEntry};
use crate::stored::StoredSubscription;
use crate::subscription::{PendingMsisdn, PendingProductOffering, PendingStatus, Status, Subscription};

/// The edit of one attribute by a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes this.
    Set(T),
    /// It goes.
    Remove,
}

/// A write of a subscription: every attribute that it sets or removes, and its condition.
#[derive(Clone, PartialEq)]
pub struct Change {
    /// The state that it was decided from, which must still hold. From it the next version follows.
    pub decided_from: DecidedFrom,
    /// The id of the write.
    pub write_id: WriteId,
    /// The document.
    pub document: DocumentChange,
    /// The latest cancellation, with all that is known of it.
    pub cancellation: Edit<Cancellation>,
    /// The id of the cancellation that the index names. It stays after the execution, so that a repeated one is recognised.
    pub cancellation_id: Edit<CancellationId>,
    /// The place in the index of due dates.
    pub due_at: Edit<DateTime<Utc>>,
}

/// The part of a write that concerns the document.
#[derive(Clone, PartialEq)]
pub enum DocumentChange {
    /// It edits members, and leaves all others alone: a document may have more than this service knows.
    Members(Box<Members>),
    /// It puts this document in the place of the stored one.
    Whole(StoredDocument),
}

/// The members of a document that a write may edit.
#[derive(Clone, Default, PartialEq)]
pub struct Members {
    /// The status.
    pub status: Edit<Status>,
    /// When anything in the document last changed.
    pub updated_at: Edit<DateTime<Utc>>,
    /// When the subscription was cancelled.
    pub cancelled_at: Edit<DateTime<Utc>>,
    /// The change of status that is scheduled.
    pub pending_status: Edit<PendingStatus>,
    /// The change of number that is scheduled.
    pub pending_msisdn: Edit<PendingMsisdn>,
    /// The change of product that is scheduled.
    pub pending_product_offering: Edit<PendingProductOffering>,
}

/// The state that a change was decided from: the condition of its write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecidedFrom {
    /// No subscription has the id.
    Nothing,
    /// The subscription in this version.
    Version(u64),
    /// An item that can't be read, with this as its version; `None` if it has none.
    Unreadable(Option<StoredValue>),
    /// The subscription in this version, and its entry in the index.
    DueVersion(u64, ExpectedEntry),
    /// The index of due dates alone: nothing was read of the subscription.
    Due(ExpectedClaims),
}

impl DecidedFrom {
    /// The version that the write makes; `None` if it is one more than whatever is stored.
    #[must_use]
    pub fn next_version(&self) -> Option<u64> {
        match self {
            Self::Nothing => Some(1),
            Self::Version(version) | Self::DueVersion(version, _) => Some(version.saturating_add(1)),
            Self::Unreadable(Some(StoredValue::Number(version))) => {
                Some(version.parse::<u64>().unwrap_or(0).saturating_add(1))
            }
            Self::Unreadable(_) => Some(1),
            Self::Due(_) => None,
        }
    }
}

/// An entry of the index of due dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedEntry {
    /// The cancellation that it names.
    pub cancellation_id: CancellationId,
    /// The instant at which that is due.
    pub due_at: DateTime<Utc>,
}

/// The claims of a subscription that an execution takes for granted when it knows the index alone: exactly those by which the
/// cancellation of the entry is pending for the date ([`Claims::standing`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedClaims {
    /// The entry in the index.
    pub entry: ExpectedEntry,
    /// The statuses that the document may have.
    pub statuses: Vec<Status>,
    /// The change of status that the document says is to come, with its date.
    pub pending_status: PendingStatus,
    /// The date that is kept with the cancellation. One that an earlier version of this service wrote keeps none.
    pub date: NaiveDate,
    /// The document was last updated in an earlier second than this instant's.
    pub updated_before: DateTime<Utc>,
}

impl ExpectedClaims {
    /// Whether a subscription makes these claims.
    #[must_use]
    pub fn hold_for(&self, claims: &Claims) -> bool {
        let Self { entry, statuses, pending_status, date, updated_before: _ } = self;
        let entry = IndexEntry::Due(entry.cancellation_id, entry.due_at);
        let is_kept = |(kept, kept_date): (IndexEntry, Option<NaiveDate>)| {
            kept == entry && kept_date.is_none_or(|kept_date| kept_date == *date)
        };
        claims.entry == Some(entry)
            && claims.kept.is_some_and(is_kept)
            && statuses.contains(&claims.status)
            && claims.pending_status.as_ref() == Some(pending_status)
    }
}

/// A change of a subscription that was read, and the subscription after it.
#[derive(Clone, PartialEq)]
pub struct Changed {
    /// The change.
    pub change: Change,
    /// The subscription after it.
    pub after: StoredSubscription,
}

/// The part of a change that concerns the cancellation.
pub(crate) enum CancellationChange {
    /// It is pending, for this date.
    Schedule(Cancellation, NaiveDate),
    /// None is pending; the latest is kept like this.
    Unschedule(Option<Cancellation>),
}

impl StoredSubscription {
    /// Changes the cancellation, by a write of this id.
    pub(crate) fn change(self, change: CancellationChange, write_id: WriteId, now: DateTime<Utc>) -> Changed {
        let updated_at = Edit::Set(updated_at(self.document.updated_at, now));
        let (pending_status, cancellation, cancellation_id, due_at) = match change {
            CancellationChange::Schedule(cancellation, date) => (
                Edit::Set(PendingStatus { status: Status::Cancelled, scheduled_at: date }),
                Edit::Set(cancellation.clone()),
                Edit::Set(cancellation.cancellation_id),
                Edit::Set(cancellation.effective_at),
            ),
            CancellationChange::Unschedule(cancellation) => {
                // Another change of status may be scheduled, which stays.
                let is_other = self.document.pending_status.as_ref().is_some_and(|pending| !pending.ends());
                let pending_status = if is_other { Edit::Keep } else { Edit::Remove };
                (pending_status, cancellation.map_or(Edit::Keep, Edit::Set), Edit::Remove, Edit::Remove)
            }
        };
        let members = Members { updated_at, pending_status, ..Members::default() };
        let change = Change {
            decided_from: DecidedFrom::Version(self.revision.version),
            write_id,
            document: DocumentChange::Members(Box::new(members.clone())),
            cancellation,
            cancellation_id,
            due_at,
        };
        let mut document = self.document;
        members.apply(&mut document);
        let mut kept = self.cancellation;
        change.cancellation.clone().apply(&mut kept);
        let entry = match (&change.due_at, &kept) {
            (Edit::Set(_), Some(kept)) => Some(kept.entry()),
            _ => None,
        };
        let revision = self.revision.next(change.write_id.clone());
        let after = Self::new(document, revision, kept, entry);
        Changed { change, after }
    }
}

impl<T> Edit<T> {
    fn apply(self, to: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Set(value) => *to = Some(value),
            Self::Remove => *to = None,
        }
    }
}

impl Members {
    fn apply(self, document: &mut Subscription) {
        let Self {
            status,
            updated_at,
            cancelled_at,
            pending_status,
            pending_msisdn,
            pending_product_offering,
        } = self;
        if let Edit::Set(status) = status {
            document.status = status;
        }
        updated_at.apply(&mut document.updated_at);
        cancelled_at.apply(&mut document.cancelled_at);
        pending_status.apply(&mut document.pending_status);
        pending_msisdn.apply(&mut document.pending_msisdn);
        pending_product_offering.apply(&mut document.pending_product_offering);
    }
}

/// When a subscription is updated that is changed at `now`: later than before, whoever wrote that and by whatever clock. So
/// changes can be told apart, and put in order.
#[must_use]
pub fn updated_at(before: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    let next = before.and_then(|before| before.checked_add_signed(TimeDelta::milliseconds(1)));
    // RFC 3339 has no later year. An import takes in nothing that is so late.
    next.filter(|next| next.year() <= 9999).map_or(now, |next| next.max(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    #[test]
    fn each_change_sets_updated_at_later_than_the_one_before() {
        let first = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(cancel(Some(stored(Status::Activated)), &first, &asking()));
        let other = request(Schedule::NextDay, Reason::Fraud);
        // In the same millisecond, and from before.
        let replaced = changed(cancel(Some(pending), &other, &asking()));
        let earlier = Asking { now: "2026-01-31T22:29:30Z".parse().unwrap(), ..asking() };
        let withdrawn = changed(decide_withdrawal(Some(replaced.clone()), &earlier));
        let at = |stored: &StoredSubscription| stored.document.updated_at.unwrap().to_rfc3339();
        assert_eq!(at(&replaced), "2026-01-31T22:30:00.001+00:00");
        assert_eq!(at(&withdrawn), "2026-01-31T22:30:00.002+00:00");
        assert_eq!(withdrawn.cancellation.as_ref().unwrap().withdrawn_at, Some(earlier.now));

        // Also than what comes from far ahead, which an import may have made up.
        let long_before = Asking { now: "2025-06-01T00:00:00Z".parse().unwrap(), ..asking() };
        let again = changed(cancel(Some(withdrawn), &first, &long_before));
        assert_eq!(at(&again), "2026-01-31T22:30:00.003+00:00");
        // There is nothing later than this.
        let last = "9999-12-31T23:59:59.999Z".parse().unwrap();
        assert_eq!(updated_at(Some(last), long_before.now), long_before.now);
    }
}
