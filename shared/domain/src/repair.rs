//! Rederivation and repair: the decisions about a cancellation whose instant is out of date, or whose parts contradict each other.

use chrono::Datelike;

use crate::calendar::Calendar;
use crate::cancellation::Cancellation;
use crate::change::{CancellationChange, Changed};
use crate::identifiers::{NewIds, WriteId};
use crate::origin::{Author, Cause, Requester};
use crate::standing::{Contradiction, Standing};
use crate::stored::StoredSubscription;

/// Decides whether the instant of a pending cancellation has to be moved. Its promised date stays, but may begin at another instant
/// after a change of the tenant's time zone or its rules.
#[must_use]
pub fn decide_rederivation(
    stored: StoredSubscription,
    calendar: &Calendar,
    write_id: WriteId,
    author: &Author,
) -> Option<Changed> {
    let date = stored.pending_date()?;
    let pending = stored.pending_cancellation()?.clone();
    let effective_at = calendar.beginning_on_or_after(date).instant();
    if pending.effective_at == effective_at {
        return None;
    }
    let moved = Cancellation { effective_at, scheduled_at: Some(date), ..pending };
    let change = CancellationChange::Schedule(moved, date);
    Some(stored.change(change, write_id, author.change(Cause::Replaced), calendar.now()))
}

/// The part of a contradictory subscription that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// The document: the cancellation that it says is pending will be executed, and no other.
    Document,
    /// The stored cancellation: it will be executed, unless it was withdrawn or executed before.
    Cancellation,
}

/// Decides how a contradictory subscription is repaired; `None` if it is not contradictory. A CANCELLED subscription stays
/// CANCELLED.
///
/// A cancellation that is pending afterwards has a new id, so that nothing executes it for another date.
#[must_use]
pub fn decide_repair(
    stored: StoredSubscription,
    counts: Counts,
    calendar: &Calendar,
    ids: NewIds,
    author: &Author,
) -> Option<Changed> {
    let Standing::Contradictory(contradiction) = stored.standing() else {
        return None;
    };
    let kept = stored.cancellation.clone();
    let date = match (contradiction, counts) {
        (Contradiction::EndedBefore, _) => None,
        (_, Counts::Document) => stored.claimed_date(),
        (_, Counts::Cancellation) => kept
            .as_ref()
            .filter(|kept| !kept.is_over())
            .map(|kept| kept.scheduled_at.unwrap_or_else(|| calendar.date_at(kept.effective_at))),
    };
    // The due index holds only dates in the years 0000 to 9999.
    let requester = Requester { actor: author.actor.clone(), ..Requester::default() };
    let (cause, change) = match date.filter(|date| (0..=9999).contains(&date.year())) {
        Some(date) => {
            let new =
                Cancellation::new(ids.cancellation, calendar.beginning_on_or_after(date), calendar.now());
            let whole = match kept.filter(|kept| !kept.is_over()) {
                // The request stays with the cancellation.
                Some(kept) => Cancellation {
                    reason: kept.reason,
                    comment: kept.comment,
                    metadata: kept.metadata,
                    requested_at: kept.requested_at,
                    requested_by: kept.requested_by,
                    requested_by_name: kept.requested_by_name,
                    requested_for: kept.requested_for,
                    requested_in: kept.requested_in,
                    ..new
                },
                None => new.requested_by(requester),
            };
            (Cause::Scheduled, CancellationChange::Schedule(whole, date))
        }
        None => {
            let pending = kept.filter(|kept| !kept.is_over());
            let withdrawn = pending.map(|pending| pending.withdrawn(calendar.now(), requester));
            let cause = if withdrawn.is_some() { Cause::Withdrawn } else { Cause::Imported };
            (cause, CancellationChange::Unschedule(withdrawn))
        }
    };
    Some(stored.change(change, ids.write, author.change(cause), calendar.now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{DocumentChange, Edit};
    use crate::fixtures::*;

    #[test]
    fn a_repair_keeps_a_scheduled_change_to_another_status() {
        let pending = changed(cancel(
            Some(stored(Status::Activated)),
            &request(Schedule::NextDay, Reason::NoNeed),
            &asking(),
        ));
        let paused_soon =
            Some(PendingStatus { status: Status::Paused, scheduled_at: "2026-02-05".parse().unwrap() });
        let document = Subscription { pending_status: paused_soon.clone(), ..pending.document };
        let entry = pending.cancellation.as_ref().map(Cancellation::entry);
        let contradictory = StoredSubscription::new(document, pending.revision, pending.cancellation, entry);
        assert_eq!(contradictory.standing(), Standing::Contradictory(Contradiction::NotInDocument));

        let ids = NewIds { cancellation: uuid().into(), write: uuid().into() };
        let operator = Author::operator("anna".parse().ok());
        let repaired = decide_repair(contradictory, Counts::Document, &calendar(), ids, &operator).unwrap();
        let DocumentChange::Members(members) = repaired.change.document else { panic!("the whole document") };
        assert_eq!(members.pending_status, Edit::Keep);
        assert_eq!(repaired.after.document.pending_status, paused_soon);
        assert_eq!(repaired.after.standing(), Standing::NotPending);
        let kept = repaired.after.cancellation.unwrap();
        assert!(kept.withdrawn_at.is_some());
        assert_eq!(kept.withdrawer().unwrap().actor, operator.actor);
        assert_eq!(repaired.after.origin, Some(operator.change(Cause::Withdrawn)));
    }

    #[test]
    fn a_repair_takes_nothing_over_from_a_cancellation_that_is_over() {
        let asked = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(cancel(Some(stored(Status::Activated)), &asked, &asking()));
        let withdrawn = changed(decide_withdrawal(Some(pending), &asking()));
        let kept = withdrawn.cancellation.clone().unwrap();
        let operator = Author::operator("anna".parse().ok());
        let repair = |document: Subscription, entry, counts| {
            let kept = withdrawn.cancellation.clone();
            let contradictory = StoredSubscription::new(document, withdrawn.revision.clone(), kept, entry);
            let ids = NewIds { cancellation: uuid().into(), write: uuid().into() };
            decide_repair(contradictory, counts, &calendar(), ids, &operator).unwrap().after
        };
        // Another system says that a cancellation is pending: it is the operator's, not that of the former caller.
        let ends = PendingStatus { status: Status::Cancelled, scheduled_at: "2026-03-01".parse().unwrap() };
        let claimed = Subscription { pending_status: Some(ends), ..withdrawn.document.clone() };
        let scheduled = repair(claimed.clone(), None, Counts::Document);
        let new = scheduled.pending_cancellation().unwrap();
        assert_eq!((new.reason, new.withdrawn_at), (None, None));
        assert_eq!(
            new.requester().unwrap(),
            Requester { actor: operator.actor.clone(), ..Requester::default() }
        );
        assert_eq!(scheduled.origin, Some(operator.change(Cause::Scheduled)));

        // Nothing is withdrawn: it was before, by another.
        for (document, entry, counts) in [
            (claimed, None, Counts::Cancellation),
            (withdrawn.document.clone(), Some(kept.entry()), Counts::Document),
        ] {
            let repaired = repair(document, entry, counts);
            assert_eq!(repaired.origin, Some(operator.change(Cause::Imported)));
            assert!(
                repaired.cancellation == withdrawn.cancellation
                    && repaired.standing() == Standing::NotPending
            );
        }
    }
}
