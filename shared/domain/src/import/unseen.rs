//! Members of a stored document that callers don't see. They survive its replacement.

use crate::document::{StoredDocument, StoredValue, stored_value};
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
                (StoredValue::Null, ..) => {}
                (_, None, None) => {
                    into.insert(name.clone(), value.clone());
                }
                (_, Some(seen), Some(same)) if seen.is_same(same) && ids.0.as_ref() == ids.1 => {
                    *same = value.clone();
                }
                (StoredValue::Map(value), Some(StoredValue::Map(seen)), Some(StoredValue::Map(into)))
                    if ids.0.as_ref() == ids.1 && names_the_same(into, value, ids.1.is_some()) =>
                {
                    take_over(into, value, seen);
                }
                (..) => {}
            }
        }
    }
    // A document of this service has a JSON form.
    if let Some(StoredValue::Map(mut seen)) = stored_value(seen) {
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
