//! Importing a file of subscriptions, however large.
//!
//! It is read a part at a time, so memory does not grow with it; the subscriptions of a part are written in batches, some
//! at once. No two lines of a part name the same subscription or reference id, so the last line of the file is the one
//! that counts. What was imported once is recognised, so an import that was interrupted is begun again with the same
//! command, and ends in the same state.

mod parts;
mod rejects;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::subscriptions::api_key::Tenant;
use ::subscriptions::calendar::Calendar;
use ::subscriptions::identifiers::TenantId;
use ::subscriptions::import::{Existing, NewSubscription};
use ::subscriptions::store::import::Imported;
use ::subscriptions::store::{Store, StoreError};
use backon::{ExponentialBuilder, Retryable};
use clap::{Args, ValueEnum};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;

use self::parts::Part;
use self::rejects::{Reject, Rejects};
use super::session::Session;
use super::{CommandError, find_tenant};
use crate::ndjson::{Line, Lines, fault};

/// A batch ends after so many subscriptions, or so many bytes: what a slow line can carry before a request times out.
const BATCH_LINES: usize = 33;
const BATCH_BYTES: usize = 512 << 10;
/// How many batches are written at once.
const BATCHES_AT_ONCE: usize = 8;
/// How many faults are said one by one; all are in the file of rejects.
const FAULTS_SAID: u64 = 20;

/// Imports subscriptions.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// Subscriptions in the wire shape, one a line; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose subscriptions they are
    #[arg(long)]
    tenant: TenantId,
    /// What becomes of subscriptions that are there already, and differ
    #[arg(long, value_enum, default_value = "keep")]
    existing: OnExisting,
    /// Where lines that are not imported are written, with what is wrong with them [default: FILE.rejects]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Don't ask before cancellations are overwritten
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnExisting {
    /// They stay as they are
    Keep,
    /// They get the document of the file, unless their cancellation is pending or has taken effect
    Update,
    /// They get the document of the file, also if that undoes a cancellation
    Overwrite,
}

impl From<OnExisting> for Existing {
    fn from(existing: OnExisting) -> Self {
        match existing {
            OnExisting::Keep => Self::Keep,
            OnExisting::Update => Self::Update,
            OnExisting::Overwrite => Self::Overwrite,
        }
    }
}

/// What came of an import.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tally {
    lines: u64,
    added: u64,
    updated: u64,
    unchanged: u64,
    kept: u64,
    rejected: u64,
    interrupted: bool,
    seconds: f64,
    lines_per_second: f64,
}

pub(super) async fn run(import: Import, session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    if import.existing == OnExisting::Overwrite {
        session.confirm(import.yes, "Cancellations of subscriptions in the file are undone")?;
    }
    let tenant = find_tenant(&store, import.tenant.clone()).await?;
    let unreadable = |source| CommandError::Read { path: import.file.clone(), source };
    let (reader, length) = open(&import.file).map_err(unreadable)?;
    let rejects = import.rejects.clone().unwrap_or_else(|| beside(&import.file));

    let mut run = Run {
        store,
        existing: import.existing.into(),
        rejects: Rejects::new(rejects),
        progress: progress_bar(length),
        tally: Tally::default(),
        begun: Instant::now(),
        tenant,
        file: import.file,
    };
    let outcome = run.all(reader, session).await;
    run.finish(outcome, session)
}

fn open(path: &Path) -> io::Result<(Box<dyn BufRead + Send>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok((Box::new(BufReader::new(file)), Some(metadata.len()).filter(|_| metadata.is_file())))
}

fn beside(path: &Path) -> PathBuf {
    if path == Path::new("-") {
        return PathBuf::from("import.rejects");
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".rejects");
    PathBuf::from(name)
}

/// Shown on standard error if that is a terminal.
fn progress_bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{wide_bar} {percent:>3}%  {msg}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    // The templates are right, so the style is always this one.
    ProgressStyle::with_template(template).map_or(bar.clone(), |style| bar.with_style(style))
}

struct Run {
    store: Store,
    tenant: Tenant,
    file: PathBuf,
    existing: Existing,
    rejects: Rejects,
    progress: ProgressBar,
    tally: Tally,
    begun: Instant,
}

/// Subscriptions that are written together, and the number and text of the lines that they stand in.
#[derive(Default)]
struct Batch {
    subscriptions: Vec<NewSubscription>,
    lines: Vec<(u64, String)>,
    bytes: usize,
}

/// What came of a line with a subscription.
struct Outcome {
    line: u64,
    text: String,
    subscription: NewSubscription,
    imported: Imported,
}

impl Batch {
    fn has_room_for(&self, text: &str) -> bool {
        self.lines.is_empty() || self.lines.len() < BATCH_LINES && self.bytes + text.len() <= BATCH_BYTES
    }
}

impl Run {
    async fn all(
        &mut self,
        reader: Box<dyn BufRead + Send>,
        session: &mut Session<'_>,
    ) -> Result<(), CommandError> {
        let now = session.now();
        let lines = Lines::new(reader, Calendar::new(self.tenant.time_zone, now), now);
        let mut parts = parts::read(lines);
        loop {
            let part = tokio::select! {
                biased;
                () = session.stop.cancelled() => {
                    self.tally.interrupted = true;
                    return Ok(());
                }
                part = parts.recv() => part,
            };
            let Some(part) = part else { return Ok(()) };
            let part = part.map_err(|source| CommandError::Read { path: self.file.clone(), source })?;
            let position = part.position;
            self.part(part, session).await?;
            self.progress.set_position(position);
            let rate = self.tally.lines_per_second(self.begun.elapsed());
            self.progress.set_message(format!("{} lines, {rate:.0} a second", HumanCount(self.tally.lines)));
        }
    }

    async fn part(&mut self, part: Part, session: &mut Session<'_>) -> Result<(), CommandError> {
        let lines = u64::try_from(part.lines.len()).unwrap_or(u64::MAX);
        let mut batches = Vec::new();
        let mut batch = Batch::default();
        let mut rejected = Vec::new();
        for Line { number, text, subscription } in part.lines {
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
        batches.push(batch);
        let written = stream::iter(batches)
            .map(|batch| write(&self.store, &self.tenant.id, batch, self.existing))
            .buffer_unordered(BATCHES_AT_ONCE)
            .try_concat()
            .await?;
        for Outcome { line, text, subscription, mut imported } in written {
            // Another line of the part may have given up the reference id that it wants.
            if imported == Imported::ReferenceTaken {
                let again = patiently(&self.store, &self.tenant.id, &[subscription], self.existing).await?;
                imported = again.into_iter().next().unwrap_or(imported);
            }
            match imported {
                Imported::Added => self.tally.added += 1,
                Imported::Replaced => self.tally.updated += 1,
                Imported::Unchanged => self.tally.unchanged += 1,
                Imported::Kept => self.tally.kept += 1,
                Imported::ReferenceTaken | Imported::Refused | Imported::Unreadable => {}
            }
            if let Some(fault) = fault(imported) {
                rejected.push(Reject { line, fault: fault.to_owned(), text: Some(text) });
            }
        }
        rejected.sort_by_key(|reject| reject.line);
        for reject in rejected {
            self.reject(&reject, session)?;
        }
        self.tally.lines += lines;
        Ok(())
    }

    fn reject(&mut self, reject: &Reject, session: &mut Session<'_>) -> Result<(), CommandError> {
        self.tally.rejected += 1;
        if self.tally.rejected <= FAULTS_SAID {
            let text = format!("line {}: {}", reject.line, reject.fault);
            self.progress.suspend(|| session.note(&text));
        }
        self.rejects.add(reject)
    }

    /// Says what came of it.
    fn finish(
        mut self,
        outcome: Result<(), CommandError>,
        session: &mut Session<'_>,
    ) -> Result<(), CommandError> {
        self.progress.finish_and_clear();
        let elapsed = self.begun.elapsed();
        self.tally.seconds = (elapsed.as_secs_f64() * 1000.0).round() / 1000.0;
        self.tally.lines_per_second = self.tally.lines_per_second(elapsed).round();
        let is_complete = outcome.is_ok() && !self.tally.interrupted;
        self.rejects.finish(is_complete)?;
        let Tally { lines, added, updated, unchanged, kept, rejected, seconds, lines_per_second, .. } =
            self.tally;
        if rejected > FAULTS_SAID {
            session.note(&format!("and {} lines more", rejected - FAULTS_SAID));
        }
        if kept > 0 {
            session.note(match self.existing {
                Existing::Update => "Kept are those whose cancellation is pending or has taken effect.",
                _ => {
                    "Kept are those that differ from the file; --existing says what else can become of them."
                }
            });
        }
        session.print(&self.tally, || {
            format!(
                "{lines} lines in {seconds:.1} s, {lines_per_second:.0} a second: {added} added, \
                 {updated} updated, {unchanged} unchanged, {kept} kept, {rejected} rejected"
            )
        })?;
        if let Err(cause) = outcome {
            return Err(CommandError::Incomplete(format!(
                "stopped after {lines} lines: {cause}; the same command goes on"
            )));
        }
        if self.tally.interrupted {
            let message = format!("interrupted after {lines} lines; the same command goes on");
            return Err(CommandError::Incomplete(message));
        }
        if rejected > 0 {
            let path = self.rejects.path.display();
            return Err(CommandError::Incomplete(format!("{rejected} lines were rejected; see {path}")));
        }
        Ok(())
    }
}

impl Tally {
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate for people")]
    fn lines_per_second(self, elapsed: Duration) -> f64 {
        self.lines as f64 / elapsed.as_secs_f64().max(0.001)
    }
}

async fn write(
    store: &Store,
    tenant: &TenantId,
    batch: Batch,
    existing: Existing,
) -> Result<Vec<Outcome>, StoreError> {
    let imported = patiently(store, tenant, &batch.subscriptions, existing).await?;
    let subscriptions = batch.subscriptions.into_iter().zip(batch.lines).zip(imported);
    let outcome = |((subscription, (line, text)), imported)| Outcome { line, text, subscription, imported };
    Ok(subscriptions.map(outcome).collect())
}

/// Imports, again and again while the database can't, for about a minute.
async fn patiently(
    store: &Store,
    tenant: &TenantId,
    subscriptions: &[NewSubscription],
    existing: Existing,
) -> Result<Vec<Imported>, StoreError> {
    let patience = ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(10);
    (|| store.import(tenant, subscriptions, existing))
        .retry(patience)
        .when(|error| matches!(error, StoreError::Unavailable(_) | StoreError::Conflict))
        .await
}
