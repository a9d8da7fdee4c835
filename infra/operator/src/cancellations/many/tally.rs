//! The counts of a command on many cancellations, as they are printed when it ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use domain::identifiers::BatchId;
use serde::Serialize;

use super::outcome::{LineOutcome, Refusal};
use crate::CommandError;
use crate::format::counted;

/// Lines by their outcome.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchTally {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch: Option<BatchId>,
    pub(super) dry_run: bool,
    pub(super) lines: u64,
    pub(super) done: u64,
    /// Lines that were done before.
    pub(super) before: u64,
    /// Refused lines, by the code of the problem.
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) interrupted: bool,
    /// Subscriptions that can't be read.
    pub(super) unreadable: u64,
    pub(super) results: PathBuf,
    pub(super) seconds: f64,
    /// The words for a line that is done, and for one that was.
    #[serde(skip)]
    pub(super) words: [&'static str; 2],
}

impl BatchTally {
    pub(super) fn new(
        batch: Option<BatchId>,
        dry_run: bool,
        words: [&'static str; 2],
        results: PathBuf,
    ) -> Self {
        Self {
            batch,
            dry_run,
            lines: 0,
            done: 0,
            before: 0,
            refused: BTreeMap::new(),
            interrupted: false,
            unreadable: 0,
            results,
            seconds: 0.0,
            words,
        }
    }

    pub(super) fn count(&mut self, outcome: &LineOutcome) {
        self.lines += 1;
        match outcome {
            LineOutcome::Done(_) => self.done += 1,
            LineOutcome::DoneBefore(_) => self.before += 1,
            LineOutcome::Refused(Refusal { code, .. }) => *self.refused.entry(code.clone()).or_default() += 1,
        }
    }

    /// Sets the duration, for people: to the millisecond.
    pub(super) fn stop(&mut self, elapsed: Duration) {
        self.seconds = (elapsed.as_secs_f64() * 1000.0).round() / 1000.0;
    }

    /// Formats the counts as one line for people.
    pub(super) fn text(&self) -> String {
        let Self { lines, done, before, refused, seconds, words: [done_word, before_word], .. } = self;
        let batch = self.batch.as_ref().map(|batch| format!("batch {batch}: ")).unwrap_or_default();
        let refusals: Vec<_> = refused.iter().map(|(code, count)| format!("{count} {code}")).collect();
        let refusals =
            if refusals.is_empty() { String::new() } else { format!(" ({})", refusals.join(", ")) };
        format!(
            "{batch}{} in {seconds:.1} s: {done} {done_word}, {before} {before_word}, {} refused{refusals}",
            counted(lines, "line"),
            refused.values().sum::<u64>()
        )
    }

    /// Decides the outcome of the command. `again` tells how it is continued.
    pub(super) fn judge(&self, outcome: Result<(), CommandError>, again: &str) -> Result<(), CommandError> {
        let lines = counted(self.lines, "line");
        match outcome {
            // Running the command again would not help.
            Err(CommandError::Write { .. }) => outcome,
            Err(cause) => Err(CommandError::Incomplete(format!("stopped after {lines}: {cause}; {again}"))),
            Ok(()) if self.interrupted => {
                Err(CommandError::Incomplete(format!("interrupted after {lines}; {again}")))
            }
            Ok(()) if !self.refused.is_empty() => {
                let refused = counted(self.refused.values().sum::<u64>(), "line");
                Err(CommandError::Incomplete(format!("{refused} refused; see {}", self.results.display())))
            }
            Ok(()) if self.unreadable > 0 => {
                Err(CommandError::Incomplete(format!("{} can't be read", counted(self.unreadable, "item"))))
            }
            Ok(()) => Ok(()),
        }
    }
}
