//! **One truth of "pending"**: a cancellation is pending if the index of due dates names it, the subscription keeps it, and the
//! document says so, all three of the same ([`Claims::standing`]). Every reader and every writer goes by that. If the three
//! disagree, that is a [`Contradiction`], which nothing executes.

use chrono::{DateTime, NaiveDate, Utc};

use crate::identifiers::CancellationId;
use crate::subscription::{PendingStatus, Status};

/// The entry of a subscription in the index of due dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexEntry {
    /// The cancellation that is due, and since when.
    Due(CancellationId, DateTime<Utc>),
    /// An entry that is not as this service writes one. No sweep can execute it.
    Unreadable,
}

/// The parts of a subscription that say of its cancellation what they must say together, and don't: some other system wrote
/// one of them and not the others. Nothing executes it until someone has decided which of them counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Contradiction {
    /// The document says that the subscription is CANCELLED, and the index that it will be.
    #[strum(serialize = "the document is CANCELLED, and a cancellation is still to be executed")]
    EndedBefore,
    /// The index names a cancellation, and the document does not say that one is pending.
    #[strum(serialize = "a cancellation is to be executed, and the document does not say so")]
    NotInDocument,
    /// The document names another date than the cancellation.
    #[strum(serialize = "the document names another date than the cancellation")]
    OtherDate,
    /// The index names a cancellation that the subscription does not keep, or none that can be read.
    #[strum(serialize = "the index names a cancellation that the subscription does not keep")]
    OtherCancellation,
    /// The document says that a cancellation is pending, and the index names none.
    #[strum(serialize = "the document says that a cancellation is pending, and nothing will execute it")]
    NotInIndex,
}

/// Whether a cancellation is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Standing {
    /// None is.
    #[strum(serialize = "no cancellation is pending")]
    NotPending,
    /// One is, and will be executed.
    #[strum(serialize = "a cancellation is pending")]
    Pending,
    /// The parts of the subscription don't agree, and none will be executed.
    #[strum(to_string = "{0}")]
    Contradictory(Contradiction),
}

/// The parts of a subscription by which a cancellation is pending or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The status in the document.
    pub status: Status,
    /// The change of status that the document says is to come.
    pub pending_status: Option<PendingStatus>,
    /// The latest cancellation that is kept with it: its id and its instant, and its date if that is known.
    pub kept: Option<(IndexEntry, Option<NaiveDate>)>,
    /// The entry in the index.
    pub entry: Option<IndexEntry>,
}

impl Claims {
    /// The date on which the document says that it will be cancelled.
    #[must_use]
    pub fn date(&self) -> Option<NaiveDate> {
        let pending = self.pending_status.as_ref().filter(|pending| pending.status == Status::Cancelled);
        pending.map(|pending| pending.scheduled_at)
    }

    /// The one predicate of what is pending.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let is_cancelled = self.status == Status::Cancelled;
        match (self.entry, self.date(), self.kept) {
            (None, None, _) => Standing::NotPending,
            // Nothing follows the end.
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

    /// A subscription whose parts say this of its cancellation.
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
            // Nobody is told that it will happen, and it won't.
            assert_eq!(stored.document.pending_status, None);
            assert!(stored.pending_cancellation().is_none());
            assert!(
                decide_withdrawal(Some(stored.clone()), &asking())
                    == Decision::Refuse(Refusal::NoPendingCancellation)
            );
            // Asked for anew, it is written whole.
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
