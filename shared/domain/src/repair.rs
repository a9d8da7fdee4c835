//! Rederivation and repair: the decisions about a cancellation whose instant is out of date, or whose parts contradict each other.

use chrono::Datelike;

use crate::calendar::Calendar;
use crate::cancellation::Cancellation;
use crate::change::{CancellationChange, Changed};
use crate::identifiers::{NewIds, WriteId};
use crate::standing::{Contradiction, Standing};
use crate::stored::StoredSubscription;

/// Decides whether the instant of a pending cancellation has to be moved. Its promised date stays, but may begin at another instant
/// after a change of the tenant's time zone or its rules.
#[must_use]
pub fn decide_rederivation(
    stored: StoredSubscription,
    calendar: &Calendar,
    write_id: WriteId,
) -> Option<Changed> {
    let date = stored.pending_date()?;
    let pending = stored.pending_cancellation()?.clone();
    let effective_at = calendar.beginning_on_or_after(date).instant();
    if pending.effective_at == effective_at {
        return None;
    }
    let moved = Cancellation { effective_at, scheduled_at: Some(date), ..pending };
    Some(stored.change(CancellationChange::Schedule(moved, date), write_id, calendar.now()))
}

/// The part of a contradictory subscription that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// The document: the cancellation that it says is pending will be executed, and no other.
    Document,
    /// The stored cancellation: it will be executed, unless it was withdrawn.
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
            .filter(|kept| kept.withdrawn_at.is_none())
            .map(|kept| kept.scheduled_at.unwrap_or_else(|| calendar.date_at(kept.effective_at))),
    };
    // The due index holds only dates in the years 0000 to 9999.
    let change = match date.filter(|date| (0..=9999).contains(&date.year())) {
        Some(date) => {
            let new =
                Cancellation::new(ids.cancellation, calendar.beginning_on_or_after(date), calendar.now());
            let whole = match kept {
                Some(kept) => Cancellation {
                    cancellation_id: new.cancellation_id,
                    scheduled_at: Some(date),
                    effective_at: new.effective_at,
                    withdrawn_at: None,
                    withdrawn_by: None,
                    ..kept
                },
                None => new,
            };
            CancellationChange::Schedule(whole, date)
        }
        None => CancellationChange::Unschedule(kept.map(|kept| Cancellation {
            withdrawn_at: Some(kept.withdrawn_at.unwrap_or(calendar.now())),
            ..kept
        })),
    };
    Some(stored.change(change, ids.write, calendar.now()))
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
        let repaired = decide_repair(contradictory, Counts::Document, &calendar(), ids).unwrap();
        let DocumentChange::Members(members) = repaired.change.document else { panic!("the whole document") };
        assert_eq!(members.pending_status, Edit::Keep);
        assert_eq!(repaired.after.document.pending_status, paused_soon);
        assert_eq!(repaired.after.standing(), Standing::NotPending);
        assert!(repaired.after.cancellation.unwrap().withdrawn_at.is_some());
    }
}
