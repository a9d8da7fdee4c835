//! Publishing: each write that callers can see becomes an event on a bus.
//!
//! The stream of the table is the outbox. It has every write, in the order of each item, and keeps it for 24 hours. Each event
//! is published at least once, always with the same id. An event about a subscription is published only after the bus has taken
//! all earlier ones about it. A write that can never be published goes into a queue, with its key, and does not delay the others.

mod bus;
mod queue;

use std::convert::Infallible;
use std::mem;
use std::time::{Duration, SystemTime};

use aws_types::SdkConfig;
use metrics::counter;
use store::stream::{UnreadableWrite, Write};
use store::{Patience, repeat};
use tracing::{error, info, warn};

use self::bus::{Batch, Bus, Entry, PutOutcome};
use self::queue::{FailedEvent, Queue};
use crate::clock::time_until;
use crate::endpoint::Endpoint;
use crate::environment::{EnvironmentError, required};
use crate::telemetry::{EVENTS_FAILED, EVENTS_PUBLISHED, TYPE};

/// Time before the deadline in which no request begins. Longer than one request can take.
const MARGIN: Duration = Duration::from_secs(10);

/// The bus, and the queue for changes that can't be published.
#[derive(Clone, Debug)]
pub struct Publisher {
    bus: Bus,
    failed: Queue,
}

impl Publisher {
    /// Builds the publisher from the environment of the Lambda function: `EVENT_BUS_NAME` and `FAILED_EVENTS_QUEUE_URL`.
    ///
    /// # Errors
    /// A variable is not set, or the certificate file can't be used.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Ok(Self::new(
            &Endpoint::from_env_of("EVENTBRIDGE")?.sdk_config(),
            required("EVENT_BUS_NAME")?,
            &Endpoint::from_env_of("SQS")?.sdk_config(),
            required("FAILED_EVENTS_QUEUE_URL")?,
        ))
    }

    /// Builds a publisher for the bus of this name. Changes that can't be published go into the queue at this URL.
    #[must_use]
    pub fn new(eventbridge: &SdkConfig, bus: String, sqs: &SdkConfig, queue: String) -> Self {
        Self { bus: Bus::new(eventbridge, bus), failed: Queue::new(sqs, queue) }
    }
}

/// A record of the stream: one write, and its place in the stream.
pub struct Record {
    /// The place in the stream.
    pub sequence_number: String,
    /// The write.
    pub write: Write,
}

/// Publishes records of the stream in their order. Stops before `deadline`, by the system's clock.
///
/// Returns the sequence number of the first record that is not published; `None` if all are. That record and all after it must be
/// given again.
pub async fn publish(publisher: &Publisher, records: Vec<Record>, deadline: SystemTime) -> Option<String> {
    // With less time than the margin, a function still publishes something.
    let margin = MARGIN.min(time_until(deadline) / 2);
    let count = records.len();
    let tasks = records.into_iter().map(read).collect();
    // Boxed, because the future is large: it waits for one client of the SDK within another.
    let again = Box::pin(Publishing { publisher, stop: deadline - margin }.all(tasks)).await.err();
    info!(records = count, again, "done");
    again
}

/// The task for a record of the stream.
enum Task {
    /// Callers see no change.
    Nothing,
    /// The event is to be published.
    Publish(Entry),
    /// The change can't be published, and goes into the queue.
    SetAside(FailedEvent),
}

fn read(record: Record) -> Task {
    let Record { sequence_number, write } = record;
    let key = write.key().to_owned();
    match write.event() {
        Ok(None) => Task::Nothing,
        Ok(Some(event)) => {
            let entry = Entry::new(key, sequence_number, event);
            match entry.excess() {
                None => Task::Publish(entry),
                Some(bytes) => Task::SetAside(failed(&entry, format!("too large: {bytes} bytes"))),
            }
        }
        Err(unreadable @ UnreadableWrite(_)) => Task::SetAside(FailedEvent {
            key,
            sequence_number,
            event_id: None,
            r#type: None,
            reason: unreadable.to_string(),
        }),
    }
}

fn failed(entry: &Entry, reason: String) -> FailedEvent {
    FailedEvent {
        key: entry.key.clone(),
        sequence_number: entry.sequence_number.clone(),
        event_id: Some(entry.event_id),
        r#type: Some(entry.event_type),
        reason,
    }
}

/// The sequence number of the first record that must be given again, with all after it.
type Again = String;

struct Publishing<'p> {
    publisher: &'p Publisher,
    stop: SystemTime,
}

impl Publishing<'_> {
    /// Does the tasks in their order, until one fails or the time is up.
    async fn all(&self, tasks: Vec<Task>) -> Result<(), Again> {
        let mut batch = Batch::default();
        for task in tasks {
            match task {
                Task::Nothing => {}
                Task::Publish(entry) => {
                    if !batch.fits(&entry) {
                        self.publish(mem::take(&mut batch)).await?;
                    }
                    batch.push(entry);
                }
                Task::SetAside(failed) => {
                    self.publish(mem::take(&mut batch)).await?;
                    self.set_aside(failed).await?;
                }
            }
        }
        self.publish(batch).await
    }

    /// Puts a batch onto the bus. Retries the events that the bus does not take, twice at most.
    async fn publish(&self, batch: Batch) -> Result<(), Again> {
        let is_over = |left: &Vec<_>| left.is_empty() || self.time_is_up();
        let mut left = batch.into_entries();
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
                    if self.set_aside(failed(&entry, reason)).await.is_err() {
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

    /// Puts a change that can't be published into the queue.
    async fn set_aside(&self, failed: FailedEvent) -> Result<(), Again> {
        let FailedEvent { key, sequence_number, reason, .. } = &failed;
        if self.time_is_up() {
            return Err(failed.sequence_number);
        }
        match self.publisher.failed.send(&failed).await {
            Ok(()) => {
                error!(key, sequenceNumber = sequence_number, reason, "a change can't be published");
                counter!(EVENTS_FAILED).increment(1);
                Ok(())
            }
            Err(cause) => {
                error!(key, reason, cause, "a change can be neither published nor put into the queue");
                Err(failed.sequence_number)
            }
        }
    }

    fn time_is_up(&self) -> bool {
        time_until(self.stop).is_zero()
    }
}
