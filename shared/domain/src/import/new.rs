//! Documents from outside: each is checked as a whole before anything is done with it.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::fault::fault;
use crate::calendar::Calendar;
use crate::cancellation::Cancellation;
use crate::document::{StoredDocument, stored};
use crate::fault::member;
use crate::identifiers::{NewIds, ReferenceId, SubscriptionId, WriteId};
use crate::subscription::{PendingStatus, Status, Subscription};

/// A checked subscription from outside.
#[derive(Clone)]
pub struct NewSubscription {
    pub(super) subscription: Subscription,
    pub(super) document: StoredDocument,
    pub(super) cancellation: Option<Cancellation>,
    pub(super) write_id: WriteId,
}

/// The reason for which a document can't be imported. The text names the place, not the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSubscription(String);

impl NewSubscription {
    /// Checks a document in its JSON form. A cancellation that is pending in it will take effect like any other, at the beginning
    /// of its date in the tenant's `calendar`.
    ///
    /// # Errors
    /// A member that this service knows is missing, has the wrong type or an invalid value, or contradicts another. Or a name in
    /// the document is reserved.
    pub fn from_json(
        document: Value,
        calendar: &Calendar,
        now: DateTime<Utc>,
        ids: NewIds,
    ) -> Result<Self, InvalidSubscription> {
        let invalid = |message: &str| InvalidSubscription(message.to_owned());
        if let Some(place) = reserved_name("", &document) {
            return Err(InvalidSubscription(fault_at(&place, "the name of this member is reserved")));
        }
        let Value::Object(document) = document else {
            return Err(invalid("expected an object"));
        };
        let subscription: Subscription = serde_path_to_error::deserialize(&document)
            .map_err(|error| InvalidSubscription(fault(&document, &error)))?;
        if subscription.reference_id.as_ref().is_some_and(|reference| !reference.is_addressable()) {
            return Err(InvalidSubscription(format!("referenceId: {}", ReferenceId::FORM)));
        }
        check_instants(&document)?;
        let document = in_one_spelling(&subscription, document)
            .ok_or_else(|| invalid("the document can't be stored"))?;

        check_times(&subscription)?;
        check_end(&subscription, now)?;

        let is_cancellation = |pending: &&PendingStatus| pending.status == Status::Cancelled;
        let cancellation = match subscription.pending_status.as_ref().filter(is_cancellation) {
            None => None,
            Some(pending) if !(1970..=9999).contains(&pending.scheduled_at.year()) => {
                return Err(invalid("pendingStatus: scheduledAt must lie in the years 1970 to 9999"));
            }
            Some(pending) => {
                let effective = calendar.beginning_of(pending.scheduled_at);
                let skipped = || invalid("pendingStatus: the tenant's time zone has no such date");
                Some(Cancellation::new(ids.cancellation, effective.ok_or_else(skipped)?, now))
            }
        };
        Ok(Self { subscription, document, cancellation, write_id: ids.write })
    }

    /// The checked subscription.
    #[must_use]
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// The id of the subscription.
    #[must_use]
    pub fn id(&self) -> SubscriptionId {
        self.subscription.subscription_id
    }

    /// The reference id of the subscription.
    #[must_use]
    pub fn reference_id(&self) -> Option<&ReferenceId> {
        self.subscription.reference_id.as_ref()
    }

    /// The id of the write that imports the document.
    #[must_use]
    pub fn write_id(&self) -> &WriteId {
        &self.write_id
    }

    /// Returns true if the date of the document's pending cancellation has begun.
    pub(super) fn is_overdue(&self, now: DateTime<Utc>) -> bool {
        self.cancellation.as_ref().is_some_and(|pending| pending.effective_at <= now)
    }

    /// The document, to be stored. Members that this service knows are in its one spelling; all others stay as they came. Numbers
    /// are 64-bit integers or doubles, as JSON parsers usually hold them (RFC 8259, section 6).
    #[must_use]
    pub fn document(&self) -> &StoredDocument {
        &self.document
    }

    /// The document's pending cancellation.
    #[must_use]
    pub fn cancellation(&self) -> Option<&Cancellation> {
        self.cancellation.as_ref()
    }
}

/// The prefix of member names to which the JSON library gives a meaning of its own.
const RESERVED: &str = "$serde_json::private::";

/// The place of a member with a reserved name, as a pointer (RFC 6901).
fn reserved_name(pointer: &str, value: &Value) -> Option<String> {
    match value {
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let pointer = member(pointer, name);
            if name.starts_with(RESERVED) { Some(pointer) } else { reserved_name(&pointer, value) }
        }),
        Value::Array(values) => {
            let mut values = values.iter().enumerate();
            values.find_map(|(index, value)| reserved_name(&format!("{pointer}/{index}"), value))
        }
        _ => None,
    }
}

/// Describes a fault at a pointer, in the same form as a fault of a type: `sim.iccid: …`.
#[must_use]
pub fn fault_at(pointer: &str, fault: &str) -> String {
    match pointer.strip_prefix('/') {
        Some(path) => format!("{}: {fault}", path.replace('/', ".").replace("~1", "/").replace("~0", "~")),
        None => fault.to_owned(),
    }
}

/// Refuses an instant that would lose something when it is stored: a tenth digit after the second, or spaces around it.
fn check_instants(document: &Map<String, Value>) -> Result<(), InvalidSubscription> {
    let of = |prefix: &'static str, members: &Map<String, Value>, names: &[&'static str]| {
        let is_kept = |text: &str| {
            let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
            text == text.trim() && fraction.bytes().take_while(u8::is_ascii_digit).count() <= 9
        };
        let altered = names
            .iter()
            .find(|name| members.get(**name).and_then(Value::as_str).is_some_and(|text| !is_kept(text)));
        altered.map(|name| {
            format!("{prefix}{name}: an instant has at most nine digits after the second, and no spaces")
        })
    };
    let subscriber = document.get("subscriber").and_then(Value::as_object);
    let altered = of("", document, &["activatedAt", "createdAt", "updatedAt", "cancelledAt"])
        .or_else(|| of("subscriber.", subscriber?, &["createdAt", "updatedAt"]));
    altered.map_or(Ok(()), |fault| Err(InvalidSubscription(fault)))
}

/// Refuses a year outside 0000 to 9999, the range of RFC 3339 and of JSON Schema.
fn check_times(subscription: &Subscription) -> Result<(), InvalidSubscription> {
    let subscriber = subscription.subscriber.as_ref();
    let instants = [
        ("activatedAt", subscription.activated_at),
        ("createdAt", subscription.created_at),
        ("updatedAt", subscription.updated_at),
        ("cancelledAt", subscription.cancelled_at),
        ("subscriber.createdAt", subscriber.and_then(|subscriber| subscriber.created_at)),
        ("subscriber.updatedAt", subscriber.and_then(|subscriber| subscriber.updated_at)),
    ]
    .map(|(place, instant)| (place, instant.map(|instant| instant.year())));
    let product = subscription.pending_product_offering.as_ref();
    let dates = [
        (
            "pendingStatus.scheduledAt",
            subscription.pending_status.as_ref().map(|pending| pending.scheduled_at),
        ),
        (
            "pendingMsisdn.scheduledAt",
            subscription.pending_msisdn.as_ref().and_then(|pending| pending.scheduled_at),
        ),
        ("pendingProductOffering.scheduledAt", product.and_then(|pending| pending.scheduled_at)),
        ("porting.scheduledAt", subscription.porting.as_ref().and_then(|porting| porting.scheduled_at)),
    ]
    .map(|(place, date)| (place, date.map(|date| date.year())));
    match instants
        .into_iter()
        .chain(dates)
        .find(|(_, year)| year.is_some_and(|year| !(0..=9999).contains(&year)))
    {
        Some((place, _)) => Err(InvalidSubscription(format!("{place}: must lie in the years 0000 to 9999"))),
        None => Ok(()),
    }
}

/// Largest clock skew that is tolerated: the clock that wrote `cancelledAt` may be ahead by this.
const MOST_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Refuses a document whose status, `cancelledAt` and pending status contradict each other.
fn check_end(subscription: &Subscription, now: DateTime<Utc>) -> Result<(), InvalidSubscription> {
    let contradiction = match (subscription.status, subscription.cancelled_at) {
        (Status::Cancelled, Some(at)) if at > now + MOST_SKEW => "cancelledAt: must not lie in the future",
        (Status::Cancelled, _) if subscription.pending_status.is_some() => {
            "pendingStatus: must be absent if the status is CANCELLED"
        }
        (Status::Cancelled, _) | (_, None) => return Ok(()),
        (_, Some(_)) => "cancelledAt: must be absent unless the status is CANCELLED",
    };
    Err(InvalidSubscription(contradiction.to_owned()))
}

/// The document with every known date, instant and id in one spelling, so that documents can be compared. Members that this service
/// does not know are kept.
fn in_one_spelling(subscription: &Subscription, came: Map<String, Value>) -> Option<StoredDocument> {
    fn add_unknown(known: &mut Map<String, Value>, came: Map<String, Value>) {
        for (name, value) in came {
            match (known.get_mut(&name), value) {
                (_, Value::Null) => {}
                (None, value) => {
                    known.insert(name, value);
                }
                (Some(Value::Object(known)), Value::Object(came)) => add_unknown(known, came),
                (Some(_), _) => {}
            }
        }
    }
    let Value::Object(mut document) = serde_json::to_value(subscription).ok()? else { return None };
    add_unknown(&mut document, came);
    Some(stored(document))
}
