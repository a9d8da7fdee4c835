//! History: one entry for each change of a subscription.
//!
//! An entry is decided from one write alone: the subscription before and after it, and its time. So one write always gives the same
//! entry, however often it is recorded. Each entry names the revision that it follows. So the entries of a subscription are a
//! chain that ends at the subscription as it is, and a missing entry shows ([`verify`]).

mod continuity;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_with::skip_serializing_none;

pub use self::continuity::{HistoryFault, Line, Verified, last_entry, verify};
use crate::calendar::TimeZone;
use crate::cancellation::{Cancellation, CancellationState};
use crate::details::CancellationDetails;
use crate::event::inferred_cause;
use crate::origin::{Cause, Origin, Requester, Source};
use crate::stored::{Revision, StoredSubscription};
use crate::subscription::{PendingStatus, Status};

/// One change of a subscription, kept for ever.
#[derive(Clone, PartialEq)]
pub struct HistoryEntry {
    /// The revision that the change made.
    pub revision: Revision,
    /// The revision that was changed. Absent for the first entry.
    pub follows: Option<Revision>,
    /// The time of the change.
    pub at: DateTime<Utc>,
    /// The kind of change.
    pub cause: Cause,
    /// The source of the change.
    pub source: Source,
    /// The maker of the request, or the operator, if that is known.
    pub requested_by: Option<Requester>,
    /// The id of the request in the logs.
    pub request_id: Option<String>,
    /// The latest cancellation after the change, and its state then. Absent if there is none, or if its state is unclear.
    pub cancellation: Option<(Cancellation, CancellationState)>,
    /// The cancellation that was pending before, if the change put another one in its place.
    pub replaced: Option<Cancellation>,
    /// The status after the change.
    pub status: Status,
    /// The scheduled change of status after the change.
    pub pending_status: Option<PendingStatus>,
}

/// Omits everything that may be personal.
impl std::fmt::Debug for HistoryEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("HistoryEntry");
        shown.field("revision", &self.revision).field("cause", &self.cause).finish_non_exhaustive()
    }
}

/// The entries of a write, in their order. `before` is the subscription that the write changed, if it existed; `written_at` is the
/// time of the write, by the database's clock.
///
/// The first entry may be that of `before`: what an import or another system wrote may have been there before the history began.
#[must_use]
pub fn entries_of_write(
    before: Option<&StoredSubscription>,
    after: &StoredSubscription,
    written_at: DateTime<Utc>,
) -> Vec<HistoryEntry> {
    if before.is_some_and(|before| before.revision == after.revision) {
        return Vec::new();
    }
    let may_be_first = |before: &&StoredSubscription| {
        before.origin.as_ref().is_none_or(|origin| origin.cause == Cause::Imported)
    };
    let first = before.filter(may_be_first).map(|before| HistoryEntry::of_present(before, written_at));
    first.into_iter().chain([HistoryEntry::of_write(before, after, written_at)]).collect()
}

impl HistoryEntry {
    /// The entry of a write.
    fn of_write(
        before: Option<&StoredSubscription>,
        after: &StoredSubscription,
        written_at: DateTime<Utc>,
    ) -> Self {
        let origin = match before {
            Some(before) => after.origin_of_write(before),
            None => after.origin.as_ref(),
        };
        let inferred = || before.map_or(Cause::Imported, |before| inferred_cause(before, after));
        let cause = origin.map_or_else(inferred, |origin| origin.cause);
        let at = time_of_change(after, cause, origin).unwrap_or(written_at);
        let was = before.and_then(StoredSubscription::pending_cancellation);
        let is_another = |was: &&Cancellation| {
            after.pending_cancellation().is_some_and(|is| is.cancellation_id != was.cancellation_id)
        };
        Self {
            follows: before.map(|before| before.revision.clone()),
            replaced: was.filter(is_another).cloned(),
            ..Self::new(after, cause, origin, at)
        }
        .dated_by(before)
    }

    /// The entry of a subscription as it is, where the write that made it is not known: of one that was there before its history
    /// began, say. `otherwise` is the time of the entry if the document names none.
    #[must_use]
    pub fn of_present(stored: &StoredSubscription, otherwise: DateTime<Utc>) -> Self {
        let origin = stored.origin.as_ref();
        let cause = origin.map_or(Cause::Imported, |origin| origin.cause);
        let document = &stored.document;
        let at = time_of_change(stored, cause, origin).or(document.updated_at).or(document.created_at);
        Self::new(stored, cause, origin, at.unwrap_or(otherwise)).dated_by(None)
    }

    fn new(after: &StoredSubscription, cause: Cause, origin: Option<&Origin>, at: DateTime<Utc>) -> Self {
        let source = origin.map_or_else(|| usual_source(cause), |origin| origin.source);
        let kept = after.cancellation.as_ref();
        let requested_by = match (source, cause) {
            (Source::Api, Cause::Scheduled | Cause::Replaced) => kept.and_then(Cancellation::requester),
            (Source::Api, Cause::Withdrawn) => kept.and_then(Cancellation::withdrawer),
            _ => {
                let actor = origin.and_then(|origin| origin.actor.clone());
                // Of a batch, if this is the change that the batch made.
                let batch = kept.and_then(|kept| kept.requested_in.clone()).filter(|batch| {
                    origin.and_then(|origin| origin.request_id.as_ref()) == Some(&batch.to_string())
                });
                Requester { actor, batch, ..Requester::default() }.known()
            }
        };
        Self {
            revision: after.revision.clone(),
            follows: None,
            at,
            cause,
            source,
            requested_by,
            request_id: origin.and_then(|origin| origin.request_id.clone()),
            cancellation: kept.cloned().zip(after.cancellation_state()),
            replaced: None,
            status: after.document.status,
            pending_status: after.document.pending_status.clone(),
        }
    }

    /// The same entry, with the date of each cancellation. One that an earlier version of this service wrote has no date of its own.
    fn dated_by(mut self, before: Option<&StoredSubscription>) -> Self {
        let date_before = before.and_then(StoredSubscription::pending_date);
        let date = self.pending_status.as_ref().filter(|pending| pending.ends());
        let date = date.map(|pending| pending.scheduled_at).or(date_before);
        if let Some((cancellation, _)) = &mut self.cancellation {
            cancellation.scheduled_at = cancellation.scheduled_at.or(date);
        }
        if let Some(replaced) = &mut self.replaced {
            replaced.scheduled_at = replaced.scheduled_at.or(date_before);
        }
        self
    }

    /// The entry as callers see it, for a tenant in this time zone.
    #[must_use]
    pub fn details(&self, time_zone: &TimeZone) -> HistoryEntryDetails {
        let cancellation = self.cancellation.as_ref();
        let replaces = self.replaced.as_ref().map(|replaced| CancellationDetails {
            replaced_by: cancellation.map(|(by, _)| by.cancellation_id),
            ..CancellationDetails::new(replaced, Some(CancellationState::Replaced), time_zone)
        });
        HistoryEntryDetails {
            version: self.revision.version,
            at: self.at,
            cause: self.cause,
            source: self.source,
            requested_by: self.requested_by.clone(),
            request_id: self.request_id.clone(),
            cancellation: cancellation
                .map(|(kept, state)| CancellationDetails::new(kept, Some(*state), time_zone)),
            replaces,
            status: self.status,
            pending_status: self.pending_status.clone(),
        }
    }

    /// True if the subscription is as the entry says.
    fn agrees_with(&self, stored: &StoredSubscription) -> bool {
        let present = Self::of_present(stored, self.at);
        let of =
            |entry: &Self| entry.cancellation.as_ref().map(|(kept, state)| (kept.cancellation_id, *state));
        (self.status, &self.pending_status, of(self))
            == (present.status, &present.pending_status, of(&present))
    }
}

/// The time of a change, by the clock of whoever made it. `None` if only the database knows it.
fn time_of_change(
    after: &StoredSubscription,
    cause: Cause,
    origin: Option<&Origin>,
) -> Option<DateTime<Utc>> {
    let updated_at = after.document.updated_at;
    let kept = after.cancellation.as_ref();
    // `updatedAt` may be later than the change: it always grows, also after another clock wrote it.
    match cause {
        Cause::Imported => origin.and_then(|origin| origin.at),
        Cause::Erased => updated_at,
        Cause::Executed => kept.and_then(|kept| kept.executed_at).or(updated_at),
        Cause::Withdrawn => kept.and_then(|kept| kept.withdrawn_at).or(updated_at),
        Cause::Scheduled => kept.map(|kept| kept.requested_at).or(updated_at),
        // A rederivation keeps the cancellation, and with it the time of its request.
        Cause::Replaced if origin.is_some_and(|origin| origin.source != Source::Api) => updated_at,
        Cause::Replaced => kept.map(|kept| kept.requested_at).or(updated_at),
    }
}

/// The source of a change without an origin.
fn usual_source(cause: Cause) -> Source {
    match cause {
        Cause::Scheduled | Cause::Replaced | Cause::Withdrawn => Source::Api,
        Cause::Executed => Source::Schedule,
        Cause::Imported => Source::Import,
        Cause::Erased => Source::Operator,
    }
}

/// An entry of the history, as callers see it.
#[skip_serializing_none]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntryDetails {
    /// The version of the subscription after the change: one more with each change.
    pub version: u64,
    /// The time of the change.
    pub at: DateTime<Utc>,
    /// The kind of change.
    pub cause: Cause,
    /// The source of the change.
    pub source: Source,
    /// The maker of the request, or the operator, if that is known.
    pub requested_by: Option<Requester>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The latest cancellation after the change.
    pub cancellation: Option<CancellationDetails>,
    /// The cancellation that was pending before, if the change put another one in its place.
    pub replaces: Option<CancellationDetails>,
    /// The status after the change.
    pub status: Status,
    /// The scheduled change of status after the change.
    pub pending_status: Option<PendingStatus>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::*;
    use crate::origin::Author;

    const WRITTEN_AT: &str = "2026-01-31T22:30:09Z";

    pub(super) fn entries(
        before: Option<&StoredSubscription>,
        after: &StoredSubscription,
    ) -> Vec<HistoryEntry> {
        entries_of_write(before, after, WRITTEN_AT.parse().unwrap())
    }

    /// The states of a subscription that was added, cancelled, cancelled for another date, and withdrawn.
    pub(super) fn states() -> Vec<StoredSubscription> {
        let mut added = stored(Status::Activated);
        added.revision = Revision { version: 1, write_id: "w1".parse().ok() };
        let added = added.made_by(Some(Author::import("astrid".parse().ok()).change(Cause::Imported)));
        let next = |before: &StoredSubscription, schedule| {
            changed(cancel(Some(before.clone()), &request(schedule, Reason::NoNeed), &asking()))
        };
        let pending = next(&added, Schedule::NextDay);
        let replaced = next(&pending, Schedule::AtDate("2026-03-01".parse().unwrap()));
        let withdrawn = changed(decide_withdrawal(Some(replaced.clone()), &asking()));
        vec![added, pending, replaced, withdrawn]
    }

    /// The history of these states.
    pub(super) fn history(states: &[StoredSubscription]) -> Vec<HistoryEntry> {
        let first = entries(None, &states[0]);
        let rest = states.windows(2).map(|pair| entries(Some(&pair[0]), &pair[1]).pop().unwrap());
        first.into_iter().chain(rest).collect()
    }

    #[test]
    fn an_entry_says_who_changed_what_when_and_why() {
        let states = states();
        let shown: Vec<_> = history(&states).iter().map(|entry| json!(entry.details(&zone("UTC")))).collect();
        let by = json!({"keyId": "k1", "keyName": "CRM", "actor": "agent-17"});
        assert_eq!(
            shown[0],
            json!({
                "version": 1, "at": WRITTEN_AT, "cause": "IMPORTED", "source": "IMPORT",
                "requestedBy": {"actor": "astrid"}, "status": "ACTIVATED",
            })
        );
        assert_eq!(
            (&shown[1]["cause"], &shown[1]["at"], &shown[1]["requestId"]),
            (&json!("SCHEDULED"), &json!(NOW), &json!("r1"))
        );
        assert_eq!(shown[2]["replaces"]["replacedBy"], shown[2]["cancellation"]["cancellationId"]);
        assert_eq!(shown[2]["replaces"]["cancellationId"], shown[1]["cancellation"]["cancellationId"]);
        assert_eq!((&shown[3]["requestedBy"], &shown[3]["cancellation"]["withdrawnBy"]), (&by, &by));
        let debug = format!("{:?}", history(&states));
        assert!(!debug.contains("moving") && !debug.contains("17"), "{debug}");
    }

    #[test]
    fn a_write_has_the_entry_of_the_state_before_if_that_may_have_none() {
        let states = states();
        // An import may have been there before the history began.
        let both = entries(Some(&states[0]), &states[1]);
        assert_eq!(both.iter().map(|entry| entry.revision.version).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((both[0].follows.as_ref(), both[1].follows.as_ref()), (None, Some(&states[0].revision)));
        assert_eq!(
            both[0].requested_by,
            Requester { actor: "astrid".parse().ok(), ..Requester::default() }.known()
        );
        assert_eq!(entries(Some(&states[1]), &states[2]).len(), 1);
        // An earlier version of this service notes no origin.
        let old = states[1].clone().made_by(None);
        let both = entries(Some(&old), &states[2]);
        assert_eq!((both.len(), both[0].cause, both[0].source), (2, Cause::Imported, Source::Import));
        assert_eq!(entries(Some(&old), &old), []);
    }
}
