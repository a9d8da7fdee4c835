//! Cancelling: the decision on a request to cancel a subscription.

use chrono::{DateTime, Utc};

use crate::calendar::{Calendar, UnusableDate};
use crate::cancellation::{CancelRequest, Cancellation};
use crate::change::{CancellationChange, Changed};
use crate::identifiers::NewIds;
use crate::origin::{Author, Cause, Requester};
use crate::stored::{Revision, StoredSubscription};
use crate::subscription::Status;

/// The outcome of a request to cancel, or to withdraw a cancellation.
#[derive(Clone, PartialEq)]
pub enum Decision {
    /// Write this change.
    Change(Box<Changed>),
    /// Succeed and write nothing: the same cancellation is pending already.
    NoChange(Box<StoredSubscription>),
    /// Refuse the request for good.
    Refuse(Refusal),
}

/// A final refusal because of the state, the date or a precondition. The answer is recorded under the idempotency key, as a success
/// is, so that no earlier attempt with that key takes effect after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No subscription has this name, or it is another tenant's.
    NotFound,
    /// The subscription is cancelled already.
    AlreadyCancelled,
    /// No cancellation is pending that could be withdrawn.
    NoPendingCancellation,
    /// The subscription can't be cancelled on this date.
    UnusableDate(UnusableDate),
    /// The precondition of the caller does not hold for the current revision, which is this one.
    OtherRevision(Revision),
}

/// The caller, the time and the new ids of a request: the input of a decision beside the request itself.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The ids for a new cancellation and a write, should the decision need them.
    pub ids: NewIds,
    /// The caller: an API key, with its name and the caller's own user.
    pub requested_by: Requester,
    /// The source of the request.
    pub author: Author,
    /// The time of the request.
    pub now: DateTime<Utc>,
}

/// Decides a request to cancel, in the tenant's calendar.
///
/// A subscription in any status but CANCELLED can be cancelled. The status stays as it is until the date arrives. The pending
/// status becomes CANCELLED, whatever it was before: a pending cancellation is replaced, and a pending change to another status is
/// superseded. Another request for the same date and reason changes nothing, so that a caller without an idempotency key can retry
/// too.
#[must_use]
pub fn decide_cancel(
    stored: Option<StoredSubscription>,
    request: &CancelRequest,
    calendar: &Calendar,
    asking: &Asking,
) -> Decision {
    let effective = match request.schedule.effective(calendar) {
        Ok(effective) => effective,
        Err(unusable) => return Decision::Refuse(Refusal::UnusableDate(unusable)),
    };
    let Some(stored) = stored else {
        return Decision::Refuse(Refusal::NotFound);
    };
    if stored.document.status == Status::Cancelled {
        return Decision::Refuse(Refusal::AlreadyCancelled);
    }
    if let Some(pending) = stored.pending_cancellation()
        && pending.effective_at == effective.instant()
        && stored.pending_date() == Some(effective.date())
        && pending.reason == Some(request.reason)
    {
        return Decision::NoChange(Box::new(stored));
    }
    let cause = if stored.pending_cancellation().is_some() { Cause::Replaced } else { Cause::Scheduled };
    let cancellation = Cancellation {
        reason: Some(request.reason),
        comment: request.comment.clone(),
        metadata: request.metadata.clone(),
        ..Cancellation::new(asking.ids.cancellation, effective, asking.now)
    };
    let cancellation = cancellation.requested_by(asking.requested_by.clone());
    let change = CancellationChange::Schedule(cancellation, effective.date());
    Decision::Change(Box::new(stored.change(
        change,
        asking.ids.write.clone(),
        asking.author.change(cause),
        asking.now,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    #[test]
    fn every_status_but_cancelled_can_be_cancelled_and_stays_until_the_date() {
        for status in [Status::Pending, Status::Activated, Status::Blocked, Status::Paused] {
            let asking = asking();
            let request = request(Schedule::NextDay, Reason::NoNeed);
            let after = changed(cancel(Some(stored(status)), &request, &asking));

            assert_eq!(after.revision.version, 8);
            assert_eq!(after.document.status, status);
            assert_eq!(after.document.updated_at, Some(asking.now));
            assert_eq!(
                after.document.pending_status,
                Some(PendingStatus {
                    status: Status::Cancelled,
                    scheduled_at: "2026-02-01".parse().unwrap()
                })
            );
            let cancellation = after.pending_cancellation().unwrap();
            assert_eq!(cancellation.cancellation_id, asking.ids.cancellation);
            assert_eq!(cancellation.effective_at, "2026-01-31T23:00:00Z".parse::<DateTime<Utc>>().unwrap());
            assert_eq!(cancellation.reason, Some(Reason::NoNeed));
            assert_eq!(cancellation.comment.as_deref(), Some("moving"));
            assert_eq!(cancellation.requested_at, asking.now);
            assert_eq!(cancellation.requester(), Some(asking.requested_by));
            assert_eq!(after.origin, Some(asking.author.change(Cause::Scheduled)));
        }
        let refused =
            cancel(Some(stored(Status::Cancelled)), &request(Schedule::NextDay, Reason::NoNeed), &asking());
        assert!(refused == Decision::Refuse(Refusal::AlreadyCancelled));
    }

    #[test]
    fn a_missing_subscription_is_not_found() {
        let request = request(Schedule::NextDay, Reason::NoNeed);
        assert!(cancel(None, &request, &asking()) == Decision::Refuse(Refusal::NotFound));
    }

    #[test]
    fn the_same_instant_and_reason_change_nothing() {
        let first = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(cancel(Some(stored(Status::Activated)), &first, &asking()));

        // On 31 January the next day and the next month begin at the same instant.
        let again = request(Schedule::BeginningOfNextMonth, Reason::NoNeed);
        let decision = cancel(Some(pending.clone()), &again, &asking());
        assert!(decision == Decision::NoChange(Box::new(pending)));
    }

    #[test]
    fn another_reason_or_date_replaces_the_pending_cancellation() {
        let first = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(cancel(Some(stored(Status::Activated)), &first, &asking()));
        let date = "2026-03-15".parse().unwrap();

        for other in
            [request(Schedule::NextDay, Reason::Fraud), request(Schedule::AtDate(date), Reason::NoNeed)]
        {
            let asking = asking();
            let after = changed(cancel(Some(pending.clone()), &other, &asking));
            assert_eq!(after.revision.version, 9);
            assert_eq!(after.origin, Some(asking.author.change(Cause::Replaced)));
            let replacement = after.pending_cancellation().unwrap();
            assert_eq!(replacement.cancellation_id, asking.ids.cancellation);
            assert_eq!(replacement.effective_at, other.schedule.effective(&calendar()).unwrap().instant());
        }
    }

    #[test]
    fn a_pending_change_to_another_status_is_superseded() {
        let mut paused_soon = stored(Status::Activated);
        paused_soon.document.pending_status =
            Some(PendingStatus { status: Status::Paused, scheduled_at: "2026-02-01".parse().unwrap() });
        assert!(paused_soon.pending_cancellation().is_none());

        let request = request(Schedule::NextDay, Reason::NoNeed);
        let after = changed(cancel(Some(paused_soon), &request, &asking()));
        assert!(after.pending_cancellation().is_some());
    }

    #[test]
    fn a_date_that_has_begun_is_refused_before_anything_else() {
        let passed = request(Schedule::AtDate("2026-01-31".parse().unwrap()), Reason::NoNeed);
        for state in [None, Some(stored(Status::Cancelled)), Some(stored(Status::Activated))] {
            let Decision::Refuse(Refusal::UnusableDate(UnusableDate::NotInFuture { today, .. })) =
                cancel(state, &passed, &asking())
            else {
                panic!("not refused");
            };
            assert_eq!(today.to_string(), "2026-01-31");
        }
    }
}
