//! Lambda's reading of a table's stream: `publish-events` gets the records in their order, and again from the first that was not
//! published.
//!
//! The place in the stream up to which everything is published is kept in a file. So changes that were not published when the
//! service stopped are published after the next start.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lambda_http::{Context, Error, LambdaEvent};
use serde_json::json;
use service::clock;
use service::endpoint::Endpoint;
use service::publish::Publisher;
use streams::{Page, Positions, Record, Start, Stream, StreamError, as_in_an_event, sequence_number};
use tempfile::NamedTempFile;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

use operator::private;

/// Time limit of an invocation.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Pause when there is nothing new in the stream.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The stream of a table, and the function that it invokes.
pub struct EventSource {
    publisher: Publisher,
    arn: String,
    stream: Stream,
    file: Option<PathBuf>,
    /// The place up to which everything is published.
    published: Positions,
    /// The place that is kept in the file.
    kept: Positions,
}

/// The place up to which everything is published, by stream.
type Checkpoints = BTreeMap<String, Positions>;

impl EventSource {
    /// Creates a source that continues at the place that an earlier one kept in `file`.
    ///
    /// Without such a place, it begins with changes that are written from now on, and skips those in the stream.
    ///
    /// # Errors
    /// The stream can't be read.
    pub async fn begin(
        publisher: Publisher,
        database: Endpoint,
        arn: String,
        file: Option<PathBuf>,
    ) -> Result<Self, StreamError> {
        let kept = file.as_deref().and_then(read).and_then(|mut kept| kept.remove(&arn));
        let is_new = kept.is_none();
        let stream = Stream::new(database, arn.clone(), kept.clone().map_or(Start::Oldest, Start::After));
        let published = kept.unwrap_or_default();
        let kept = published.clone();
        let mut source = Self { publisher, arn, stream, file, published, kept };
        if is_new {
            source.pass_over().await?;
        }
        Ok(source)
    }

    /// Skips to the end of the stream, and keeps this place. Later changes are published, even if only after the next start.
    async fn pass_over(&mut self) -> Result<(), StreamError> {
        // One empty read may only mean that a shard has ended and its children come next.
        let mut nothing = 0;
        while nothing < 2 {
            let pages = self.stream.read().await?;
            nothing = if pages.is_empty() { nothing + 1 } else { 0 };
            for Page { shard, records } in pages {
                let last = records.iter().rev().find_map(sequence_number);
                self.published.extend(last.map(|number| (shard, number.to_owned())));
            }
        }
        self.kept = self.published.clone();
        self.write();
        Ok(())
    }

    /// Gives new records to the function, until `stop` is cancelled. An invocation in progress is finished.
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
                Err(cause @ StreamError::Lost) => {
                    error!(%cause, "events are lost");
                    PAUSE
                }
                Err(cause) => {
                    failures += 1;
                    // Logged once only, because the failure may last.
                    if failures == 1 {
                        warn!(%cause, "events can't be read; trying again");
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
    }

    /// Gives a page to the function, again and again until all of it is published, or `stop` is cancelled.
    async fn hand_over(&mut self, page: Page, stop: &CancellationToken) {
        let Page { shard, mut records } = page;
        let mut failures = 0;
        loop {
            let published = match self.invoke(&records).await {
                Ok(None) => records.len(),
                Ok(Some(number)) => {
                    let of_it = |record: &Record| sequence_number(record) == Some(&number);
                    records.iter().position(of_it).unwrap_or_default()
                }
                Err(cause) => {
                    error!(%cause, "an invocation failed");
                    0
                }
            };
            let last = records.drain(..published).next_back();
            if let Some(number) = last.as_ref().and_then(sequence_number) {
                self.published.insert(shard.clone(), number.to_owned());
            }
            if records.is_empty() {
                return;
            }
            self.keep();
            failures = if published > 0 { 1 } else { failures + 1 };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(longer(failures)) => {}
            }
        }
    }

    /// Invokes the function once. Returns the sequence number of the first record that must be given again.
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

    /// Keeps the place up to which everything is published, if it has advanced.
    fn keep(&mut self) {
        if self.published != self.kept {
            self.kept = self.published.clone();
            self.write();
        }
    }

    fn write(&self) {
        let Some(file) = &self.file else { return };
        // Shards that no longer exist have been read completely.
        let mut published = self.published.clone();
        published.retain(|shard, _| self.stream.shards().any(|known| known == shard));
        let mut checkpoints = read(file).unwrap_or_default();
        checkpoints.insert(self.arn.clone(), published);
        if let Err(cause) = write(file, &checkpoints) {
            warn!(%cause, "cannot save the progress of publishing; events may be published again");
        }
    }
}

/// Returns the place up to which everything is published, according to the file of a source that has ended.
#[must_use]
pub fn published_in(file: &Path) -> Positions {
    read(file).unwrap_or_default().into_values().flatten().collect()
}

fn read(file: &Path) -> Option<Checkpoints> {
    let checkpoints = fs::read(file).ok().map(|text| serde_json::from_slice(&text));
    let unusable =
        |cause| warn!(%cause, "cannot read the progress of publishing; changes up to now are not published");
    checkpoints?.map_err(unusable).ok()
}

/// Replaces the file of checkpoints.
fn write(path: &Path, checkpoints: &Checkpoints) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(private::folder_of(path))?;
    serde_json::to_writer(&mut file, checkpoints)?;
    file.flush()?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Returns a pause that doubles with each failure in a row.
fn longer(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}
