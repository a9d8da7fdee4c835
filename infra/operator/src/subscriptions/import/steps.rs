//! The steps of an import: reads, writes, counts and reports parts, until the end, a failure or a signal.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Instant;

use domain::calendar::{Calendar, TimeZone};
use domain::import::Existing;
use indicatif::{HumanCount, ProgressBar};
use service::import::Imported;

use super::batches::{Outcome, Writer, Written, divide};
use super::parts::{self, FilePart};
use super::rejects::{Reject, Rejects};
use super::tally::Tally;
use crate::format::counted;
use crate::ndjson::Lines;
use crate::{CommandError, Session};

/// Most faults that are noted one by one. All are in the file of rejects.
const FAULTS_SAID: u64 = 20;

/// An import in progress.
pub(super) struct Steps {
    file: PathBuf,
    writer: Writer,
    rejects: Rejects,
    progress: ProgressBar,
    tally: Tally,
    begun: Instant,
}

impl Steps {
    /// Begins an import.
    pub(super) fn new(file: PathBuf, writer: Writer, rejects: Rejects, progress: ProgressBar) -> Self {
        Self { file, writer, rejects, progress, tally: Tally::default(), begun: Instant::now() }
    }

    /// Imports part after part. Lines that were imported before a failure or a signal stay.
    pub(super) async fn all(
        &mut self,
        reader: Box<dyn BufRead + Send>,
        time_zone: TimeZone,
        session: &mut Session<'_>,
    ) -> Result<(), CommandError> {
        let now = session.now();
        let lines = Lines::new(reader, Calendar::new(time_zone, now), now);
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
            let rate = self.tally.rate(self.begun.elapsed());
            self.progress.set_message(format!("{} lines, {rate:.0} a second", HumanCount(self.tally.lines)));
            self.progress.set_position(position);
        }
    }

    /// Imports a part.
    async fn part(&mut self, part: FilePart, session: &mut Session<'_>) -> Result<(), CommandError> {
        let (batches, mut rejected) = divide(part.lines);
        self.tally.lines += u64::try_from(rejected.len()).unwrap_or(u64::MAX);
        let Written { outcomes, mut failed } = self.writer.write_all(batches).await;
        for Outcome { line, text, subscription, mut imported } in outcomes {
            // Another line of the part may have given up the reference id since.
            if imported == Imported::ReferenceTaken && failed.is_none() {
                match self.writer.write_one(&subscription).await {
                    Ok(again) => imported = again,
                    Err(cause) => {
                        failed = Some(cause);
                        continue;
                    }
                }
            }
            self.tally.count(&imported);
            if imported == Imported::Undone {
                let text =
                    format!("line {line}: a cancellation of {} is undone or changed", subscription.id());
                self.progress.suspend(|| session.note(&text));
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

    fn reject(&mut self, reject: &Reject, session: &mut Session<'_>) -> Result<(), CommandError> {
        self.tally.rejected += 1;
        if self.tally.rejected <= FAULTS_SAID {
            let text = format!("line {}: {}", reject.line, reject.fault);
            self.progress.suspend(|| session.note(&text));
        }
        self.rejects.add(reject)
    }

    /// Ends the import, and reports it.
    pub(super) fn finish(
        mut self,
        outcome: Result<(), CommandError>,
        session: &mut Session<'_>,
    ) -> Result<(), CommandError> {
        self.progress.finish_and_clear();
        self.tally.stop(self.begun.elapsed());
        self.advise(session);
        let closed = self.rejects.finish(outcome.is_ok() && !self.tally.interrupted);
        let outcome = self.judge(outcome, closed);
        session.conclude(&self.tally, || self.tally.text(), outcome)
    }

    /// Notes advice on the lines that were not imported.
    fn advise(&self, session: &mut Session<'_>) {
        let Tally { kept, rejected, overdue, .. } = self.tally;
        if rejected > FAULTS_SAID {
            session.note(&format!("and {} more", counted(rejected - FAULTS_SAID, "line")));
        }
        if overdue > 0 {
            session.note("With --overdue, cancellations whose date has begun are accepted and executed.");
        }
        if kept > 0 {
            session.note(match self.writer.rules.existing {
                Existing::Update => "Kept: subscriptions whose cancellation the file would undo or change.",
                _ => {
                    "Kept: subscriptions that differ from the file; --existing can update or overwrite them."
                }
            });
        }
    }

    /// Decides the outcome of the command. It fails after a failure that stopped it, a signal, an incomplete file of rejects, or
    /// rejects.
    fn judge(
        &self,
        outcome: Result<(), CommandError>,
        closed: Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let Tally { lines, rejected, interrupted, .. } = self.tally;
        match outcome {
            // Running the command again would not help.
            Err(CommandError::Write { .. }) => outcome,
            Err(cause) => {
                let stopped = format!(
                    "stopped after {}: {cause}; run the same command again to continue",
                    counted(lines, "line")
                );
                Err(CommandError::Incomplete(stopped))
            }
            Ok(()) if interrupted => {
                let message = format!(
                    "interrupted after {}; run the same command again to continue",
                    counted(lines, "line")
                );
                Err(CommandError::Incomplete(message))
            }
            Ok(()) if closed.is_err() => closed,
            Ok(()) if rejected > 0 => {
                let path = self.rejects.path.display();
                Err(CommandError::Incomplete(format!("{} rejected; see {path}", counted(rejected, "line"))))
            }
            Ok(()) => Ok(()),
        }
    }
}
