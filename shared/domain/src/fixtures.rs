//! Subscriptions and requests for the tests of decisions.

pub(crate) use crate::calendar::{Calendar, TimeZone};
pub(crate) use crate::cancel::{Asking, Decision, Refusal, decide_cancel};
pub(crate) use crate::cancellation::{CancelRequest, Cancellation, Reason, Schedule};
pub(crate) use crate::execute::DueCancellation;
pub(crate) use crate::identifiers::NewIds;
pub(crate) use crate::ids::uuid;
pub(crate) use crate::origin::{Author, Requester};
pub(crate) use crate::stored::{Revision, StoredSubscription};
pub(crate) use crate::subscription::{PendingStatus, Status, Subscription};
pub(crate) use crate::withdraw::decide_withdrawal;

pub(crate) const NOW: &str = "2026-01-31T22:30:00Z";

pub(crate) fn zone(name: &str) -> TimeZone {
    name.parse().unwrap()
}

pub(crate) fn stored(status: Status) -> StoredSubscription {
    let document = serde_json::json!({
        "subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1",
        "status": status,
        "updatedAt": "2025-01-01T00:00:00Z",
    });
    let revision = Revision { version: 7, write_id: None };
    StoredSubscription::new(serde_json::from_value(document).unwrap(), revision, None, None)
}

pub(crate) fn request(schedule: Schedule, reason: Reason) -> CancelRequest {
    CancelRequest { schedule, reason, comment: Some("moving".into()), metadata: Some("{}".into()) }
}

pub(crate) fn calendar() -> Calendar {
    Calendar::new(zone("Europe/Stockholm"), NOW.parse().unwrap())
}

pub(crate) fn cancel(
    stored: Option<StoredSubscription>,
    request: &CancelRequest,
    asking: &Asking,
) -> Decision {
    decide_cancel(stored, request, &calendar(), asking)
}

pub(crate) fn asking() -> Asking {
    Asking {
        ids: NewIds { cancellation: uuid().into(), write: uuid().into() },
        requested_by: Requester {
            key_id: "k1".parse().ok(),
            key_name: Some("CRM".to_owned()),
            actor: "agent-17".parse().ok(),
            batch: None,
        },
        author: Author::request("r1"),
        now: NOW.parse().unwrap(),
    }
}

pub(crate) fn changed(decision: Decision) -> StoredSubscription {
    match decision {
        Decision::Change(changed) => changed.after,
        Decision::NoChange(_) => panic!("nothing was changed"),
        Decision::Refuse(refusal) => panic!("{refusal:?}"),
    }
}

pub(crate) fn due() -> DueCancellation {
    DueCancellation {
        tenant: "demo".parse().unwrap(),
        subscription_id: "a81bc81b-dead-4e5d-abff-90865d1e13b1".parse().unwrap(),
        cancellation_id: uuid().into(),
        effective_at: "2026-01-31T23:00:00Z".parse().unwrap(),
    }
}
