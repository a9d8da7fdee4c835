//! Reads a file of subscriptions part by part. The lines of a part can be written in any order.

use std::collections::HashSet;
use std::io::{self, BufRead};
use std::thread;

use domain::identifiers::{ReferenceId, SubscriptionId};
use domain::import::NewSubscription;
use tokio::sync::mpsc;

use crate::ndjson::{Line, Lines};

/// Limits of a part: its lines, and its bytes.
const MOST_LINES: usize = 500;
const MOST_BYTES: u64 = 4 << 20;

/// A part of a file, in which no subscription and no reference id is named twice.
///
/// So its lines can be written in any order. Only a line that needs a reference id that another line gives up may have to be
/// written again.
pub(super) struct FilePart {
    pub(super) lines: Vec<Line>,
    /// Number of bytes of the file up to the end of this part.
    pub(super) position: u64,
}

/// Reads a file in a separate thread, so that the next part is read while one is being written.
///
/// Nothing waits for the thread, because it may block on a standard input that never ends.
pub(super) fn read<R: BufRead + Send + 'static>(lines: Lines<R>) -> mpsc::Receiver<io::Result<FilePart>> {
    let (sender, parts) = mpsc::channel(1);
    thread::spawn(move || send_parts(lines, &sender));
    parts
}

/// Sends part after part, until the end, a failure, or the end of the receiver.
fn send_parts<R: BufRead>(mut lines: Lines<R>, parts: &mpsc::Sender<io::Result<FilePart>>) {
    let mut part = Vec::new();
    let mut ids: HashSet<SubscriptionId> = HashSet::new();
    let mut references: HashSet<ReferenceId> = HashSet::new();
    let (mut from, mut position) = (0, 0);
    while let Some(line) = lines.next() {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                // The lines before the failure are still imported.
                let _ = parts.blocking_send(Ok(FilePart { lines: part, position }));
                let _ = parts.blocking_send(Err(error));
                return;
            }
        };
        let named = line.subscription.as_ref().ok();
        let is_repeated = named.is_some_and(|new| {
            ids.contains(&new.id()) || new.reference_id().is_some_and(|name| references.contains(name))
        });
        if is_repeated || part.len() == MOST_LINES || lines.position - from > MOST_BYTES {
            let lines = std::mem::take(&mut part);
            if parts.blocking_send(Ok(FilePart { lines, position })).is_err() {
                return;
            }
            ids.clear();
            references.clear();
            from = position;
        }
        ids.extend(named.map(NewSubscription::id));
        references.extend(named.and_then(NewSubscription::reference_id).cloned());
        part.push(line);
        position = lines.position;
    }
    let _ = parts.blocking_send(Ok(FilePart { lines: part, position }));
}
