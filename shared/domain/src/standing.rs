//! **One definition of "pending"**: a cancellation is pending if the due index names it, the subscription keeps it, and the
//! document says so, and all three agree ([`Claims::standing`]). Every reader and every writer uses this definition. If the three
//! disagree, that is a [`Contradiction`], which nothing executes.

use chrono::{DateTime, NaiveDate, Utc};

use crate::identifiers::CancellationId;
use crate::subscription::{PendingStatus, Status};

/// The entry of a subscription in the due index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexEntry {
    /// The cancellation that is due, and the instant from which it is due.
    Due(CancellationId, DateTime<Utc>),
    /// An entry in another form than this service writes. No sweep can execute it.
    Unreadable,
}

/// A disagreement between the parts of a subscription about its cancellation: another system wrote one of them and not the others.
/// Nothing executes the cancellation until an operator has decided which part counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Contradiction {
    /// The document says that the subscription is CANCELLED, and the due index says that it will be.
    #[strum(serialize = "the document is CANCELLED, and a cancellation is still to be executed")]
    EndedBefore,
    /// The due index names a cancellation, and the document does not say that one is pending.
    #[strum(serialize = "a cancellation is to be executed, and the document does not say so")]
    NotInDocument,
    /// The document names another date than the cancellation.
    #[strum(serialize = "the document names another date than the cancellation")]
    OtherDate,
    /// The due index names a cancellation that the subscription does not keep, or its entry can't be read.
    #[strum(serialize = "the index names a cancellation that the subscription does not keep")]
    OtherCancellation,
    /// The document says that a cancellation is pending, and the due index names none.
    #[strum(serialize = "the document says that a cancellation is pending, and nothing will execute it")]
    NotInIndex,
}

/// The state of a subscription's cancellation: pending, not pending or contradictory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Standing {
    /// No cancellation is pending.
    #[strum(serialize = "no cancellation is pending")]
    NotPending,
    /// A cancellation is pending, and will be executed.
    #[strum(serialize = "a cancellation is pending")]
    Pending,
    /// The parts of the subscription contradict each other, and no cancellation will be executed.
    #[strum(to_string = "{0}")]
    Contradictory(Contradiction),
}

/// The parts of a subscription that decide whether a cancellation is pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The status in the document.
    pub status: Status,
    /// The scheduled change of status in the document.
    pub pending_status: Option<PendingStatus>,
    /// The latest cancellation that the subscription keeps: its id and its instant, and its date if that is known.
    pub kept: Option<(IndexEntry, Option<NaiveDate>)>,
    /// The entry in the due index.
    pub entry: Option<IndexEntry>,
}

impl Claims {
    /// The date on which the subscription will be cancelled, as the document says.
    #[must_use]
    pub fn date(&self) -> Option<NaiveDate> {
        let pending = self.pending_status.as_ref().filter(|pending| pending.status == Status::Cancelled);
        pending.map(|pending| pending.scheduled_at)
    }

    /// The only predicate that decides whether a cancellation is pending.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let is_cancelled = self.status == Status::Cancelled;
        match (self.entry, self.date(), self.kept) {
            (None, None, _) => Standing::NotPending,
            // No change of status follows CANCELLED.
            (None, Some(_), _) if is_cancelled => Standing::NotPending,
            (None, Some(_), _) => Standing::Contradictory(Contradiction::NotInIndex),
            (Some(_), _, _) if is_cancelled => Standing::Contradictory(Contradiction::EndedBefore),
            (Some(_), None, _) => Standing::Contradictory(Contradiction::NotInDocument),
            (Some(entry), Some(date), Some((kept, kept_date))) if kept == entry => {
                if kept_date.is_none_or(|kept_date| kept_date == date) {
                    Standing::Pending
                } else {
                    Standing::Contradictory(Contradiction::OtherDate)
                }
            }
            (Some(_), Some(_), _) => Standing::Contradictory(Contradiction::OtherCancellation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    /// A subscription whose parts say this about its cancellation.
    fn parts(status: Status, in_document: Option<&str>, kept: bool, indexed: bool) -> StoredSubscription {
        let pending =
            changed(cancel(Some(stored(status)), &request(Schedule::NextDay, Reason::NoNeed), &asking()));
        let cancellation = pending.cancellation.unwrap();
        let entry = cancellation.entry();
        let scheduled_at =
            |date: &str| PendingStatus { status: Status::Cancelled, scheduled_at: date.parse().unwrap() };
        let document = Subscription { pending_status: in_document.map(scheduled_at), ..pending.document };
        let kept = kept.then_some(cancellation);
        StoredSubscription::new(document, pending.revision, kept, indexed.then_some(entry))
    }

    #[test]
    fn a_cancellation_is_pending_only_if_all_parts_agree() {
        let agreed = parts(Status::Activated, Some("2026-02-01"), true, true);
        assert_eq!(agreed.standing(), Standing::Pending);
        assert!(agreed.pending_cancellation().is_some());

        for (in_document, kept, indexed, contradiction) in [
            (None, true, true, Contradiction::NotInDocument),
            (None, false, true, Contradiction::NotInDocument),
            (Some("2026-02-02"), true, true, Contradiction::OtherDate),
            (Some("2026-02-01"), false, true, Contradiction::OtherCancellation),
            (Some("2026-02-01"), true, false, Contradiction::NotInIndex),
            (Some("2026-02-01"), false, false, Contradiction::NotInIndex),
        ] {
            let stored = parts(Status::Activated, in_document, kept, indexed);
            assert_eq!(stored.standing(), Standing::Contradictory(contradiction));
            assert_eq!(stored.claimed_date().map(|date| date.to_string()).as_deref(), in_document);
            // Callers don't see the cancellation, because it will not be executed.
            assert_eq!(stored.document.pending_status, None);
            assert!(stored.pending_cancellation().is_none());
            assert!(
                decide_withdrawal(Some(stored.clone()), &asking())
                    == Decision::Refuse(Refusal::NoPendingCancellation)
            );
            // A new request writes all parts.
            let anew = cancel(Some(stored), &request(Schedule::NextDay, Reason::NoNeed), &asking());
            let anew = changed(anew);
            assert_eq!(anew.standing(), Standing::Pending);
        }
    }

    #[test]
    fn a_subscription_ended_by_another_system_is_a_contradiction() {
        let mut stored = parts(Status::Activated, None, true, true);
        stored.document.status = Status::Cancelled;
        let entry = stored.cancellation.as_ref().map(Cancellation::entry);
        let ended = StoredSubscription::new(stored.document, stored.revision, stored.cancellation, entry);
        assert_eq!(ended.standing(), Standing::Contradictory(Contradiction::EndedBefore));
    }
}
