//! Lambda between a table's stream and a function: `publish-events` gets the records in their order, and again from the first that
//! was not published.
//!
//! The place in the stream up to which everything was published and delivered is kept in a file. So events that were under way when
//! the service stopped are published again when it starts.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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

use crate::bus::Bus;
use operator::private;

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
    file: Option<PathBuf>,
    /// How far everything has been published.
    published: Positions,
    /// The last of those below.
    noted: Positions,
    /// How far it was published when so many events were on the bus; what has been delivered since is not among them.
    published_before: VecDeque<(u64, Positions)>,
}

/// How far everything has been delivered, by stream.
type Checkpoints = BTreeMap<String, Positions>;

impl EventSource {
    /// One that begins where `file` says that an earlier one came to, or else with what is written from now on: what there is
    /// already is passed over.
    ///
    /// # Errors
    /// The stream can't be read.
    pub async fn begin(
        publisher: Publisher,
        database: Endpoint,
        arn: String,
        bus: Arc<Bus>,
        file: Option<PathBuf>,
    ) -> Result<Self, StreamError> {
        let kept = file.as_deref().and_then(read).and_then(|mut kept| kept.remove(&arn));
        let is_new = kept.is_none();
        let stream = Stream::new(database, arn.clone(), kept.clone().map_or(Start::Oldest, Start::After));
        let published = kept.unwrap_or_default();
        let (noted, published_before) = (published.clone(), VecDeque::new());
        let mut source = Self { publisher, arn, stream, bus, file, published, noted, published_before };
        if is_new {
            source.pass_over().await?;
        }
        Ok(source)
    }

    /// Goes to the end of the stream, and keeps where that is: what comes after it is published, also by a later start.
    async fn pass_over(&mut self) -> Result<(), StreamError> {
        // Between a shard and its children, there may be nothing once.
        let mut nothing = 0;
        while nothing < 2 {
            let pages = self.stream.read().await?;
            nothing = if pages.is_empty() { nothing + 1 } else { 0 };
            for Page { shard, records } in pages {
                let last = records.iter().rev().find_map(sequence_number);
                self.published.extend(last.map(|number| (shard, number.to_owned())));
            }
        }
        self.noted = self.published.clone();
        self.write(self.published.clone());
        Ok(())
    }

    /// Hands over what is written, until `stop` is cancelled; an invocation that is under way then is finished.
    pub async fn run(mut self, stop: CancellationToken) -> Self {
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
        self
    }

    /// Hands a page to the function until all of it is published.
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
    pub fn keep(&mut self) {
        if self.published != self.noted {
            self.noted = self.published.clone();
            self.published_before.push_back((self.bus.accepted(), self.published.clone()));
        }
        let delivered = self.bus.delivered();
        let mut reached = None;
        while self.published_before.front().is_some_and(|(accepted, _)| *accepted <= delivered) {
            reached = self.published_before.pop_front();
        }
        if let Some((_, delivered)) = reached {
            self.write(delivered);
        }
    }

    fn write(&self, mut delivered: Positions) {
        let Some(file) = &self.file else { return };
        // Shards that are gone have been read.
        delivered.retain(|shard, _| self.stream.shards().any(|known| known == shard));
        let mut checkpoints = read(file).unwrap_or_default();
        checkpoints.insert(self.arn.clone(), delivered);
        if let Err(cause) = write(file, &checkpoints) {
            warn!(%cause, "how far events have been delivered can't be kept; they may come again");
        }
    }
}

fn read(file: &Path) -> Option<Checkpoints> {
    let checkpoints = fs::read(file).ok().map(|text| serde_json::from_slice(&text));
    let unusable =
        |cause| warn!(%cause, "how far events were delivered can't be read; those until now are not sent");
    checkpoints?.map_err(unusable).ok()
}

/// Writes checkpoints in the place of those before.
fn write(path: &Path, checkpoints: &Checkpoints) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(private::folder_of(path))?;
    serde_json::to_writer(&mut file, checkpoints)?;
    file.flush()?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A pause that doubles with each failure in a row.
fn longer(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}
