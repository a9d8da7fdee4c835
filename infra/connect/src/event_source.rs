//! What Lambda does between a table's stream and a function: hands `publish-events` the records in their order, and again from
//! the first that was not told.
//!
//! How far all that was told has been delivered too is kept in a file. So what was under way when the service stopped is
//! told again when it starts.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodbstreams::types::Record;
use lambda_http::{Context, Error, LambdaEvent};
use publish_events::Publisher;
use serde::{Deserialize, Serialize};
use serde_json::json;
use subscriptions::clock;
use subscriptions::endpoint::Endpoint;
use tempfile::NamedTempFile;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

use crate::bus::Bus;
use crate::private;
use crate::stream::{Page, Positions, Start, Stream, as_in_an_event, sequence_number};

/// How long an invocation may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long the stream is left alone when there is nothing new in it.
const PAUSE: Duration = Duration::from_millis(250);
/// How long, at most, when something fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The stream of a table, and the function that it invokes.
pub struct EventSource {
    publisher: Publisher,
    arn: String,
    stream: Stream,
    bus: Arc<Bus>,
    checkpoint: Option<PathBuf>,
    /// How far everything has been told.
    told: Positions,
    /// The last of those below.
    noted: Positions,
    /// How far it was told when so many events were on the bus; what has been delivered since is not among them.
    told_before: VecDeque<(u64, Positions)>,
}

/// How far everything has been told and delivered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checkpoint {
    stream_arn: String,
    shards: Positions,
}

impl EventSource {
    /// One that begins where `checkpoint` says that an earlier one came to, or with the oldest record.
    #[must_use]
    pub fn new(
        publisher: Publisher,
        database: Endpoint,
        arn: String,
        bus: Arc<Bus>,
        checkpoint: Option<PathBuf>,
    ) -> Self {
        let told = checkpoint.as_ref().and_then(|file| fs::read(file).ok()).and_then(|text| {
            let kept: Checkpoint = serde_json::from_slice(&text).ok()?;
            (kept.stream_arn == arn).then_some(kept.shards)
        });
        let start = told.clone().map_or(Start::Oldest, Start::After);
        let stream = Stream::new(database, arn.clone(), start);
        let told = told.unwrap_or_default();
        let noted = told.clone();
        Self { publisher, arn, stream, bus, checkpoint, told, noted, told_before: VecDeque::new() }
    }

    /// Hands over what is written, until `stop` is cancelled; an invocation that is under way then is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let pause = match self.stream.read().await {
                Ok(pages) => {
                    failures = 0;
                    let pause = if pages.is_empty() { PAUSE } else { Duration::ZERO };
                    for page in pages {
                        self.hand_over(page, &stop).await;
                    }
                    pause
                }
                Err(cause) => {
                    failures += 1;
                    // Once: it may be so for long.
                    if failures == 1 {
                        warn!(%cause, "no events for now");
                    }
                    longer(failures)
                }
            };
            self.keep();
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
        self.keep();
    }

    /// Hands a page to the function until all of it is told.
    async fn hand_over(&mut self, page: Page, stop: &CancellationToken) {
        let Page { shard, mut records } = page;
        let mut failures = 0;
        loop {
            let again = self.invoke(&records).await;
            let told = match &again {
                Ok(None) => records.len(),
                Ok(Some(number)) => {
                    let of_it = |record: &Record| sequence_number(record) == Some(number);
                    records.iter().position(of_it).unwrap_or_default()
                }
                Err(cause) => {
                    error!(%cause, "an invocation failed");
                    0
                }
            };
            let last = records.drain(..told).next_back();
            if let Some(number) = last.as_ref().and_then(sequence_number) {
                self.told.insert(shard.clone(), number.to_owned());
            }
            if records.is_empty() {
                return;
            }
            failures = if told > 0 { 1 } else { failures + 1 };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(longer(failures)) => {}
            }
        }
    }

    /// Invokes the function once; where the records have to be begun again.
    async fn invoke(&self, records: &[Record]) -> Result<Option<String>, Error> {
        let records = records.iter().map(|record| as_in_an_event(record.clone(), &self.arn));
        let event = json!({"Records": records.collect::<Vec<_>>()});
        let mut context = Context::default();
        context.request_id = Uuid::new_v4().to_string();
        context.deadline = clock::deadline_in(TIMEOUT);
        let event = LambdaEvent::new(serde_json::from_value(event)?, context);
        let answer = publish_events::handle(&self.publisher, event).await?;
        Ok(answer.batch_item_failures.into_iter().find_map(|failure| failure.item_identifier))
    }

    /// Keeps how far everything has been delivered, if that is farther than before.
    fn keep(&mut self) {
        if self.told != self.noted {
            self.noted = self.told.clone();
            self.told_before.push_back((self.bus.accepted(), self.told.clone()));
        }
        let delivered = self.bus.delivered();
        let mut reached = None;
        while self.told_before.front().is_some_and(|(accepted, _)| *accepted <= delivered) {
            reached = self.told_before.pop_front();
        }
        if let (Some((_, shards)), Some(file)) = (reached, &self.checkpoint) {
            let checkpoint = Checkpoint { stream_arn: self.arn.clone(), shards };
            if let Err(cause) = write(file, &checkpoint) {
                warn!(%cause, "how far events have been delivered can't be kept; they may come again");
            }
        }
    }
}

/// Writes a checkpoint in the place of the one before.
fn write(path: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(private::folder_of(path))?;
    serde_json::to_writer(&mut file, checkpoint)?;
    file.flush()?;
    file.persist(path)?;
    Ok(())
}

/// A pause that doubles with each failure in a row.
fn longer(failures: u32) -> Duration {
    PAUSE.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
}
