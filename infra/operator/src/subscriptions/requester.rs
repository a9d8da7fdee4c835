//! Requesters as people read them.

use domain::origin::Requester;

/// Formats who requested something: the API key, and the person or system on whose behalf.
pub(super) fn by(requester: &Option<Requester>, otherwise: &str) -> String {
    let Some(Requester { key_id, key_name, actor, batch }) = requester else { return otherwise.to_owned() };
    let name = key_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let batch = batch.as_ref().map(|batch| format!(" in the batch {batch}")).unwrap_or_default();
    match (key_id, actor) {
        (Some(key), Some(actor)) => format!("key {key}{name} for {actor}{batch}"),
        (Some(key), None) => format!("key {key}{name}{batch}"),
        (None, Some(actor)) => format!("{actor}{batch}"),
        (None, None) => format!("{otherwise}{batch}"),
    }
}
