//! Importing a file of subscriptions, however large.
//!
//! It is read a part at a time, so memory does not grow with it; the subscriptions of a part are written in batches, some
//! at once. No two lines of a part name the same subscription or reference id, so a line meets what those before it have
//! left. What was imported once is recognised, so an import that was interrupted is begun again with the same
//! command, and ends in the same state.

mod parts;
mod rejects;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use domain::calendar::Calendar;
use domain::identifiers::TenantId;
use domain::import::{Existing, NewSubscription, Rules};
use domain::tenant::Tenant;
use futures::{StreamExt, stream};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;
use service::clock::Clock;
use service::import::{Imported, TOGETHER, import, import_together};
use store::{Patience, try_again};
use store::{Store, StoreError};

use self::parts::Part;
use self::rejects::{Reject, Rejects};
use crate::arguments::{find_tenant, parse_tenant};
use crate::format::counted;
use crate::ndjson::{Line, Lines};
use crate::{CommandError, Session};

/// A batch ends after [`TOGETHER`] subscriptions, or so many bytes: what a slow line can carry before a request times out.
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
    #[arg(long, value_parser = parse_tenant)]
    tenant: TenantId,
    /// What becomes of subscriptions that are there already, and differ
    #[arg(long, value_enum, default_value = "keep")]
    existing: OnExisting,
    /// Take in cancellations whose date has begun; they are executed within a minute
    #[arg(long)]
    overdue: bool,
    /// Where lines that are not imported are written, with what is wrong with them [default: FILE.rejects; import.rejects for
    /// standard input, which must not be there yet]
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
    /// They get the document of the file, unless that would undo or change a cancellation, pending or done, or bring one back
    /// that was withdrawn
    Update,
    /// They get the document of the file, and with it that document's cancellation, or none
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
    /// Of those, how many lost a cancellation, or have another one now.
    undone: u64,
    unchanged: u64,
    kept: u64,
    rejected: u64,
    /// Of those, how many would be cancelled at once.
    overdue: u64,
    interrupted: bool,
    seconds: f64,
    lines_per_second: f64,
}

pub(crate) async fn run(import: Import, session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, import.tenant.clone()).await?;
    let unreadable = |source| CommandError::Read { path: import.file.clone(), source };
    let (reader, length) = open(&import.file).map_err(unreadable)?;
    if import.existing == OnExisting::Overwrite {
        let what = format!(
            "Cancellations of subscriptions of {} are undone where {} says otherwise, also those that are asked for meanwhile",
            tenant.id,
            import.file.display()
        );
        session.confirm(import.yes, what).await?;
    }

    let mut run = Run {
        store,
        clock: session.clock.clone(),
        rules: Rules { existing: import.existing.into(), takes_overdue: import.overdue },
        rejects: Rejects::new(import.rejects, &import.file)?,
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
    clock: Clock,
    tenant: Tenant,
    file: PathBuf,
    rules: Rules,
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

/// What came of a batch, as far as it came.
#[derive(Default)]
struct Written {
    outcomes: Vec<Outcome>,
    failed: Option<StoreError>,
}

impl Batch {
    fn has_room_for(&self, text: &str) -> bool {
        self.lines.is_empty() || self.lines.len() < TOGETHER && self.bytes + text.len() <= BATCH_BYTES
    }
}

impl Run {
    async fn all(
        &mut self,
        reader: Box<dyn BufRead + Send>,
        session: &mut Session<'_>,
    ) -> Result<(), CommandError> {
        let now = session.now();
        let lines = Lines::new(reader, Calendar::new(self.tenant.time_zone.clone(), now), now);
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
            let rate = self.tally.lines_per_second(self.begun.elapsed());
            self.progress.set_message(format!("{} lines, {rate:.0} a second", HumanCount(self.tally.lines)));
            self.progress.set_position(position);
        }
    }

    async fn part(&mut self, part: Part, session: &mut Session<'_>) -> Result<(), CommandError> {
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
                Err(fault) => {
                    self.tally.lines += 1;
                    rejected.push(Reject { line: number, fault, text });
                }
            }
        }
        batches.extend(Some(batch).filter(|batch| !batch.lines.is_empty()));
        let has_failed = AtomicBool::new(false);
        let written: Vec<Written> = stream::iter(batches)
            .map(|batch| self.write(batch, &has_failed))
            .buffer_unordered(BATCHES_AT_ONCE)
            .collect()
            .await;

        let mut failed = None;
        let mut outcomes = Vec::new();
        for batch in written {
            failed = failed.or(batch.failed);
            outcomes.extend(batch.outcomes);
        }
        outcomes.sort_by_key(|outcome| outcome.line);
        for Outcome { line, text, subscription, mut imported } in outcomes {
            // Another line of the part may have given up the reference id that it wants.
            if imported == Imported::ReferenceTaken && failed.is_none() {
                match self.write_one(&subscription).await {
                    Ok(again) => imported = again,
                    Err(cause) => {
                        failed = Some(cause);
                        continue;
                    }
                }
            }
            self.tally.lines += 1;
            match imported {
                Imported::Added => self.tally.added += 1,
                Imported::Replaced => self.tally.updated += 1,
                Imported::Undone => {
                    self.tally.updated += 1;
                    self.tally.undone += 1;
                    let text =
                        format!("line {line}: a cancellation of {} is undone or changed", subscription.id());
                    self.progress.suspend(|| session.note(&text));
                }
                Imported::Unchanged => self.tally.unchanged += 1,
                Imported::Kept => self.tally.kept += 1,
                Imported::Overdue => self.tally.overdue += 1,
                Imported::ReferenceTaken | Imported::Refused | Imported::Unreadable => {}
            }
            if let Some(fault) = imported.fault() {
                rejected.push(Reject { line, fault: fault.to_owned(), text: Some(text) });
            }
        }
        rejected.sort_by_key(|reject| reject.line);
        for reject in rejected {
            self.reject(&reject, session)?;
        }
        failed.map_or(Ok(()), |cause| Err(cause.into()))
    }

    /// Writes a batch together, or, if that can't be, one after the other; none if another batch has failed.
    async fn write(&self, batch: Batch, has_failed: &AtomicBool) -> Written {
        let mut written = Written::default();
        if has_failed.load(Ordering::Relaxed) {
            return written;
        }
        let together = try_again(Patience::OfCommand, || {
            import_together(&self.store, &self.tenant.id, &batch.subscriptions, self.rules, self.clock.now())
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

    async fn write_one(&self, subscription: &NewSubscription) -> Result<Imported, StoreError> {
        try_again(Patience::OfCommand, || {
            import(&self.store, &self.tenant.id, subscription, self.rules, self.clock.now())
        })
        .await
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
        let Tally { lines, added, updated, unchanged, kept, rejected, .. } = self.tally;
        let Tally { interrupted, seconds, lines_per_second, .. } = self.tally;
        if rejected > FAULTS_SAID {
            session.note(&format!("and {} more", counted(rejected - FAULTS_SAID, "line")));
        }
        if self.tally.overdue > 0 {
            session.note("With --overdue, cancellations whose date has begun are taken in and executed.");
        }
        if kept > 0 {
            session.note(match self.rules.existing {
                Existing::Update => "Kept are those whose cancellation the file would undo or change.",
                _ => {
                    "Kept are those that differ from the file; --existing says what else can become of them."
                }
            });
        }
        let closed = self.rejects.finish(outcome.is_ok() && !interrupted);
        let outcome = match outcome {
            // To do the same again would not help.
            Err(CommandError::Write { .. }) => outcome,
            Err(cause) => {
                let stopped =
                    format!("stopped after {}: {cause}; the same command goes on", counted(lines, "line"));
                Err(CommandError::Incomplete(stopped))
            }
            Ok(()) if interrupted => {
                let message =
                    format!("interrupted after {}; the same command goes on", counted(lines, "line"));
                Err(CommandError::Incomplete(message))
            }
            Ok(()) if closed.is_err() => closed,
            Ok(()) if rejected > 0 => {
                let path = self.rejects.path.display();
                Err(CommandError::Incomplete(format!("{} rejected; see {path}", counted(rejected, "line"))))
            }
            Ok(()) => Ok(()),
        };
        let text = || {
            format!(
                "{} in {seconds:.1} s, {lines_per_second:.0} a second: {added} added, {updated} updated, \
                 {unchanged} unchanged, {kept} kept, {rejected} rejected",
                counted(lines, "line")
            )
        };
        session.conclude(&self.tally, text, outcome)
    }
}

impl Tally {
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate for people")]
    fn lines_per_second(self, elapsed: Duration) -> f64 {
        self.lines as f64 / elapsed.as_secs_f64().max(0.001)
    }
}
