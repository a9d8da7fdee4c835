//! The details of a cancellation, as callers see them: what was requested, by whom, and what came of it.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_with::skip_serializing_none;

use crate::calendar::TimeZone;
use crate::cancellation::{Cancellation, CancellationState, Reason};
use crate::identifiers::CancellationId;
use crate::origin::Requester;
use crate::stored::StoredSubscription;

/// A cancellation, as callers see it.
#[skip_serializing_none]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CancellationDetails {
    /// The id of the cancellation.
    pub cancellation_id: CancellationId,
    /// The state of the cancellation. Absent if it is unclear; callers see no such cancellation.
    pub state: Option<CancellationState>,
    /// The tenant's local date on which the cancellation takes effect, or did.
    pub scheduled_at: Option<NaiveDate>,
    /// The instant at which the cancellation takes effect, or did.
    pub effective_at: DateTime<Utc>,
    /// The tenant's time zone, by its IANA name.
    pub time_zone: String,
    /// The reason. Absent if no request made the cancellation.
    pub reason: Option<Reason>,
    /// The reason in the caller's words.
    pub comment: Option<Hidden<String>>,
    /// The caller's own data: JSON as it was sent, to the digit.
    pub metadata: Option<Hidden<Box<RawValue>>>,
    /// The time of the request.
    pub requested_at: DateTime<Utc>,
    /// The requester. Absent if the cancellation was imported.
    pub requested_by: Option<Requester>,
    /// The time at which the cancellation was withdrawn, if it was.
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// The requester of the withdrawal, if that is known.
    pub withdrawn_by: Option<Requester>,
    /// The time at which the cancellation was executed, if that is known.
    pub executed_at: Option<DateTime<Utc>>,
    /// The cancellation that was put in its place, if it was replaced.
    pub replaced_by: Option<CancellationId>,
}

impl CancellationDetails {
    /// The details of a cancellation in this state.
    pub(crate) fn new(kept: &Cancellation, state: Option<CancellationState>, time_zone: &TimeZone) -> Self {
        Self {
            cancellation_id: kept.cancellation_id,
            state,
            scheduled_at: kept.scheduled_at,
            effective_at: kept.effective_at,
            time_zone: time_zone.name().to_owned(),
            reason: kept.reason,
            comment: kept.comment.clone().map(Hidden),
            // The text was JSON when it was stored. Text that another system wrote in its place is left out.
            metadata: kept.metadata.clone().and_then(|text| RawValue::from_string(text).ok()).map(Hidden),
            requested_at: kept.requested_at,
            requested_by: kept.requester(),
            withdrawn_at: kept.withdrawn_at,
            withdrawn_by: kept.withdrawer(),
            executed_at: kept.executed_at,
            replaced_by: None,
        }
    }
}

impl StoredSubscription {
    /// The details of the latest cancellation, for a tenant in this time zone. `None` if there is none, or if its state is unclear.
    #[must_use]
    pub fn cancellation_details(&self, time_zone: &TimeZone) -> Option<CancellationDetails> {
        self.kept_cancellation(time_zone).filter(|details| details.state.is_some())
    }

    /// The details of the latest cancellation, also if its state is unclear.
    #[must_use]
    pub fn kept_cancellation(&self, time_zone: &TimeZone) -> Option<CancellationDetails> {
        let state = self.cancellation_state();
        let mut details = CancellationDetails::new(self.cancellation.as_ref()?, state, time_zone);
        // A cancellation that an earlier version of this service wrote has no date of its own.
        details.scheduled_at = details.scheduled_at.or_else(|| self.pending_date());
        Some(details)
    }
}

/// A value that debug output omits, because it may be personal.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Hidden<T>(pub T);

impl<T> std::fmt::Debug for Hidden<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::*;

    #[test]
    fn the_details_show_the_request_and_what_came_of_it() {
        let metadata = r#"{"digits":1.0000000000000000000001}"#;
        let asked = CancelRequest {
            metadata: Some(metadata.to_owned()),
            ..request(Schedule::NextDay, Reason::NoNeed)
        };
        let asking = asking();
        let pending = changed(cancel(Some(stored(Status::Activated)), &asked, &asking));
        let details = pending.cancellation_details(&zone("Europe/Stockholm")).unwrap();
        let text = serde_json::to_string(&details).unwrap();
        assert!(text.contains(&format!("\"metadata\":{metadata}")), "{text}");
        let mut shown: serde_json::Value = serde_json::from_str(&text).unwrap();
        shown.as_object_mut().unwrap().remove("metadata");
        let by = json!({"keyId": "k1", "keyName": "CRM", "actor": "agent-17"});
        assert_eq!(
            shown,
            json!({
                "cancellationId": asking.ids.cancellation,
                "state": "PENDING",
                "scheduledAt": "2026-02-01",
                "effectiveAt": "2026-01-31T23:00:00Z",
                "timeZone": "Europe/Stockholm",
                "reason": "NO_NEED",
                "comment": "moving",
                "requestedAt": NOW,
                "requestedBy": by,
            })
        );
        let debug = format!("{details:?}");
        assert!(!debug.contains("moving") && !debug.contains("digits") && !debug.contains("17"), "{debug}");

        let withdrawn = changed(decide_withdrawal(Some(pending), &asking));
        let shown = json!(withdrawn.cancellation_details(&zone("UTC")).unwrap());
        assert_eq!((&shown["state"], &shown["withdrawnAt"]), (&json!("WITHDRAWN"), &json!(NOW)));
        assert_eq!((&shown["withdrawnBy"], &shown["requestedBy"]), (&by, &by));
        assert!(stored(Status::Activated).cancellation_details(&zone("UTC")).is_none());
    }

    #[test]
    fn a_withdrawn_cancellation_of_a_subscription_that_another_system_ended_stays_withdrawn() {
        let asked = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(cancel(Some(stored(Status::Activated)), &asked, &asking()));
        let withdrawn = changed(decide_withdrawal(Some(pending.clone()), &asking()));
        let ended = |before: StoredSubscription| {
            let document = Subscription { status: Status::Cancelled, ..before.document };
            StoredSubscription::new(document, before.revision, before.cancellation, None)
        };
        assert_eq!(ended(withdrawn).cancellation_state(), Some(CancellationState::Withdrawn));
        // An earlier version of this service executed it, and noted no time.
        let mut executed = pending;
        executed.document.pending_status = None;
        assert_eq!(ended(executed).cancellation_state(), Some(CancellationState::Executed));
    }
}
