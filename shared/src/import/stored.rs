//! Documents as a database holds them: what of one survives in the next, and whether two are the same.

use bigdecimal::BigDecimal;
use serde_dynamo::{AttributeValue, to_item};

use super::StoredDocument;
use crate::subscription::Subscription;

/// Takes over what callers don't see of a stored document (a PUK of the SIM card, say, or the twentieth digit of a number):
/// an export has none of it, and importing that again shall not delete it. What belongs to something else than the document
/// names goes: another SIM card has another PUK.
pub(super) fn keep_unseen(document: &mut StoredDocument, seen: &Subscription, stored: &StoredDocument) {
    fn take_over(into: &mut StoredDocument, stored: &StoredDocument, seen: &StoredDocument) {
        for (name, value) in stored {
            // A customer is named by its `customerId`, or by the one that stands beside it.
            let id = format!("{name}Id");
            let ids = (into.get(&id).cloned(), stored.get(&id));
            match (value, seen.get(name), into.get_mut(name)) {
                (AttributeValue::Null(_), ..) => {}
                (_, None, None) => {
                    into.insert(name.clone(), value.clone());
                }
                (_, Some(seen), Some(same)) if is_same(seen, same) && ids.0.as_ref() == ids.1 => {
                    *same = value.clone();
                }
                (AttributeValue::M(value), Some(AttributeValue::M(seen)), Some(AttributeValue::M(into)))
                    if ids.0.as_ref() == ids.1 && names_the_same(into, value, ids.1.is_some()) =>
                {
                    take_over(into, value, seen);
                }
                (..) => {}
            }
        }
    }
    // A document of this service can be stored.
    if let Ok(seen) = to_item::<_, serde_dynamo::Item>(seen) {
        let mut seen = seen.into_inner();
        // A pending status that contradicts the rest was not shown, and is not to be kept for that.
        seen.extend(stored.get("pendingStatus").map(|pending| ("pendingStatus".to_owned(), pending.clone())));
        take_over(document, stored, &seen);
    }
}

/// Whether two parts of documents are about the same thing, by what identifies it; that may stand beside them.
fn names_the_same(one: &StoredDocument, other: &StoredDocument, is_named_beside: bool) -> bool {
    const IDS: [&str; 5] =
        ["iccid", "customerId", "subscriberId", "productOfferingId", "productOfferingGroupId"];
    let is_named = is_named_beside || IDS.iter().any(|id| other.contains_key(*id));
    is_named && IDS.iter().all(|id| one.get(*id) == other.get(*id))
}

/// Whether two values are the same to callers: numbers by their value, and what is null as if it were absent.
fn is_same(one: &AttributeValue, other: &AttributeValue) -> bool {
    match (one, other) {
        (AttributeValue::N(one), AttributeValue::N(other)) => {
            let number = |text: &String| text.parse::<BigDecimal>();
            one == other || matches!((number(one), number(other)), (Ok(one), Ok(other)) if one == other)
        }
        (AttributeValue::L(one), AttributeValue::L(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (AttributeValue::M(one), AttributeValue::M(other)) => is_same_map(one, other),
        _ => one == other,
    }
}

pub(super) fn is_same_map(one: &StoredDocument, other: &StoredDocument) -> bool {
    let present = |map: &StoredDocument| map.values().filter(|value| !is_null(value)).count();
    let has_the_same = |(name, value): (&String, &AttributeValue)| {
        is_null(value) || other.get(name).is_some_and(|other| is_same(value, other))
    };
    present(one) == present(other) && one.iter().all(has_the_same)
}

fn is_null(value: &AttributeValue) -> bool {
    matches!(value, AttributeValue::Null(_))
}
