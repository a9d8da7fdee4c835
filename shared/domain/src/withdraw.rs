//! Withdrawing: the decision on a request to withdraw the pending cancellation.

use crate::cancel::{Asking, Decision, Refusal};
use crate::change::CancellationChange;
use crate::origin::Cause;
use crate::stored::StoredSubscription;
use crate::subscription::Status;

/// Decides a request to withdraw the pending cancellation.
///
/// A pending cancellation can be withdrawn as long as the status is not CANCELLED, even in the moments between the beginning of its
/// date and its execution. The status stays as it is, and the cancellation is kept as withdrawn.
#[must_use]
pub fn decide_withdrawal(stored: Option<StoredSubscription>, asking: &Asking) -> Decision {
    let Some(stored) = stored else {
        return Decision::Refuse(Refusal::NotFound);
    };
    if stored.document.status == Status::Cancelled {
        return Decision::Refuse(Refusal::AlreadyCancelled);
    }
    let Some(pending) = stored.pending_cancellation().cloned() else {
        return Decision::Refuse(Refusal::NoPendingCancellation);
    };
    let withdrawn = pending.withdrawn(asking.now, asking.requested_by.clone());
    let change = CancellationChange::Unschedule(Some(withdrawn));
    Decision::Change(Box::new(stored.change(
        change,
        asking.ids.write.clone(),
        asking.author.change(Cause::Withdrawn),
        asking.now,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    #[test]
    fn a_withdrawal_keeps_the_cancellation_as_withdrawn_and_the_status_as_it_was() {
        for status in [Status::Pending, Status::Activated, Status::Blocked, Status::Paused] {
            let request = request(Schedule::NextDay, Reason::NoNeed);
            let pending = changed(cancel(Some(stored(status)), &request, &asking()));
            // The date has begun, but the cancellation has not been executed.
            let asking = Asking { now: "2026-02-01T08:00:00Z".parse().unwrap(), ..asking() };
            let after = changed(decide_withdrawal(Some(pending.clone()), &asking));

            assert_eq!(after.revision.version, 9);
            assert_eq!(after.document.status, status);
            assert_eq!(after.document.updated_at, Some(asking.now));
            assert_eq!(after.document.pending_status, None);
            assert!(after.pending_cancellation().is_none());
            let (before, kept) = (pending.cancellation.unwrap(), after.cancellation.unwrap());
            assert_eq!(kept.withdrawn_at, Some(asking.now));
            assert_eq!(kept.withdrawer(), Some(asking.requested_by));
            assert_eq!(after.origin, Some(asking.author.change(Cause::Withdrawn)));
            let not_withdrawn = Requester::default();
            assert!(
                Cancellation { withdrawn_at: None, ..kept.withdrawn(NOW.parse().unwrap(), not_withdrawn) }
                    == before
            );
        }
    }

    #[test]
    fn only_a_pending_cancellation_can_be_withdrawn() {
        let refusal = |stored| match decide_withdrawal(stored, &asking()) {
            Decision::Refuse(refusal) => refusal,
            _ => panic!("nothing was refused"),
        };
        assert_eq!(refusal(None), Refusal::NotFound);
        assert_eq!(refusal(Some(stored(Status::Cancelled))), Refusal::AlreadyCancelled);
        assert_eq!(refusal(Some(stored(Status::Activated))), Refusal::NoPendingCancellation);

        let mut paused_soon = stored(Status::Activated);
        paused_soon.document.pending_status =
            Some(PendingStatus { status: Status::Paused, scheduled_at: "2026-02-01".parse().unwrap() });
        assert_eq!(refusal(Some(paused_soon)), Refusal::NoPendingCancellation);

        let request = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(cancel(Some(stored(Status::Activated)), &request, &asking()));
        let withdrawn = changed(decide_withdrawal(Some(pending), &asking()));
        assert_eq!(refusal(Some(withdrawn.clone())), Refusal::NoPendingCancellation);
        // A new request to cancel is accepted.
        let again = changed(cancel(Some(withdrawn), &request, &asking()));
        assert_eq!(again.pending_cancellation().unwrap().withdrawn_at, None);
    }
}
