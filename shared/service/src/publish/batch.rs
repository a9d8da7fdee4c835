//! Batches: changes whose entries are added to the history at once, and whose events go onto the bus with one request.

use std::collections::HashSet;

use domain::history::HistoryEntry;

use super::Record;
use super::bus::{Entry, MOST_BYTES, MOST_ENTRIES};
use super::queue::FailedEvent;

/// A change, ready to be recorded and published.
pub(super) struct Outgoing {
    /// The key of the item that changed.
    pub key: String,
    /// The place of the change in the stream.
    pub sequence_number: String,
    /// The entries of the history, in their order.
    pub history: Vec<HistoryEntry>,
    /// The event, if callers see the change.
    pub event: Option<Entry>,
    /// The message for the queue, if the event can't be published.
    pub failed: Option<FailedEvent>,
}

impl Outgoing {
    pub(super) fn new(record: Record) -> Self {
        let Record { sequence_number, write } = record;
        let key = write.key().to_owned();
        let change = write.change();
        let (event, failed) = match change.event {
            Ok(None) => (None, None),
            Ok(Some(event)) => {
                let entry = Entry::new(key.clone(), sequence_number.clone(), event);
                match entry.excess() {
                    None => (Some(entry), None),
                    Some(bytes) => (None, Some(entry.failed(format!("too large: {bytes} bytes")))),
                }
            }
            Err(unreadable) => {
                let failed = FailedEvent {
                    key: key.clone(),
                    sequence_number: sequence_number.clone(),
                    event_id: None,
                    r#type: None,
                    reason: unreadable.to_string(),
                };
                (None, Some(failed))
            }
        };
        Self { key, sequence_number, history: change.history, event, failed }
    }

    /// Returns true if there is nothing to record or publish.
    pub(super) fn is_nothing(&self) -> bool {
        self.history.is_empty() && self.event.is_none() && self.failed.is_none()
    }

    fn bytes(&self) -> usize {
        self.event.as_ref().map_or(0, Entry::bytes)
    }
}

/// Changes of different items: as many events as the bus takes with one request. Of two events of one item, the bus could take the
/// second without the first. A failed change is the last of its batch.
#[derive(Default)]
pub(super) struct Batch {
    changes: Vec<Outgoing>,
    keys: HashSet<String>,
    bytes: usize,
}

impl Batch {
    /// Returns true if there is room for the change, and no other change of its item.
    pub(super) fn fits(&self, change: &Outgoing) -> bool {
        self.changes.len() < MOST_ENTRIES
            && self.bytes + change.bytes() <= MOST_BYTES
            && !self.keys.contains(&change.key)
            && self.changes.last().is_none_or(|last| last.failed.is_none())
    }

    pub(super) fn push(&mut self, change: Outgoing) {
        self.bytes += change.bytes();
        self.keys.insert(change.key.clone());
        self.changes.push(change);
    }

    pub(super) fn into_changes(self) -> Vec<Outgoing> {
        self.changes
    }
}
