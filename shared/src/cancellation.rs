//! The rules: what a request to cancel does to a subscription, what withdrawing that does, and what the arrival of its
//! date does.
//!
//! All are decided here from values alone: no clock, no database. The decision is a value too, and
//! the store writes exactly that, on the condition that the state it was decided from still stands.

use std::fmt;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::calendar::{Calendar, EffectiveDate, UnusableDate};
use crate::identifiers::{CancellationId, KeyId, SubscriptionId, TenantId};
use crate::subscription::{PendingStatus, Status, Subscription};

/// When a subscription should be cancelled, in the tenant's calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The day after today.
    NextDay,
    /// The 1st of the month after today's.
    BeginningOfNextMonth,
    /// A date later than today.
    AtDate(NaiveDate),
}

impl Schedule {
    /// The date it means in `calendar`, and the instant at which that date begins.
    ///
    /// # Errors
    /// A chosen date must be later than today and exist in the tenant's zone.
    pub fn effective(self, calendar: &Calendar) -> Result<EffectiveDate, UnusableDate> {
        match self {
            Self::NextDay => Ok(calendar.next_day()),
            Self::BeginningOfNextMonth => Ok(calendar.beginning_of_next_month()),
            Self::AtDate(date) => calendar.at_date(date),
        }
    }
}

/// Why a customer leaves, standardized for reporting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Reason {
    BetterDealPrice,
    NotHappyMissingFunctions,
    NotHappyCoverageSla,
    NotHappyComplexAdmin,
    NotHappySupportEngagement,
    Fraud,
    FraudAttempt,
    TestOrMarketing,
    NoNeed,
    WrongOrder,
    /// Anything else; a comment says what.
    Other,
}

/// As callers write it.
impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// A request to cancel that has passed every check that needs no stored state.
#[derive(Clone, PartialEq)]
pub struct CancelRequest {
    /// When.
    pub effective: EffectiveDate,
    /// Why.
    pub reason: Reason,
    /// Why, in the caller's words: at most 1,000 characters, and not blank if the reason is `OTHER`.
    pub comment: Option<String>,
    /// The caller's own data about this cancellation: a JSON object, as text.
    pub metadata: Option<String>,
}

/// Comment and metadata may be personal, so a request never prints itself whole.
impl fmt::Debug for CancelRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("CancelRequest");
        shown.field("effective", &self.effective).field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Who asks, and when: what the decision needs beside the request itself.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The id that the cancellation gets if one comes of it.
    pub cancellation_id: CancellationId,
    /// The API key that asks.
    pub requested_by: KeyId,
    /// When it asks.
    pub now: DateTime<Utc>,
}

/// By how much clocks are taken to differ.
const MOST_SKEW: TimeDelta = TimeDelta::minutes(1);

impl Asking {
    /// When a subscription that is changed by this was updated: later than before, though another request, which asked later or
    /// by another clock, may have been first. So changes can be told apart, and put in order.
    fn updated_at(&self, before: &Subscription) -> DateTime<Utc> {
        match before.updated_at {
            Some(before) if self.now <= before && before - self.now <= MOST_SKEW => {
                before + TimeDelta::milliseconds(1)
            }
            _ => self.now,
        }
    }
}

/// A cancellation as it is kept with its subscription, also after it took effect or was withdrawn, for reporting.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancellation {
    /// Tells this cancellation from those before and after it.
    pub cancellation_id: CancellationId,
    /// The instant at which it takes effect.
    pub effective_at: DateTime<Utc>,
    /// Why. Absent only if the subscription was imported with its cancellation pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why, in the caller's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The caller's own data: JSON as it was sent, because a DynamoDB map can't hold every JSON value
    /// (numbers over 38 digits, more than 32 levels).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// The API key that asked for it. Absent only if it was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<KeyId>,
    /// When it was withdrawn, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// The API key that withdrew it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_by: Option<KeyId>,
}

/// A subscription as it is stored.
#[derive(Clone, PartialEq)]
pub struct StoredSubscription {
    /// What callers see of it.
    pub document: Subscription,
    /// Counts the writes: +1 with each.
    pub version: u64,
    /// Its latest cancellation: pending, done or withdrawn.
    pub cancellation: Option<Cancellation>,
}

impl StoredSubscription {
    /// The cancellation that has not taken effect yet.
    #[must_use]
    pub fn pending_cancellation(&self) -> Option<&Cancellation> {
        let pending = self.document.pending_status.as_ref()?;
        if pending.status == Status::Cancelled { self.cancellation.as_ref() } else { None }
    }
}

/// What a request to cancel, or to withdraw that, comes to.
#[derive(Clone, PartialEq)]
pub enum Decision {
    /// Write this: the subscription with its cancellation pending, or withdrawn, one version on.
    Change(StoredSubscription),
    /// Succeed and write nothing: the same cancellation is pending already.
    NoChange(StoredSubscription),
    /// Say no.
    Refuse(Refusal),
}

/// Why the state of a subscription forbids a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none of that name, or it is another tenant's.
    NotFound,
    /// It has been cancelled.
    AlreadyCancelled,
    /// There is no cancellation to withdraw.
    NoPendingCancellation,
}

/// Decides a request to cancel.
///
/// Every status but CANCELLED can be cancelled. The status stays as it is until the date arrives; the
/// pending status becomes CANCELLED, whatever it was before: a pending cancellation is replaced, a
/// pending change to another status superseded. Asking again for the same date and reason changes
/// nothing, so that a caller without an idempotency key can repeat itself too.
#[must_use]
pub fn decide_cancel(
    stored: Option<StoredSubscription>,
    request: &CancelRequest,
    asking: &Asking,
) -> Decision {
    let Some(mut stored) = stored else {
        return Decision::Refuse(Refusal::NotFound);
    };
    if stored.document.status == Status::Cancelled {
        return Decision::Refuse(Refusal::AlreadyCancelled);
    }
    if let Some(pending) = stored.pending_cancellation()
        && pending.effective_at == request.effective.instant()
        && stored.document.pending_status.as_ref().map(|status| status.scheduled_at)
            == Some(request.effective.date())
        && pending.reason == Some(request.reason)
    {
        return Decision::NoChange(stored);
    }
    stored.version += 1;
    stored.document.updated_at = Some(asking.updated_at(&stored.document));
    stored.document.pending_status =
        Some(PendingStatus { status: Status::Cancelled, scheduled_at: request.effective.date() });
    stored.cancellation = Some(Cancellation {
        cancellation_id: asking.cancellation_id,
        effective_at: request.effective.instant(),
        reason: Some(request.reason),
        comment: request.comment.clone(),
        metadata: request.metadata.clone(),
        requested_at: asking.now,
        requested_by: Some(asking.requested_by.clone()),
        withdrawn_at: None,
        withdrawn_by: None,
    });
    Decision::Change(stored)
}

/// Decides a request to withdraw the cancellation that is pending.
///
/// It is what callers read that counts: as long as the status is not CANCELLED, the cancellation can be withdrawn, also
/// in the moments between the beginning of its date and its execution. The subscription stays as it is, and the
/// cancellation is kept with it as withdrawn.
#[must_use]
pub fn decide_withdrawal(stored: Option<StoredSubscription>, asking: &Asking) -> Decision {
    let Some(mut stored) = stored else {
        return Decision::Refuse(Refusal::NotFound);
    };
    if stored.document.status == Status::Cancelled {
        return Decision::Refuse(Refusal::AlreadyCancelled);
    }
    let Some(pending) = stored.pending_cancellation().cloned() else {
        return Decision::Refuse(Refusal::NoPendingCancellation);
    };
    stored.version += 1;
    stored.document.updated_at = Some(asking.updated_at(&stored.document));
    stored.document.pending_status = None;
    stored.cancellation = Some(Cancellation {
        withdrawn_at: Some(asking.now),
        withdrawn_by: Some(asking.requested_by.clone()),
        ..pending
    });
    Decision::Change(stored)
}

/// A cancellation that the index of due dates names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueCancellation {
    /// Whose subscription it is.
    pub tenant: TenantId,
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The cancellation that is due.
    pub cancellation_id: CancellationId,
    /// Since when.
    pub effective_at: DateTime<Utc>,
}

/// What the arrival of the date does: the status becomes CANCELLED and every pending change is
/// removed. It holds only while the cancellation it was decided for is the subscription's latest and
/// has not been executed; the store makes that the condition of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The instant at which the cancellation took effect, however late the write comes.
    pub cancelled_at: DateTime<Utc>,
    /// When it was written.
    pub updated_at: DateTime<Utc>,
}

/// Decides a cancellation that the index names: none before its instant.
#[must_use]
pub fn decide_execution(due: &DueCancellation, now: DateTime<Utc>) -> Option<Execution> {
    (due.effective_at <= now).then_some(Execution { cancelled_at: due.effective_at, updated_at: now })
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    const NOW: &str = "2026-01-31T22:30:00Z";

    fn stored(status: Status) -> StoredSubscription {
        let document = serde_json::json!({
            "subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1",
            "status": status,
            "updatedAt": "2025-01-01T00:00:00Z",
        });
        StoredSubscription {
            document: serde_json::from_value(document).unwrap(),
            version: 7,
            cancellation: None,
        }
    }

    fn request(schedule: Schedule, reason: Reason) -> CancelRequest {
        let calendar = Calendar::new(Tz::Europe__Stockholm, NOW.parse().unwrap());
        let effective = schedule.effective(&calendar).unwrap();
        CancelRequest { effective, reason, comment: Some("moving".into()), metadata: Some("{}".into()) }
    }

    fn asking() -> Asking {
        Asking {
            cancellation_id: CancellationId::random(),
            requested_by: "k1".parse().unwrap(),
            now: NOW.parse().unwrap(),
        }
    }

    fn changed(decision: Decision) -> StoredSubscription {
        match decision {
            Decision::Change(after) => after,
            Decision::NoChange(_) => panic!("nothing was changed"),
            Decision::Refuse(refusal) => panic!("{refusal:?}"),
        }
    }

    #[test]
    fn every_status_but_cancelled_can_be_cancelled_and_stays_until_the_date() {
        for status in [Status::Pending, Status::Activated, Status::Blocked, Status::Paused] {
            let asking = asking();
            let request = request(Schedule::NextDay, Reason::NoNeed);
            let after = changed(decide_cancel(Some(stored(status)), &request, &asking));

            assert_eq!(after.version, 8);
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
            assert_eq!(cancellation.cancellation_id, asking.cancellation_id);
            assert_eq!(cancellation.effective_at, "2026-01-31T23:00:00Z".parse::<DateTime<Utc>>().unwrap());
            assert_eq!(cancellation.reason, Some(Reason::NoNeed));
            assert_eq!(cancellation.comment.as_deref(), Some("moving"));
            assert_eq!(cancellation.requested_at, asking.now);
            assert_eq!(cancellation.requested_by, Some(asking.requested_by));
        }
        let refused = decide_cancel(
            Some(stored(Status::Cancelled)),
            &request(Schedule::NextDay, Reason::NoNeed),
            &asking(),
        );
        assert!(refused == Decision::Refuse(Refusal::AlreadyCancelled));
    }

    #[test]
    fn what_does_not_exist_is_not_found() {
        let request = request(Schedule::NextDay, Reason::NoNeed);
        assert!(decide_cancel(None, &request, &asking()) == Decision::Refuse(Refusal::NotFound));
    }

    #[test]
    fn the_same_instant_and_reason_change_nothing() {
        let first = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(decide_cancel(Some(stored(Status::Activated)), &first, &asking()));

        // On 31 January the next day and the next month begin at the same instant.
        let again = request(Schedule::BeginningOfNextMonth, Reason::NoNeed);
        let decision = decide_cancel(Some(pending.clone()), &again, &asking());
        assert!(decision == Decision::NoChange(pending));
    }

    #[test]
    fn another_reason_or_date_replaces_the_pending_cancellation() {
        let first = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(decide_cancel(Some(stored(Status::Activated)), &first, &asking()));
        let date = "2026-03-15".parse().unwrap();

        for other in
            [request(Schedule::NextDay, Reason::Fraud), request(Schedule::AtDate(date), Reason::NoNeed)]
        {
            let asking = asking();
            let after = changed(decide_cancel(Some(pending.clone()), &other, &asking));
            assert_eq!(after.version, 9);
            let replacement = after.pending_cancellation().unwrap();
            assert_eq!(replacement.cancellation_id, asking.cancellation_id);
            assert_eq!(replacement.effective_at, other.effective.instant());
        }
    }

    #[test]
    fn a_pending_change_to_another_status_is_superseded() {
        let mut paused_soon = stored(Status::Activated);
        paused_soon.document.pending_status =
            Some(PendingStatus { status: Status::Paused, scheduled_at: "2026-02-01".parse().unwrap() });
        assert!(paused_soon.pending_cancellation().is_none());

        let request = request(Schedule::NextDay, Reason::NoNeed);
        let after = changed(decide_cancel(Some(paused_soon), &request, &asking()));
        assert!(after.pending_cancellation().is_some());
    }

    #[test]
    fn a_withdrawn_cancellation_is_kept_as_withdrawn_and_the_subscription_stays_as_it_was() {
        for status in [Status::Pending, Status::Activated, Status::Blocked, Status::Paused] {
            let request = request(Schedule::NextDay, Reason::NoNeed);
            let pending = changed(decide_cancel(Some(stored(status)), &request, &asking()));
            // Its date has begun; it has not been executed.
            let asking = Asking { now: "2026-02-01T08:00:00Z".parse().unwrap(), ..asking() };
            let after = changed(decide_withdrawal(Some(pending.clone()), &asking));

            assert_eq!(after.version, 9);
            assert_eq!(after.document.status, status);
            assert_eq!(after.document.updated_at, Some(asking.now));
            assert_eq!(after.document.pending_status, None);
            assert!(after.pending_cancellation().is_none());
            let (before, kept) = (pending.cancellation.unwrap(), after.cancellation.unwrap());
            assert_eq!(kept.withdrawn_at, Some(asking.now));
            assert_eq!(kept.withdrawn_by.as_ref(), Some(&asking.requested_by));
            assert!(Cancellation { withdrawn_at: None, withdrawn_by: None, ..kept } == before);
        }
    }

    #[test]
    fn each_change_is_updated_later_than_the_one_before() {
        let first = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(decide_cancel(Some(stored(Status::Activated)), &first, &asking()));
        let other = request(Schedule::NextDay, Reason::Fraud);
        // In the same millisecond, and from before.
        let replaced = changed(decide_cancel(Some(pending), &other, &asking()));
        let earlier = Asking { now: "2026-01-31T22:29:30Z".parse().unwrap(), ..asking() };
        let withdrawn = changed(decide_withdrawal(Some(replaced.clone()), &earlier));
        let at = |stored: &StoredSubscription| stored.document.updated_at.unwrap().to_rfc3339();
        assert_eq!(at(&replaced), "2026-01-31T22:30:00.001+00:00");
        assert_eq!(at(&withdrawn), "2026-01-31T22:30:00.002+00:00");
        assert_eq!(withdrawn.cancellation.as_ref().unwrap().withdrawn_at, Some(earlier.now));

        // What comes from far ahead, an import may have made up.
        let long_before = Asking { now: "2025-06-01T00:00:00Z".parse().unwrap(), ..asking() };
        let again = changed(decide_cancel(Some(withdrawn), &first, &long_before));
        assert_eq!(again.document.updated_at, Some(long_before.now));
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
        let pending = changed(decide_cancel(Some(stored(Status::Activated)), &request, &asking()));
        let withdrawn = changed(decide_withdrawal(Some(pending), &asking()));
        assert_eq!(refusal(Some(withdrawn.clone())), Refusal::NoPendingCancellation);
        // And it can be asked for anew.
        let again = changed(decide_cancel(Some(withdrawn), &request, &asking()));
        assert_eq!(again.pending_cancellation().unwrap().withdrawn_at, None);
    }

    #[test]
    fn nothing_is_executed_before_its_instant() {
        let due = DueCancellation {
            tenant: "demo".parse().unwrap(),
            subscription_id: "a81bc81b-dead-4e5d-abff-90865d1e13b1".parse().unwrap(),
            cancellation_id: CancellationId::random(),
            effective_at: "2026-01-31T23:00:00Z".parse().unwrap(),
        };
        assert_eq!(decide_execution(&due, "2026-01-31T22:59:59.999Z".parse().unwrap()), None);

        let late = "2026-02-03T08:00:00Z".parse().unwrap();
        let execution = decide_execution(&due, late).unwrap();
        assert_eq!(execution.cancelled_at, due.effective_at);
        assert_eq!(execution.updated_at, late);
        assert!(decide_execution(&due, due.effective_at).is_some());
    }
}
