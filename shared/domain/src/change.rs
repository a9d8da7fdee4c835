//! Changes: the attributes of a stored subscription that a write sets or removes.
//!
//! A decision ends in a [`Change`], and the store turns that into the write. So no rule is stated a second time in the language of
//! the database.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};

use crate::cancellation::Cancellation;
use crate::document::{StoredDocument, StoredValue};
use crate::identifiers::{CancellationId, WriteId};
use crate::origin::Origin;
use crate::search::SearchTerms;
use crate::standing::{Claims, IndexEntry};
use crate::stored::StoredSubscription;
use crate::subscription::{PendingMsisdn, PendingProductOffering, PendingStatus, Status, Subscription};

/// The edit of one attribute by a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// The attribute stays as it is.
    #[default]
    Keep,
    /// The attribute gets this value.
    Set(T),
    /// The attribute is removed.
    Remove,
}

/// A write of a subscription: every attribute that it sets or removes, and its condition.
#[derive(Clone, PartialEq)]
pub struct Change {
    /// The state that the change was decided from, which must still hold. The next version follows from it.
    pub decided_from: DecidedFrom,
    /// The id of the write.
    pub write_id: WriteId,
    /// The origin of the change.
    pub origin: Origin,
    /// The change of the document.
    pub document: DocumentChange,
    /// The change of the latest cancellation.
    pub cancellation: CancellationEdit,
    /// The id of the cancellation that the due index names. It stays after the execution, so that a repeated execution is
    /// recognised.
    pub cancellation_id: Edit<CancellationId>,
    /// The instant under which the due index holds the cancellation.
    pub due_at: Edit<DateTime<Utc>>,
    /// The texts under which the search indexes hold the subscription from now on; `None` if they stay.
    pub search_terms: Option<SearchTerms>,
}

/// The edit of the latest cancellation by a write.
#[derive(Clone, Default, PartialEq)]
pub enum CancellationEdit {
    /// The cancellation stays as it is.
    #[default]
    Keep,
    /// This is the latest cancellation, with all its details.
    Set(Box<Cancellation>),
    /// The cancellation was executed at this time. Its other details stay.
    Executed(DateTime<Utc>),
    /// The cancellation is removed.
    Remove,
}

/// The part of a write that concerns the document.
#[derive(Clone, PartialEq)]
pub enum DocumentChange {
    /// These members are edited, and all others stay: a document may have members that this service does not know.
    Members(Box<Members>),
    /// This document replaces the stored one.
    Whole(StoredDocument),
}

/// The members of a document that a write may edit.
#[derive(Clone, Default, PartialEq)]
pub struct Members {
    /// The status.
    pub status: Edit<Status>,
    /// The time of the last change of the document.
    pub updated_at: Edit<DateTime<Utc>>,
    /// The time at which the subscription was cancelled.
    pub cancelled_at: Edit<DateTime<Utc>>,
    /// The scheduled change of status.
    pub pending_status: Edit<PendingStatus>,
    /// The scheduled change of number.
    pub pending_msisdn: Edit<PendingMsisdn>,
    /// The scheduled change of product.
    pub pending_product_offering: Edit<PendingProductOffering>,
}

/// The state that a change was decided from: the condition of its write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecidedFrom {
    /// No subscription has the id.
    Nothing,
    /// The subscription in this version.
    Version(u64),
    /// An item that can't be read, with this version; `None` if the item has no version.
    Unreadable(Option<StoredValue>),
    /// The subscription in this version, and its entry in the due index.
    DueVersion(u64, ExpectedEntry),
    /// The due index alone: the subscription was not read.
    Due(ExpectedClaims),
}

impl DecidedFrom {
    /// The version that the write makes; `None` if it is one more than the stored version, which was not read.
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

/// The entry that a change expects in the due index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedEntry {
    /// The cancellation that the entry names.
    pub cancellation_id: CancellationId,
    /// The instant at which the cancellation is due.
    pub due_at: DateTime<Utc>,
}

/// The claims that an execution assumes of a subscription if it has read the due index alone. They are exactly those by which the
/// cancellation of the entry is pending for the date ([`Claims::standing`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedClaims {
    /// The entry in the due index.
    pub entry: ExpectedEntry,
    /// The statuses that the document may have.
    pub statuses: Vec<Status>,
    /// The scheduled change of status in the document, with its date.
    pub pending_status: PendingStatus,
    /// The date that is stored with the cancellation. A cancellation that an earlier version of this service wrote has none.
    pub date: NaiveDate,
    /// Upper bound for the last update of the document: it must be in an earlier second than this instant.
    pub updated_before: DateTime<Utc>,
}

impl ExpectedClaims {
    /// Returns true if a subscription makes these claims.
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
    /// The subscription after the change.
    pub after: StoredSubscription,
}

/// The part of a change that concerns the cancellation.
pub(crate) enum CancellationChange {
    /// This cancellation is pending, for this date.
    Schedule(Cancellation, NaiveDate),
    /// No cancellation is pending. The latest one is stored like this; `None` leaves it as it is.
    Unschedule(Option<Cancellation>),
}

impl StoredSubscription {
    /// Changes the cancellation, by a write with this id and origin.
    pub(crate) fn change(
        self,
        change: CancellationChange,
        write_id: WriteId,
        origin: Origin,
        now: DateTime<Utc>,
    ) -> Changed {
        let updated_at = Edit::Set(updated_at(self.document.updated_at, now));
        let (pending_status, cancellation, cancellation_id, due_at) = match change {
            CancellationChange::Schedule(cancellation, date) => (
                Edit::Set(PendingStatus { status: Status::Cancelled, scheduled_at: date }),
                CancellationEdit::Set(Box::new(cancellation.clone())),
                Edit::Set(cancellation.cancellation_id),
                Edit::Set(cancellation.effective_at),
            ),
            CancellationChange::Unschedule(cancellation) => {
                // A scheduled change to another status stays.
                let is_other = self.document.pending_status.as_ref().is_some_and(|pending| !pending.ends());
                let pending_status = if is_other { Edit::Keep } else { Edit::Remove };
                let cancellation =
                    cancellation.map(Box::new).map_or(CancellationEdit::Keep, CancellationEdit::Set);
                (pending_status, cancellation, Edit::Remove, Edit::Remove)
            }
        };
        let members = Members { updated_at, pending_status, ..Members::default() };
        let change = Change {
            decided_from: DecidedFrom::Version(self.revision.version),
            write_id,
            origin,
            document: DocumentChange::Members(Box::new(members.clone())),
            cancellation,
            cancellation_id,
            due_at,
            search_terms: None,
        };
        let mut document = self.document;
        members.apply(&mut document);
        let kept = change.cancellation.clone().apply(self.cancellation);
        let entry = match (&change.due_at, &kept) {
            (Edit::Set(_), Some(kept)) => Some(kept.entry()),
            _ => None,
        };
        let revision = self.revision.next(change.write_id.clone());
        let after = Self::new(document, revision, kept, entry).made_by(Some(change.origin.clone()));
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

impl Change {
    /// The same change, but the cancellation stays as it is.
    pub(crate) fn keeping_cancellation(self) -> Self {
        Self { cancellation: CancellationEdit::Keep, cancellation_id: Edit::Keep, due_at: Edit::Keep, ..self }
    }
}

impl CancellationEdit {
    fn apply(self, kept: Option<Cancellation>) -> Option<Cancellation> {
        match self {
            Self::Keep => kept,
            Self::Set(cancellation) => Some(*cancellation),
            Self::Executed(at) => kept.map(|kept| Cancellation { executed_at: Some(at), ..kept }),
            Self::Remove => None,
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

/// The `updatedAt` of a subscription that is changed at `now`: always later than before, even if another clock wrote that. So
/// changes can be told apart and put in order.
#[must_use]
pub fn updated_at(before: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    let next = before.and_then(|before| before.checked_add_signed(TimeDelta::milliseconds(1)));
    // RFC 3339 ends with the year 9999. An import accepts no later year.
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
        // Changes in the same millisecond, and by a clock that is behind.
        let replaced = changed(cancel(Some(pending), &other, &asking()));
        let earlier = Asking { now: "2026-01-31T22:29:30Z".parse().unwrap(), ..asking() };
        let withdrawn = changed(decide_withdrawal(Some(replaced.clone()), &earlier));
        let at = |stored: &StoredSubscription| stored.document.updated_at.unwrap().to_rfc3339();
        assert_eq!(at(&replaced), "2026-01-31T22:30:00.001+00:00");
        assert_eq!(at(&withdrawn), "2026-01-31T22:30:00.002+00:00");
        assert_eq!(withdrawn.cancellation.as_ref().unwrap().withdrawn_at, Some(earlier.now));

        // Also later than a time far ahead, which an import may have made up.
        let long_before = Asking { now: "2025-06-01T00:00:00Z".parse().unwrap(), ..asking() };
        let again = changed(cancel(Some(withdrawn), &first, &long_before));
        assert_eq!(at(&again), "2026-01-31T22:30:00.003+00:00");
        // No later time can be written.
        let last = "9999-12-31T23:59:59.999Z".parse().unwrap();
        assert_eq!(updated_at(Some(last), long_before.now), long_before.now);
    }
}
