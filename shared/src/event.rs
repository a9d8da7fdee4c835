//! Events: what is published about a subscription when it changes, for whoever wants to know.
//!
//! An event is decided from the subscription before and after one write, and from nothing else. So the same
//! write always gives the same event, with the same id, however often it is looked at: whoever gets one twice can tell. What
//! callers can't see is no change, and has no event.

use chrono::{DateTime, Utc};
use serde::Serialize;
use strum::VariantArray;
use uuid::{Uuid, uuid};

use crate::identifiers::TenantId;
use crate::subscription::{Status, Subscription};

/// Where events come from, as EventBridge names it.
pub const SOURCE: &str = "connect.subscriptions";

/// What the ids of events are derived under (RFC 9562, section 5.5).
const NAMESPACE: Uuid = uuid!("4f0c6a1e-6d0b-4e0e-9a57-3c1d2b7a9e45");

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, VariantArray)]
pub enum EventType {
    /// Something about it changed: a cancellation was scheduled, replaced or withdrawn, or its document was imported anew.
    #[serde(rename = "subscription.updated")]
    Updated,
    /// Its status became CANCELLED.
    #[serde(rename = "subscription.cancelled")]
    Cancelled,
}

impl EventType {
    /// As it is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Updated => "subscription.updated",
            Self::Cancelled => "subscription.cancelled",
        }
    }
}

/// An event, as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Names what happened: the same each time that it is published.
    pub event_id: Uuid,
    /// What happened.
    pub r#type: EventType,
    /// When: for a cancellation that took effect, the instant that was promised.
    pub occurred_at: DateTime<Utc>,
    /// The subscription after it.
    pub data: Subscription,
}

/// A subscription as a write found it, or left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// What callers see of it.
    pub subscription: Subscription,
    /// Counts the writes: +1 with each.
    pub number: u64,
}

/// Decides which event a write of a tenant's subscription is, if it is one. `written_at` is for what does not say itself when
/// it changed.
#[must_use]
pub fn decide_event(
    tenant: &TenantId,
    before: &Version,
    after: Version,
    written_at: DateTime<Utc>,
) -> Option<Event> {
    let Version { subscription: data, number } = after;
    if data == before.subscription {
        return None;
    }
    let took_effect = data.status == Status::Cancelled && before.subscription.status != Status::Cancelled;
    let r#type = if took_effect { EventType::Cancelled } else { EventType::Updated };
    let promised = data.cancelled_at.filter(|_| took_effect);
    let updated = data.updated_at.filter(|at| before.subscription.updated_at != Some(*at));
    let name = format!("{tenant}#{}/{number}/{}", data.subscription_id, r#type.as_str());
    Some(Event {
        event_id: Uuid::new_v5(&NAMESPACE, name.as_bytes()),
        r#type,
        occurred_at: promised.or(updated).unwrap_or(written_at),
        data,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const AT: &str = "2026-02-01T00:00:05Z";

    fn version(number: u64, document: Value) -> Version {
        let mut all =
            json!({"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "ACTIVATED"});
        all.as_object_mut().unwrap().extend(document.as_object().unwrap().clone());
        Version { subscription: serde_json::from_value(all).unwrap(), number }
    }

    fn event(before: &Version, after: &Version) -> Option<Event> {
        decide_event(&"demo".parse().unwrap(), before, after.clone(), AT.parse().unwrap())
    }

    #[test]
    fn what_callers_see_of_a_change_is_published_in_the_shape_of_the_contract() {
        let before = version(1, json!({"updatedAt": "2026-01-01T00:00:00Z"}));
        let pending = json!({"status": "CANCELLED", "scheduledAt": "2026-02-01"});
        let after = version(2, json!({"updatedAt": "2026-01-31T22:30:00.5Z", "pendingStatus": pending}));
        let told = event(&before, &after).unwrap();
        assert_eq!(
            json!(told),
            json!({
                "eventId": told.event_id,
                "type": "subscription.updated",
                "occurredAt": "2026-01-31T22:30:00.500Z",
                "data": {
                    "subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1",
                    "status": "ACTIVATED",
                    "updatedAt": "2026-01-31T22:30:00.500Z",
                    "pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-02-01"},
                },
            })
        );
        // Withdrawn again.
        let withdrawn = version(3, json!({"updatedAt": "2026-01-31T22:40:00Z"}));
        assert_eq!(event(&after, &withdrawn).unwrap().r#type, EventType::Updated);
    }

    #[test]
    fn what_takes_effect_occurred_at_the_instant_that_was_promised() {
        let before = version(2, json!({}));
        let cancelled = json!({
            "status": "CANCELLED", "cancelledAt": "2026-01-31T23:00:00Z", "updatedAt": "2026-01-31T23:00:41Z",
        });
        let told = event(&before, &version(3, cancelled.clone())).unwrap();
        assert_eq!(
            (told.r#type, json!(told.occurred_at)),
            (EventType::Cancelled, json!("2026-01-31T23:00:00Z"))
        );

        // What is changed about it afterwards, by an import, does not take effect again.
        let mut corrected = cancelled.clone();
        corrected["updatedAt"] = json!("2026-02-02T08:00:00Z");
        let told = event(&version(3, cancelled), &version(4, corrected)).unwrap();
        assert_eq!(
            (told.r#type, json!(told.occurred_at)),
            (EventType::Updated, json!("2026-02-02T08:00:00Z"))
        );
    }

    #[test]
    fn what_does_not_say_when_it_changed_changed_when_it_was_written() {
        let at = |document| {
            event(&version(1, json!({"updatedAt": "2026-01-01T00:00:00Z"})), &version(2, document))
        };
        let same = json!({"updatedAt": "2026-01-01T00:00:00Z", "display": "new"});
        assert_eq!(json!(at(same).unwrap().occurred_at), AT);
        assert_eq!(json!(at(json!({})).unwrap().occurred_at), AT);
        assert_eq!(json!(at(json!({"status": "CANCELLED"})).unwrap().occurred_at), AT);
    }

    #[test]
    fn what_callers_do_not_see_is_no_change() {
        assert_eq!(event(&version(1, json!({})), &version(2, json!({"puk": "1234"}))), None);
    }

    #[test]
    fn an_id_is_of_one_change() {
        let id = |before: u64, after: u64, document: Value| {
            event(&version(before, json!({})), &version(after, document)).unwrap().event_id
        };
        let first = id(1, 2, json!({"display": "a"}));
        assert_eq!(first.get_version_num(), 5);
        assert_eq!(id(1, 2, json!({"display": "a"})), first);
        assert_ne!(id(2, 3, json!({"display": "a"})), first);
        assert_ne!(id(1, 2, json!({"status": "CANCELLED"})), first);
        let others = decide_event(
            &"other".parse().unwrap(),
            &version(1, json!({})),
            version(2, json!({"display": "a"})),
            AT.parse().unwrap(),
        );
        assert_ne!(others.unwrap().event_id, first);
    }

    #[test]
    fn each_type_is_sent_by_its_name() {
        for kind in EventType::VARIANTS {
            assert_eq!(json!(kind), kind.as_str());
        }
    }
}
