//! Faults of an imported document: the place and the form that is expected there. The value is left out, because it may be
//! personal.

use serde_json::{Map, Value};
use serde_path_to_error::{Error, Segment};
use strum::VariantArray;

use crate::subscription::{PortingDirection, PortingStatus, Status};

/// The form that a member of a subscription must have.
enum Form {
    Text,
    Bool,
    Number,
    Object,
    Date,
    Instant,
    OneOf(Vec<String>),
}

impl Form {
    /// The form of a member, by its name and by the name of the object that it is in.
    fn of(parent: &str, name: &str) -> Self {
        match (parent, name) {
            ("porting", "status") => Self::one_of(PortingStatus::VARIANTS),
            ("porting", "direction") => Self::one_of(PortingDirection::VARIANTS),
            (_, "status") => Self::one_of(Status::VARIANTS),
            (_, "esim") => Self::Bool,
            (_, "discount" | "netPrice" | "boundMonths" | "interval") => Self::Number,
            (
                _,
                "customer"
                | "productOffering"
                | "price"
                | "billingCycle"
                | "group"
                | "sim"
                | "subscriber"
                | "address"
                | "extensions"
                | "pendingMsisdn"
                | "pendingStatus"
                | "pendingProductOffering"
                | "product"
                | "porting"
                | "metadata",
            ) => Self::Object,
            (_, "scheduledAt") => Self::Date,
            (_, name) if name.ends_with("At") => Self::Instant,
            _ => Self::Text,
        }
    }

    fn one_of<T: serde::Serialize>(variants: &[T]) -> Self {
        let names = variants.iter().map(|variant| serde_json::to_value(variant).unwrap_or_default());
        Self::OneOf(names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// The form that is expected of a value, in words; `None` if the value has that form, so that the fault is another.
    fn expected(&self, value: &Value) -> Option<String> {
        let (is_right, expected) = match self {
            Self::Text => (value.is_string(), "a string".to_owned()),
            Self::Bool => (value.is_boolean(), "a boolean".to_owned()),
            Self::Number => (value.is_number(), "a number".to_owned()),
            Self::Object => (value.is_object(), "an object".to_owned()),
            Self::Date => (false, "a date (2026-12-31)".to_owned()),
            Self::Instant => (false, "an instant (2026-12-31T23:00:00Z)".to_owned()),
            Self::OneOf(names) => {
                let is_one = value.as_str().is_some_and(|text| names.iter().any(|name| name == text));
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                (is_one, format!("one of {}", names.join(", ")))
            }
        };
        (!is_right).then_some(expected)
    }
}

/// Describes a fault that was found while a document was read.
pub(super) fn fault(document: &Map<String, Value>, error: &Error<serde_json::Error>) -> String {
    let names = error.path().iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.as_str()),
        _ => None,
    });
    let (mut parent, mut last) = ("", None);
    for name in names {
        let value = match last {
            None => document.get(name),
            Some((_, value)) => Value::get(value, name),
        };
        parent = last.map_or("", |(name, _)| name);
        last = value.map(|value| (name, value));
    }
    let expected = last.and_then(|(name, value)| Form::of(parent, name).expected(value));
    // Other faults, such as a missing member, are described without a value.
    let fault = expected.map_or_else(|| error.inner().to_string(), |expected| format!("expected {expected}"));
    match error.path().to_string().as_str() {
        "." => fault,
        place => format!("{place}: {fault}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::subscription::Subscription;

    /// A document with every member.
    fn whole() -> Value {
        let offering = json!({
            "productOfferingId": "x", "name": "x",
            "price": {
                "currency": "x", "priceType": "x", "discount": 1, "netPrice": 1.5, "boundMonths": 1,
                "billingCycle": {"period": "x", "interval": 1},
            },
            "group": {
                "productOfferingGroupId": "x", "name": "x", "category": "x", "description": "x",
                "internalDescription": "x",
            },
        });
        let at = "2026-01-01T00:00:00Z";
        json!({
            "subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "ACTIVATED", "type": "x",
            "display": "x", "msisdn": "x", "customer": {"customerId": "x", "name": "x"}, "customerId": "x",
            "productOffering": offering, "productOfferingId": "x",
            "sim": {"esim": true, "imei": "x", "iccid": "x"},
            "subscriber": {
                "subscriberId": "x", "name": "x", "email": "x",
                "address": {
                    "street1": "x", "street2": "x", "city": "x", "zip": "x", "country": "x", "state": "x",
                    "region": "x", "attention": "x",
                },
                "createdAt": at, "updatedAt": at,
            },
            "subscriberId": "x", "activatedAt": at, "createdAt": at, "updatedAt": at, "referenceId": "x",
            "extensions": {}, "pendingMsisdn": {"msisdn": "x", "scheduledAt": "2026-03-01"},
            "pendingStatus": {"status": "PAUSED", "scheduledAt": "2026-04-01"},
            "pendingProductOffering": {"scheduledAt": "2026-05-01", "product": offering},
            "porting": {
                "msisdn": "x", "status": "PENDING", "direction": "INBOUND", "scheduledAt": "2026-03-01",
            },
            "cancelledAt": at, "metadata": {},
        })
    }

    fn pointers(prefix: &str, value: &Value) -> Vec<String> {
        let members = value.as_object().into_iter().flatten();
        members
            .flat_map(|(name, value)| {
                let pointer = format!("{prefix}/{name}");
                let inner = pointers(&pointer, value);
                [vec![pointer], inner].concat()
            })
            .collect()
    }

    #[test]
    fn a_member_of_another_type_is_named_with_the_type_that_it_must_have() {
        let whole = whole();
        let document: Subscription = serde_json::from_value(whole.clone()).unwrap();
        // No member is forgotten here.
        assert_eq!(serde_json::to_value(document).unwrap(), whole);
        for pointer in pointers("", &whole) {
            let mut broken = whole.clone();
            let value = broken.pointer_mut(&pointer).unwrap();
            let expected = match value {
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::Object(_) => "an object",
                Value::String(text) if text == "2026-01-01T00:00:00Z" => "an instant (2026-12-31T23:00:00Z)",
                Value::String(text) if text.starts_with("2026-0") => "a date (2026-12-31)",
                Value::String(text) if text.contains(char::is_uppercase) => "one of `",
                _ => "a string",
            };
            *value = match value {
                Value::Bool(_) | Value::Number(_) => json!("+46701740605"),
                _ => json!(46_701_740_605_u64),
            };
            let members = broken.as_object().unwrap();
            let error = serde_path_to_error::deserialize::<_, Subscription>(members).unwrap_err();
            let place = pointer.trim_start_matches('/').replace('/', ".");
            let fault = fault(members, &error);
            assert!(fault.starts_with(&format!("{place}: expected {expected}")), "{fault}");
            assert!(!fault.contains("4670"), "{fault}");
        }
    }
}
