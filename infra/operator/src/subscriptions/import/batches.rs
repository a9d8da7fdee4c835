//! Batches of subscriptions. Each is written together, several at once, and none is begun after one has failed.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::identifiers::TenantId;
use domain::import::{NewSubscription, Rules};
use domain::origin::Author;
use futures::{StreamExt, stream};
use service::clock::Clock;
use service::import::{Imported, TOGETHER, import, import_together};
use store::{Admin, Patience, StoreError, try_again};

use super::rejects::Reject;
use crate::ndjson::Line;

/// Largest batch in bytes: as many as a slow line can carry before a request times out. [`TOGETHER`] is the limit in subscriptions.
const BATCH_BYTES: usize = 512 << 10;
/// Number of batches that are written at once.
const BATCHES_AT_ONCE: usize = 8;

/// Subscriptions that are written together, with the number and text of their lines.
#[derive(Default)]
pub(super) struct Batch {
    subscriptions: Vec<NewSubscription>,
    lines: Vec<(u64, String)>,
    bytes: usize,
}

/// The outcome of a line with a subscription.
pub(super) struct Outcome {
    pub(super) line: u64,
    pub(super) text: String,
    pub(super) subscription: NewSubscription,
    pub(super) imported: Imported,
}

/// The outcomes of all lines, or of those before a failure.
#[derive(Default)]
pub(super) struct Written {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) failed: Option<StoreError>,
}

/// Divides lines into batches of subscriptions, and rejected lines.
pub(super) fn divide(lines: Vec<Line>) -> (Vec<Batch>, Vec<Reject>) {
    let mut batches = Vec::new();
    let mut batch = Batch::default();
    let mut rejected = Vec::new();
    for Line { number, text, subscription } in lines {
        match subscription {
            Ok(subscription) => {
                let text = text.unwrap_or_default();
                if !batch.has_room_for(&text) {
                    batches.push(std::mem::take(&mut batch));
                }
                batch.bytes += text.len();
                batch.subscriptions.push(subscription);
                batch.lines.push((number, text));
            }
            Err(fault) => rejected.push(Reject { line: number, fault, text }),
        }
    }
    batches.extend(Some(batch).filter(|batch| !batch.lines.is_empty()));
    (batches, rejected)
}

impl Batch {
    fn has_room_for(&self, text: &str) -> bool {
        self.lines.is_empty() || self.lines.len() < TOGETHER && self.bytes + text.len() <= BATCH_BYTES
    }
}

/// Writes subscriptions of a tenant into the database.
pub(super) struct Writer {
    pub(super) store: Admin,
    pub(super) clock: Clock,
    pub(super) tenant: TenantId,
    pub(super) rules: Rules,
    pub(super) author: Author,
}

impl Writer {
    /// Writes these batches. The outcomes are in the order of the lines.
    pub(super) async fn write_all(&self, batches: Vec<Batch>) -> Written {
        let has_failed = AtomicBool::new(false);
        let written: Vec<Written> = stream::iter(batches)
            .map(|batch| self.write(batch, &has_failed))
            .buffer_unordered(BATCHES_AT_ONCE)
            .collect()
            .await;
        let mut all = Written::default();
        for batch in written {
            all.failed = all.failed.or(batch.failed);
            all.outcomes.extend(batch.outcomes);
        }
        all.outcomes.sort_by_key(|outcome| outcome.line);
        all
    }

    /// Writes one subscription.
    pub(super) async fn write_one(&self, subscription: &NewSubscription) -> Result<Imported, StoreError> {
        try_again(Patience::OfCommand, || {
            import(&self.store, &self.tenant, subscription, self.rules, &self.author, self.clock.now())
        })
        .await
    }

    /// Writes a batch together or, if that is not possible, one subscription after the other. Writes nothing if another batch has
    /// failed.
    async fn write(&self, batch: Batch, has_failed: &AtomicBool) -> Written {
        let mut written = Written::default();
        if has_failed.load(Ordering::Relaxed) {
            return written;
        }
        let together = try_again(Patience::OfCommand, || {
            let (rules, now) = (self.rules, self.clock.now());
            import_together(&self.store, &self.tenant, &batch.subscriptions, rules, &self.author, now)
        });
        let mut together = match together.await {
            Ok(together) => together.map(Vec::into_iter),
            Err(cause) => {
                has_failed.store(true, Ordering::Relaxed);
                return Written { failed: Some(cause), ..written };
            }
        };
        for (subscription, (line, text)) in batch.subscriptions.into_iter().zip(batch.lines) {
            let imported = match together.as_mut().and_then(Iterator::next) {
                Some(imported) => Ok(imported),
                None => self.write_one(&subscription).await,
            };
            match imported {
                Ok(imported) => written.outcomes.push(Outcome { line, text, subscription, imported }),
                Err(cause) => {
                    has_failed.store(true, Ordering::Relaxed);
                    return Written { failed: Some(cause), ..written };
                }
            }
        }
        written
    }
}
