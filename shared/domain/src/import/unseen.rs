//! Members of a stored document that callers don't see. They are kept when the document is replaced.

use crate::document::{StoredDocument, StoredValue, stored_value};
use crate::subscription::Subscription;

/// Copies the parts of a stored document that callers don't see into the new one, such as the PUK of the SIM card or the twentieth
/// digit of a number. An export does not contain them, and importing it again must not delete them. Parts that belong to something
/// else than the new document names are dropped: another SIM card has another PUK.
pub(super) fn keep_unseen(document: &mut StoredDocument, seen: &Subscription, stored: &StoredDocument) {
    fn take_over(into: &mut StoredDocument, stored: &StoredDocument, seen: &StoredDocument) {
        for (name, value) in stored {
            // A customer is identified by the `customerId` in it, or by the one beside it.
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
    // Every document of this service has a JSON form.
    if let Some(StoredValue::Map(mut seen)) = stored_value(seen) {
        // A contradictory pending status is hidden from callers, but must not be kept. So it counts as seen.
        seen.extend(stored.get("pendingStatus").map(|pending| ("pendingStatus".to_owned(), pending.clone())));
        take_over(document, stored, &seen);
    }
}

/// Returns true if two parts of documents are about the same thing, by the id in them or the id beside them.
fn names_the_same(one: &StoredDocument, other: &StoredDocument, is_named_beside: bool) -> bool {
    const IDS: [&str; 5] =
        ["iccid", "customerId", "subscriberId", "productOfferingId", "productOfferingGroupId"];
    let is_named = is_named_beside || IDS.iter().any(|id| other.contains_key(*id));
    is_named && IDS.iter().all(|id| one.get(*id) == other.get(*id))
}
