//! Publishing: each write becomes an entry of the history, and each write that callers can see becomes an event on a bus.
//!
//! The stream of the table is the outbox. It has every write, in the order of each item, and keeps it for 24 hours. Each entry is
//! added once: a repeated one is recognised by its revision. Each event is published at least once, always with the same id, after
//! its entry. An event about a subscription is published only after the bus has taken all earlier ones about it. A write that can
//! never be recorded or published goes into a queue, with its key, and does not delay the others.

mod batch;
mod bus;
mod queue;

use std::convert::Infallible;
use std::mem;
use std::time::{Duration, SystemTime};

use aws_types::SdkConfig;
use domain::history::HistoryEntry;
use futures::future::join_all;
use metrics::counter;
use store::history::Recorded;
use store::stream::Write;
use store::{Patience, Store, repeat, try_again};
use tracing::{error, info, warn};

use self::batch::{Batch, Outgoing};
use self::bus::{Bus, Entry, PutOutcome};
use self::queue::{FailedEvent, Queue};
use crate::clock::time_until;
use crate::endpoint::Endpoint;
use crate::environment::{EnvironmentError, required, table_names};
use crate::telemetry::{EVENTS_FAILED, EVENTS_PUBLISHED, HISTORY_ENTRIES_ADDED, TYPE};

/// Time before the deadline in which no request begins. Longer than one request can take.
const MARGIN: Duration = Duration::from_secs(10);

/// The history, the bus, and the queue for changes that can't be recorded or published.
#[derive(Clone, Debug)]
pub struct Publisher {
    store: Store,
    bus: Bus,
    failed: Queue,
}

impl Publisher {
    /// Builds the publisher from the environment of the Lambda function: `HISTORY_TABLE`, `EVENT_BUS_NAME` and
    /// `FAILED_EVENTS_QUEUE_URL`.
    ///
    /// # Errors
    /// A variable is not set, or the certificate file can't be used.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Ok(Self::new(
            Store::new(&Endpoint::from_env()?.sdk_config(), table_names()),
            &Endpoint::from_env_of("EVENTBRIDGE")?.sdk_config(),
            required("EVENT_BUS_NAME")?,
            &Endpoint::from_env_of("SQS")?.sdk_config(),
            required("FAILED_EVENTS_QUEUE_URL")?,
        ))
    }

    /// Builds a publisher for the history in this database, and the bus of this name. Changes that can't be recorded or published go
    /// into the queue at this URL.
    #[must_use]
    pub fn new(store: Store, eventbridge: &SdkConfig, bus: String, sqs: &SdkConfig, queue: String) -> Self {
        Self { store, bus: Bus::new(eventbridge, bus), failed: Queue::new(sqs, queue) }
    }
}

/// A record of the stream: one write, and its place in the stream.
pub struct Record {
    /// The place in the stream.
    pub sequence_number: String,
    /// The write.
    pub write: Write,
}

/// Records and publishes writes of the stream in their order. Stops before `deadline`, by the system's clock.
///
/// Returns the sequence number of the first record that is not published; `None` if all are. That record and all after it must be
/// given again.
pub async fn publish(publisher: &Publisher, records: Vec<Record>, deadline: SystemTime) -> Option<String> {
    // With less time than the margin, a function still publishes something.
    let margin = MARGIN.min(time_until(deadline) / 2);
    let count = records.len();
    let changes = records.into_iter().map(Outgoing::new).collect();
    // Boxed, because the future is large: it waits for one client of the SDK within another.
    let again = Box::pin(Publishing { publisher, stop: deadline - margin }.all(changes)).await.err();
    info!(records = count, again, "done");
    again
}

/// The sequence number of the first record that must be given again, with all after it.
type Again = String;

struct Publishing<'p> {
    publisher: &'p Publisher,
    stop: SystemTime,
}

impl Publishing<'_> {
    /// Records and publishes the changes in their order, until one fails or the time is up.
    async fn all(&self, changes: Vec<Outgoing>) -> Result<(), Again> {
        let mut batch = Batch::default();
        for change in changes.into_iter().filter(|change| !change.is_nothing()) {
            if !batch.fits(&change) {
                self.batch(mem::take(&mut batch)).await?;
            }
            batch.push(change);
        }
        self.batch(batch).await
    }

    /// Records the changes of a batch, and then publishes their events. If a change can't be recorded now, neither it nor a later
    /// one is published.
    async fn batch(&self, batch: Batch) -> Result<(), Again> {
        let mut changes = batch.into_changes();
        let recorded = join_all(changes.iter().map(|change| self.record(change))).await;
        let recorded = recorded.iter().take_while(|outcome| outcome.is_ok()).count();
        let again = changes.get(recorded).map(|change| change.sequence_number.clone());
        changes.truncate(recorded);
        let (mut entries, mut failed) = (Vec::new(), Vec::new());
        for change in changes {
            entries.extend(change.event);
            failed.extend(change.failed);
        }
        self.publish(entries).await?;
        // A failed change is the last of its batch.
        for failed in failed {
            self.set_aside(failed).await?;
        }
        again.map_or(Ok(()), Err)
    }

    /// Adds the entries of a change to the history. An entry that the database will never take is set aside.
    async fn record(&self, change: &Outgoing) -> Result<(), Again> {
        let Outgoing { key, sequence_number, history, .. } = change;
        for entry in history {
            if self.time_is_up() {
                return Err(sequence_number.clone());
            }
            match try_again(Patience::OfBus, || self.publisher.store.record(key, entry)).await {
                Ok(Recorded::Added) => counter!(HISTORY_ENTRIES_ADDED).increment(1),
                Ok(Recorded::Present) => {}
                Ok(Recorded::Refused) => self.set_aside(refused(change, entry)).await?,
                Err(cause) => {
                    warn!(key, version = entry.revision.version, %cause, "the history did not take an entry");
                    return Err(sequence_number.clone());
                }
            }
        }
        Ok(())
    }

    /// Puts events onto the bus. Retries those that the bus does not take, twice at most.
    async fn publish(&self, entries: Vec<Entry>) -> Result<(), Again> {
        let is_over = |left: &Vec<_>| left.is_empty() || self.time_is_up();
        let mut left = entries;
        if !is_over(&left) {
            let attempt = |left| async { Ok::<_, Infallible>(self.put(left).await) };
            Ok(left) = repeat(Patience::OfBus, left, attempt, is_over).await;
        }
        left.first().map_or(Ok(()), |first| Err(first.sequence_number.clone()))
    }

    /// Tries once to put events onto the bus. If the bus refuses the request as a whole, they are put one by one. Returns the
    /// events that are left, in their order.
    async fn put(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let bus = &self.publisher.bus;
        let outcomes = match bus.put(&entries).await {
            Ok(outcomes) => outcomes,
            Err(_) => {
                let mut outcomes = Vec::new();
                for entry in entries.chunks(1) {
                    if self.time_is_up() {
                        outcomes.push(PutOutcome::NotTaken("the deadline is too close".to_owned()));
                        continue;
                    }
                    let outcome = bus.put(entry).await;
                    outcomes.extend(outcome.unwrap_or_else(|reason| vec![PutOutcome::Refused(reason)]));
                }
                outcomes
            }
        };
        let mut left = Vec::new();
        for (entry, outcome) in entries.into_iter().zip(outcomes) {
            match outcome {
                PutOutcome::Taken => {
                    info!(key = entry.key, eventId = %entry.event_id, r#type = entry.event_type, "published");
                    counter!(EVENTS_PUBLISHED, TYPE => entry.event_type).increment(1);
                }
                PutOutcome::Refused(reason) => {
                    if self.set_aside(entry.failed(reason)).await.is_err() {
                        left.push(entry);
                    }
                }
                PutOutcome::NotTaken(cause) => {
                    warn!(key = entry.key, eventId = %entry.event_id, cause, "the bus did not take an event");
                    left.push(entry);
                }
            }
        }
        left
    }

    /// Puts a change that can't be recorded or published into the queue.
    async fn set_aside(&self, failed: FailedEvent) -> Result<(), Again> {
        let FailedEvent { key, sequence_number, reason, .. } = &failed;
        if self.time_is_up() {
            return Err(failed.sequence_number);
        }
        match self.publisher.failed.send(&failed).await {
            Ok(()) => {
                error!(
                    key,
                    sequenceNumber = sequence_number,
                    reason,
                    "a change can't be recorded or published"
                );
                counter!(EVENTS_FAILED).increment(1);
                Ok(())
            }
            Err(cause) => {
                error!(key, reason, cause, "a failed change can't be put into the queue");
                Err(failed.sequence_number)
            }
        }
    }

    fn time_is_up(&self) -> bool {
        time_until(self.stop).is_zero()
    }
}

/// The message about an entry that the history will never take.
fn refused(change: &Outgoing, entry: &HistoryEntry) -> FailedEvent {
    FailedEvent {
        key: change.key.clone(),
        sequence_number: change.sequence_number.clone(),
        event_id: None,
        r#type: None,
        reason: format!("the history refused the entry of version {}", entry.revision.version),
    }
}
