//! Executing: the decision when the date of a cancellation has arrived.

use chrono::{DateTime, Utc};
use strum::VariantArray;

use crate::calendar::Calendar;
use crate::change::{
    CancellationEdit, Change, DecidedFrom, DocumentChange, Edit, ExpectedClaims, ExpectedEntry, Members,
    updated_at,
};
use crate::identifiers::{CancellationId, SubscriptionId, TenantId, WriteId};
use crate::origin::{Author, Cause};
use crate::standing::Standing;
use crate::stored::StoredSubscription;
use crate::subscription::{PendingStatus, Status};

/// A cancellation that the due index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueCancellation {
    /// The tenant of the subscription.
    pub tenant: TenantId,
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The cancellation that is due.
    pub cancellation_id: CancellationId,
    /// The instant from which the cancellation is due.
    pub effective_at: DateTime<Utc>,
}

/// The outcome of the arrival of a date.
#[derive(Clone, PartialEq)]
pub enum Execution {
    /// Write this change: the status becomes CANCELLED, and every pending change is removed. The details of the cancellation stay
    /// with the subscription, for reporting.
    Change(Box<Change>),
    /// Do nothing yet: the date has not begun by the time zone and its rules that are in force now.
    NotYet,
    /// Do nothing: the cancellation is not pending.
    NotPending(Standing),
}

/// Decides whether a cancellation that the due index names is executed.
///
/// Nothing is executed before the promised instant, nor before the date has begun by the time zone and its rules that are in force
/// now. Both may have changed since the instant was promised.
///
/// `author` is the schedule, or the operator who has it run. `stored` is the subscription, if it was read. At first it is not, because it nearly always agrees with the index. Then the
/// condition of the write checks everything that is assumed here.
#[must_use]
pub fn decide_execution(
    due: &DueCancellation,
    stored: Option<&StoredSubscription>,
    calendar: &Calendar,
    write_id: WriteId,
    author: &Author,
) -> Execution {
    let date = match stored {
        None => calendar.date_at(due.effective_at),
        Some(stored) => match (stored.standing(), stored.pending_date()) {
            (Standing::Pending, Some(date)) => date,
            (standing, _) => return Execution::NotPending(standing),
        },
    };
    let now = calendar.now();
    // The cancellation takes effect at its instant, however late the write is.
    let cancelled_at = calendar.beginning_on_or_after(date).instant().max(due.effective_at);
    if cancelled_at > now {
        return Execution::NotYet;
    }
    let updated_at = updated_at(stored.and_then(|stored| stored.document.updated_at), now);
    let entry = ExpectedEntry { cancellation_id: due.cancellation_id, due_at: due.effective_at };
    let decided_from = match stored {
        Some(stored) => DecidedFrom::DueVersion(stored.revision.version, entry),
        None => DecidedFrom::Due(ExpectedClaims {
            entry,
            statuses: Status::VARIANTS
                .iter()
                .copied()
                .filter(|status| *status != Status::Cancelled)
                .collect(),
            pending_status: PendingStatus { status: Status::Cancelled, scheduled_at: date },
            date,
            updated_before: updated_at,
        }),
    };
    Execution::Change(Box::new(Change {
        decided_from,
        write_id,
        origin: author.change(Cause::Executed),
        document: DocumentChange::Members(Box::new(Members {
            status: Edit::Set(Status::Cancelled),
            updated_at: Edit::Set(updated_at),
            cancelled_at: Edit::Set(cancelled_at),
            pending_status: Edit::Remove,
            pending_msisdn: Edit::Remove,
            pending_product_offering: Edit::Remove,
        })),
        cancellation: CancellationEdit::Executed(now),
        cancellation_id: Edit::Keep,
        due_at: Edit::Remove,
        search_terms: None,
    }))
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::fixtures::*;
    use crate::standing::{Claims, IndexEntry};

    /// The members that an execution at `now` writes; `None` if it is too early. The cancellation was promised for 1 February in
    /// Stockholm, and the subscription was last updated at `updated_before`.
    fn executed(zone: TimeZone, now: &str, updated_before: Option<&str>) -> Option<Members> {
        let kept = Cancellation {
            cancellation_id: due().cancellation_id,
            scheduled_at: "2026-02-01".parse().ok(),
            effective_at: due().effective_at,
            ..Cancellation::new(due().cancellation_id, calendar().next_day(), calendar().now())
        };
        let pending_status =
            PendingStatus { status: Status::Cancelled, scheduled_at: "2026-02-01".parse().unwrap() };
        let updated_at = updated_before.map(|at| at.parse().unwrap());
        let stored = stored(Status::Activated);
        let document = Subscription { pending_status: Some(pending_status), updated_at, ..stored.document };
        let due = DueCancellation { cancellation_id: kept.cancellation_id, ..due() };
        let entry = Some(kept.entry());
        let stored = StoredSubscription::new(document, stored.revision, Some(kept), entry);
        let calendar = Calendar::new(zone, now.parse().unwrap());
        match decide_execution(&due, Some(&stored), &calendar, uuid().into(), &Author::SCHEDULE) {
            Execution::Change(change) => match change.document {
                DocumentChange::Members(members) => Some(*members),
                DocumentChange::Whole(_) => panic!("the whole document"),
            },
            Execution::NotYet => None,
            Execution::NotPending(standing) => panic!("{standing}"),
        }
    }

    fn set<T>(edit: Edit<T>) -> T {
        match edit {
            Edit::Set(value) => value,
            Edit::Keep | Edit::Remove => panic!("not set"),
        }
    }

    #[test]
    fn a_cancellation_is_not_executed_before_its_instant() {
        let in_stockholm = |now| executed(zone("Europe/Stockholm"), now, None);
        assert!(in_stockholm("2026-01-31T22:59:59.999Z").is_none());

        let members = in_stockholm("2026-02-03T08:00:00Z").unwrap();
        assert_eq!(set(members.cancelled_at), due().effective_at);
        assert_eq!(set(members.updated_at).to_rfc3339(), "2026-02-03T08:00:00+00:00");
        assert!(in_stockholm("2026-01-31T23:00:00Z").is_some());
    }

    #[test]
    fn a_cancellation_is_not_executed_before_its_date_has_begun_in_the_current_time_zone() {
        let in_new_york = |now| executed(zone("America/New_York"), now, None);
        assert!(in_new_york("2026-02-01T04:59:59Z").is_none());
        let members = in_new_york("2026-02-01T05:00:00Z").unwrap();
        assert_eq!(set(members.cancelled_at).to_rfc3339(), "2026-02-01T05:00:00+00:00");
        // Nor before the instant that was promised, though the date has begun there.
        assert!(executed(zone("Pacific/Auckland"), "2026-01-31T22:59:59Z", None).is_none());
        let members = executed(zone("Pacific/Auckland"), "2026-01-31T23:00:00Z", None).unwrap();
        assert_eq!(set(members.cancelled_at), due().effective_at);
    }

    #[test]
    fn an_execution_sets_updated_at_later_than_before() {
        let members = executed(TimeZone::UTC, "2026-02-01T00:00:00Z", Some("2026-02-01T00:30:00Z")).unwrap();
        assert_eq!(set(members.updated_at).to_rfc3339(), "2026-02-01T00:30:00.001+00:00");
    }

    #[test]
    fn an_execution_cancels_and_removes_every_pending_change() {
        let members = executed(TimeZone::UTC, "2026-02-01T00:00:00Z", None).unwrap();
        assert_eq!(set(members.status), Status::Cancelled);
        assert_eq!(members.pending_status, Edit::Remove);
        assert!(members.pending_msisdn == Edit::Remove && members.pending_product_offering == Edit::Remove);
    }

    /// Claims about a few cancellations and dates, many of which agree.
    fn claims(due: &DueCancellation) -> impl Strategy<Value = Claims> + use<> {
        let (id, at) = (due.cancellation_id, due.effective_at);
        let entry = select(vec![
            Some(IndexEntry::Due(id, at)),
            Some(IndexEntry::Due(uuid().into(), at)),
            Some(IndexEntry::Due(id, at + chrono::TimeDelta::days(1))),
            Some(IndexEntry::Unreadable),
            None,
        ]);
        let date = select(vec![Some("2026-02-01"), Some("2026-02-02"), None])
            .prop_map(|date| date.map(|date| date.parse::<NaiveDate>().unwrap()));
        let status = select(Status::VARIANTS.to_vec());
        let kept = (entry.clone(), date.clone()).prop_map(|(entry, date)| entry.map(|entry| (entry, date)));
        let pending = (select(vec![Status::Cancelled, Status::Paused]), date)
            .prop_map(|(status, date)| date.map(|scheduled_at| PendingStatus { status, scheduled_at }));
        (status, pending, kept, entry).prop_map(|(status, pending_status, kept, entry)| Claims {
            status,
            pending_status,
            kept,
            entry,
        })
    }

    proptest! {
        #[test]
        fn the_condition_of_an_execution_holds_exactly_if_its_cancellation_is_pending(
            (due, claims) in Just(due()).prop_flat_map(|due| (Just(due.clone()), claims(&due)))
        ) {
            let calendar = Calendar::new(zone("Europe/Stockholm"), "2026-02-03T08:00:00Z".parse().unwrap());
            let decided = decide_execution(&due, None, &calendar, uuid().into(), &Author::SCHEDULE);
            let Execution::Change(change) = decided else {
                panic!("not executed");
            };
            let DecidedFrom::Due(expected) = change.decided_from else { panic!("decided from another state") };
            let is_due = claims.entry == Some(IndexEntry::Due(due.cancellation_id, due.effective_at))
                && claims.date() == "2026-02-01".parse().ok();
            prop_assert_eq!(expected.hold_for(&claims), is_due && claims.standing() == Standing::Pending);
        }
    }
}
