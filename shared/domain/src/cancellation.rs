//! The rules: what a request to cancel does to a subscription, what withdrawing that does, and what the arrival of its
//! date does.
//!
//! All are decided here from values alone: no clock, no database. The decision is a value too, and
//! the store writes exactly that, on the condition that the state it was decided from still stands.
//!
//! **One truth of "pending"**: a cancellation is pending if the index of due dates names it, the subscription keeps it, and
//! the document says so, all three of the same ([`Claims::standing`]). Every reader and every writer goes by that; and
//! what only one of the three says is a [`Contradiction`], which nothing executes.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::calendar::{Calendar, EffectiveDate, UnusableDate};
use crate::identifiers::{CancellationId, KeyId, NewIds, SubscriptionId, TenantId, WriteId};
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

/// A request to cancel that has passed every check that needs neither stored state nor the time.
#[derive(Clone, PartialEq)]
pub struct CancelRequest {
    /// When.
    pub schedule: Schedule,
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
        shown.field("schedule", &self.schedule).field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Who asks, and when: what the decision needs beside the request itself.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The id that the cancellation gets if one comes of it.
    pub cancellation_id: CancellationId,
    /// The id of the write if there is one.
    pub write_id: WriteId,
    /// The API key that asks.
    pub requested_by: KeyId,
    /// When it asks.
    pub now: DateTime<Utc>,
}

/// When a subscription is updated that is changed at `now`: later than before, whoever wrote that and by whatever clock. So
/// changes can be told apart, and put in order.
#[must_use]
pub fn updated_at(before: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    let next = before.and_then(|before| before.checked_add_signed(TimeDelta::milliseconds(1)));
    // RFC 3339 has no later year. An import takes in nothing that is so late.
    next.filter(|next| next.year() <= 9999).map_or(now, |next| next.max(now))
}

/// A cancellation as it is kept with its subscription, also after it took effect or was withdrawn, for reporting.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancellation {
    /// Tells this cancellation from those before and after it.
    pub cancellation_id: CancellationId,
    /// The date that callers were told. Absent of one that an earlier version of this service wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<NaiveDate>,
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

impl Cancellation {
    /// One that is pending from `now`, of which nothing else is known, as of one that was imported.
    #[must_use]
    pub fn new(id: CancellationId, effective: EffectiveDate, now: DateTime<Utc>) -> Self {
        Self {
            cancellation_id: id,
            scheduled_at: Some(effective.date()),
            effective_at: effective.instant(),
            reason: None,
            comment: None,
            metadata: None,
            requested_at: now,
            requested_by: None,
            withdrawn_at: None,
            withdrawn_by: None,
        }
    }

    /// How the index names it.
    #[must_use]
    pub fn entry(&self) -> IndexEntry {
        IndexEntry::Due(self.cancellation_id, self.effective_at)
    }
}

/// One state of a subscription: its version, which counts the writes, and the id of the write that made it. It is shown as the
/// `ETag`, `7-0f3a9c2e71d4`, and no other state has the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counts the writes: +1 with each.
    pub version: u64,
    /// The write that made it. Absent if an earlier version of this service wrote it, or another system did.
    pub write_id: Option<WriteId>,
}

impl Revision {
    /// The one that follows, by this write.
    #[must_use]
    pub fn next(&self, write_id: WriteId) -> Self {
        Self { version: self.version + 1, write_id: Some(write_id) }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.write_id {
            Some(write_id) => write!(formatter, "{}-{write_id}", self.version),
            None => self.version.fmt(formatter),
        }
    }
}

/// What the index of due dates says of a subscription.
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
    /// What the document says that it is.
    pub status: Status,
    /// What the document says that it will be.
    pub pending_status: Option<PendingStatus>,
    /// The latest cancellation that is kept with it: its id and its instant, and its date if that is known.
    pub kept: Option<(IndexEntry, Option<NaiveDate>)>,
    /// What the index says.
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

/// A subscription as it is stored.
#[derive(Clone, PartialEq)]
pub struct StoredSubscription {
    /// What callers see of it. It has a pending status of CANCELLED only if that will be executed.
    pub document: Subscription,
    /// Which of its states this is.
    pub revision: Revision,
    /// Its latest cancellation: pending, done or withdrawn.
    pub cancellation: Option<Cancellation>,
    contradiction: Option<(Contradiction, Option<NaiveDate>)>,
}

/// Comment, metadata and most of the document may be personal, so it never prints itself whole.
impl fmt::Debug for StoredSubscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("StoredSubscription");
        shown.field("document", &self.document).field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl StoredSubscription {
    /// Puts together what is stored.
    #[must_use]
    pub fn new(
        mut document: Subscription,
        revision: Revision,
        cancellation: Option<Cancellation>,
        entry: Option<IndexEntry>,
    ) -> Self {
        let kept = cancellation.as_ref().map(|kept| (kept.entry(), kept.scheduled_at));
        let claims =
            Claims { status: document.status, pending_status: document.pending_status.clone(), kept, entry };
        let contradiction = match claims.standing() {
            Standing::Contradictory(contradiction) => Some((contradiction, claims.date())),
            Standing::NotPending | Standing::Pending => None,
        };
        if claims.standing() != Standing::Pending {
            // What will not happen is not told.
            document.pending_status.take_if(|pending| pending.status == Status::Cancelled);
        }
        Self { document, revision, cancellation, contradiction }
    }

    /// The cancellation that has not taken effect yet.
    #[must_use]
    pub fn pending_cancellation(&self) -> Option<&Cancellation> {
        let pending = self.document.pending_status.as_ref()?;
        if pending.status == Status::Cancelled { self.cancellation.as_ref() } else { None }
    }

    /// Whether a cancellation is pending.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (&self.contradiction, self.pending_cancellation()) {
            (Some((contradiction, _)), _) => Standing::Contradictory(*contradiction),
            (None, Some(_)) => Standing::Pending,
            (None, None) => Standing::NotPending,
        }
    }

    /// The date on which the document says that it will be cancelled, though nothing would do that.
    #[must_use]
    pub fn claimed_date(&self) -> Option<NaiveDate> {
        self.contradiction.as_ref().and_then(|(_, date)| *date)
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

/// Why a change is refused for good: by the state of a subscription, or by the time. An answer that says so is recorded under the
/// idempotency key, as a success is, so that no earlier attempt with that key is done after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none of that name, or it is another tenant's.
    NotFound,
    /// It has been cancelled.
    AlreadyCancelled,
    /// There is no cancellation to withdraw.
    NoPendingCancellation,
    /// The date can't be one on which it is cancelled.
    UnusableDate(UnusableDate),
    /// The caller wants another state changed than this one.
    OtherRevision(Revision),
}

/// Decides a request to cancel, in the tenant's calendar.
///
/// Every status but CANCELLED can be cancelled. The status stays as it is until the date arrives; the
/// pending status becomes CANCELLED, whatever it was before: a pending cancellation is replaced, a
/// pending change to another status superseded. Asking again for the same date and reason changes
/// nothing, so that a caller without an idempotency key can repeat itself too.
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
    let Some(mut stored) = stored else {
        return Decision::Refuse(Refusal::NotFound);
    };
    if stored.document.status == Status::Cancelled {
        return Decision::Refuse(Refusal::AlreadyCancelled);
    }
    if let Some(pending) = stored.pending_cancellation()
        && pending.effective_at == effective.instant()
        && stored.document.pending_status.as_ref().map(|status| status.scheduled_at) == Some(effective.date())
        && pending.reason == Some(request.reason)
    {
        return Decision::NoChange(stored);
    }
    stored.change(asking.write_id.clone(), asking.now);
    stored.document.pending_status =
        Some(PendingStatus { status: Status::Cancelled, scheduled_at: effective.date() });
    stored.cancellation = Some(Cancellation {
        reason: Some(request.reason),
        comment: request.comment.clone(),
        metadata: request.metadata.clone(),
        requested_by: Some(asking.requested_by.clone()),
        ..Cancellation::new(asking.cancellation_id, effective, asking.now)
    });
    Decision::Change(stored)
}

/// Decides a request to withdraw the cancellation that is pending.
///
/// As long as the status is not CANCELLED, a pending cancellation can be withdrawn, also
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
    stored.change(asking.write_id.clone(), asking.now);
    stored.document.pending_status = None;
    stored.cancellation = Some(Cancellation {
        withdrawn_at: Some(asking.now),
        withdrawn_by: Some(asking.requested_by.clone()),
        ..pending
    });
    Decision::Change(stored)
}

impl StoredSubscription {
    /// What every change does beside what it is about. What contradicted itself is written anew, all of it.
    fn change(&mut self, write_id: WriteId, now: DateTime<Utc>) {
        self.revision = self.revision.next(write_id);
        self.document.updated_at = Some(updated_at(self.document.updated_at, now));
        self.contradiction = None;
    }
}

/// Decides whether the instant of a pending cancellation has to be moved: its promised date stays, and begins at another instant
/// since the tenant's time zone, or its rules, have changed.
#[must_use]
pub fn decide_rederivation(
    mut stored: StoredSubscription,
    calendar: &Calendar,
    write_id: WriteId,
) -> Option<StoredSubscription> {
    let date = stored.document.pending_status.as_ref()?.scheduled_at;
    let mut pending = stored.pending_cancellation()?.clone();
    let effective_at = calendar.beginning_on_or_after(date).instant();
    if pending.effective_at == effective_at {
        return None;
    }
    pending.effective_at = effective_at;
    pending.scheduled_at = Some(date);
    stored.change(write_id, calendar.now());
    stored.cancellation = Some(pending);
    Some(stored)
}

/// Which part of a subscription counts that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// The document: what it says is pending will be executed, and nothing else.
    Document,
    /// The cancellation that is kept: unless it was withdrawn, it will be executed.
    Cancellation,
}

/// Decides how a subscription that contradicts itself is made whole; `None` if it does not. What is CANCELLED stays so.
///
/// A cancellation that is pending afterwards has a new id, so that nothing executes it for another date.
#[must_use]
pub fn decide_repair(
    mut stored: StoredSubscription,
    counts: Counts,
    calendar: &Calendar,
    ids: NewIds,
) -> Option<StoredSubscription> {
    let Standing::Contradictory(contradiction) = stored.standing() else {
        return None;
    };
    let kept = stored.cancellation.take();
    let date = match (contradiction, counts) {
        (Contradiction::EndedBefore, _) => None,
        (_, Counts::Document) => stored.claimed_date(),
        (_, Counts::Cancellation) => kept
            .as_ref()
            .filter(|kept| kept.withdrawn_at.is_none())
            .map(|kept| kept.scheduled_at.unwrap_or_else(|| calendar.date_at(kept.effective_at))),
    };
    // No other date can be in the index.
    let date = date.filter(|date| (0..=9999).contains(&date.year()));
    stored.change(ids.write, calendar.now());
    stored.cancellation = match date {
        Some(date) => {
            let effective = calendar.beginning_on_or_after(date);
            stored.document.pending_status =
                Some(PendingStatus { status: Status::Cancelled, scheduled_at: date });
            let new = Cancellation::new(ids.cancellation, effective, calendar.now());
            Some(match kept {
                Some(kept) => Cancellation {
                    cancellation_id: new.cancellation_id,
                    scheduled_at: Some(date),
                    effective_at: new.effective_at,
                    withdrawn_at: None,
                    withdrawn_by: None,
                    ..kept
                },
                None => new,
            })
        }
        None => kept.map(|kept| Cancellation {
            withdrawn_at: Some(kept.withdrawn_at.unwrap_or(calendar.now())),
            ..kept
        }),
    };
    Some(stored)
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
/// removed. It holds only while the cancellation it was decided for is pending; the store makes that the condition of its
/// write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The date that the document names; another one was not decided about.
    pub date: NaiveDate,
    /// The instant at which the cancellation took effect, however late the write comes.
    pub cancelled_at: DateTime<Utc>,
    /// When it was written, or a millisecond after what was written before.
    pub updated_at: DateTime<Utc>,
    /// The id of the write.
    pub write_id: WriteId,
}

/// Decides a cancellation that the index names, whose document says that it is for `date`: nothing is done before the instant
/// that was promised, nor before that date has begun by the time zone and its rules that are in force now. These may have
/// changed since the instant was promised.
#[must_use]
pub fn decide_execution(
    due: &DueCancellation,
    date: NaiveDate,
    updated_before: Option<DateTime<Utc>>,
    calendar: &Calendar,
    write_id: WriteId,
) -> Option<Execution> {
    let now = calendar.now();
    let cancelled_at = calendar.beginning_on_or_after(date).instant().max(due.effective_at);
    (cancelled_at <= now).then(|| Execution {
        date,
        cancelled_at,
        updated_at: updated_at(updated_before, now),
        write_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::TimeZone;
    use crate::ids::uuid;

    const NOW: &str = "2026-01-31T22:30:00Z";

    fn zone(name: &str) -> TimeZone {
        name.parse().unwrap()
    }

    fn stored(status: Status) -> StoredSubscription {
        let document = serde_json::json!({
            "subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1",
            "status": status,
            "updatedAt": "2025-01-01T00:00:00Z",
        });
        let revision = Revision { version: 7, write_id: None };
        StoredSubscription::new(serde_json::from_value(document).unwrap(), revision, None, None)
    }

    fn request(schedule: Schedule, reason: Reason) -> CancelRequest {
        CancelRequest { schedule, reason, comment: Some("moving".into()), metadata: Some("{}".into()) }
    }

    fn calendar() -> Calendar {
        Calendar::new(zone("Europe/Stockholm"), NOW.parse().unwrap())
    }

    fn cancel(stored: Option<StoredSubscription>, request: &CancelRequest, asking: &Asking) -> Decision {
        decide_cancel(stored, request, &calendar(), asking)
    }

    fn asking() -> Asking {
        Asking {
            cancellation_id: uuid().into(),
            write_id: uuid().into(),
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
            assert_eq!(cancellation.cancellation_id, asking.cancellation_id);
            assert_eq!(cancellation.effective_at, "2026-01-31T23:00:00Z".parse::<DateTime<Utc>>().unwrap());
            assert_eq!(cancellation.reason, Some(Reason::NoNeed));
            assert_eq!(cancellation.comment.as_deref(), Some("moving"));
            assert_eq!(cancellation.requested_at, asking.now);
            assert_eq!(cancellation.requested_by, Some(asking.requested_by));
        }
        let refused =
            cancel(Some(stored(Status::Cancelled)), &request(Schedule::NextDay, Reason::NoNeed), &asking());
        assert!(refused == Decision::Refuse(Refusal::AlreadyCancelled));
    }

    #[test]
    fn what_does_not_exist_is_not_found() {
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
        assert!(decision == Decision::NoChange(pending));
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
            let replacement = after.pending_cancellation().unwrap();
            assert_eq!(replacement.cancellation_id, asking.cancellation_id);
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
    fn a_withdrawn_cancellation_is_kept_as_withdrawn_and_the_subscription_stays_as_it_was() {
        for status in [Status::Pending, Status::Activated, Status::Blocked, Status::Paused] {
            let request = request(Schedule::NextDay, Reason::NoNeed);
            let pending = changed(cancel(Some(stored(status)), &request, &asking()));
            // Its date has begun; it has not been executed.
            let asking = Asking { now: "2026-02-01T08:00:00Z".parse().unwrap(), ..asking() };
            let after = changed(decide_withdrawal(Some(pending.clone()), &asking));

            assert_eq!(after.revision.version, 9);
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
        // And it can be asked for anew.
        let again = changed(cancel(Some(withdrawn), &request, &asking()));
        assert_eq!(again.pending_cancellation().unwrap().withdrawn_at, None);
    }

    fn due() -> DueCancellation {
        DueCancellation {
            tenant: "demo".parse().unwrap(),
            subscription_id: "a81bc81b-dead-4e5d-abff-90865d1e13b1".parse().unwrap(),
            cancellation_id: uuid().into(),
            effective_at: "2026-01-31T23:00:00Z".parse().unwrap(),
        }
    }

    /// What is executed at this instant of a cancellation that was promised for 1 February in Stockholm.
    fn executed(zone: TimeZone, now: &str) -> Option<Execution> {
        let calendar = Calendar::new(zone, now.parse().unwrap());
        decide_execution(&due(), "2026-02-01".parse().unwrap(), None, &calendar, uuid().into())
    }

    #[test]
    fn nothing_is_executed_before_its_instant() {
        let in_stockholm = |now| executed(zone("Europe/Stockholm"), now);
        assert_eq!(in_stockholm("2026-01-31T22:59:59.999Z"), None);

        let execution = in_stockholm("2026-02-03T08:00:00Z").unwrap();
        assert_eq!(execution.cancelled_at, due().effective_at);
        assert_eq!(execution.updated_at.to_rfc3339(), "2026-02-03T08:00:00+00:00");
        assert!(in_stockholm("2026-01-31T23:00:00Z").is_some());
    }

    #[test]
    fn nothing_is_executed_before_its_date_has_begun_in_the_time_zone_that_is_in_force() {
        let in_new_york = |now| executed(zone("America/New_York"), now);
        assert_eq!(in_new_york("2026-02-01T04:59:59Z"), None);
        let execution = in_new_york("2026-02-01T05:00:00Z").unwrap();
        assert_eq!(execution.cancelled_at.to_rfc3339(), "2026-02-01T05:00:00+00:00");
        // Nor before the instant that was promised, though the date has begun there.
        assert_eq!(executed(zone("Pacific/Auckland"), "2026-01-31T22:59:59Z"), None);
        let execution = executed(zone("Pacific/Auckland"), "2026-01-31T23:00:00Z").unwrap();
        assert_eq!(execution.cancelled_at, due().effective_at);
    }

    #[test]
    fn an_execution_is_updated_later_than_what_it_finds() {
        let calendar = Calendar::new(TimeZone::UTC, "2026-02-01T00:00:00Z".parse().unwrap());
        let before = Some("2026-02-01T00:30:00Z".parse().unwrap());
        let date = "2026-02-01".parse().unwrap();
        let execution = decide_execution(&due(), date, before, &calendar, uuid().into()).unwrap();
        assert_eq!(execution.updated_at.to_rfc3339(), "2026-02-01T00:30:00.001+00:00");
    }

    /// A subscription whose parts say this of its cancellation.
    fn parts(status: Status, in_document: Option<&str>, kept: bool, indexed: bool) -> StoredSubscription {
        let Decision::Change(pending) =
            cancel(Some(stored(status)), &request(Schedule::NextDay, Reason::NoNeed), &asking())
        else {
            panic!("not cancelled");
        };
        let cancellation = pending.cancellation.unwrap();
        let entry = cancellation.entry();
        let scheduled_at =
            |date: &str| PendingStatus { status: Status::Cancelled, scheduled_at: date.parse().unwrap() };
        let document = Subscription { pending_status: in_document.map(scheduled_at), ..pending.document };
        let kept = kept.then_some(cancellation);
        StoredSubscription::new(document, pending.revision, kept, indexed.then_some(entry))
    }

    #[test]
    fn a_cancellation_is_pending_only_if_all_parts_say_so() {
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
    fn what_was_ended_by_others_is_not_executed() {
        let mut stored = parts(Status::Activated, None, true, true);
        stored.document.status = Status::Cancelled;
        let entry = stored.cancellation.as_ref().map(Cancellation::entry);
        let ended = StoredSubscription::new(stored.document, stored.revision, stored.cancellation, entry);
        assert_eq!(ended.standing(), Standing::Contradictory(Contradiction::EndedBefore));
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
