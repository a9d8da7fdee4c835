//! The file of the results: one line of JSON for each subscription. Only its owner can read it, unless it was there before.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use domain::cancellation::CancellationState;
use domain::identifiers::SubscriptionId;
use serde::Serialize;
use serde_json::value::RawValue;

use super::outcome::{LineOutcome, Refusal};
use crate::{CommandError, private, terminal};

/// The result of one line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LineResult<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u64>,
    /// The subscription, as the line names it.
    pub(super) subscription: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subscription_id: Option<SubscriptionId>,
    /// The word for the outcome, or the code of the problem.
    outcome: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'r str>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'r RawValue>,
    /// The state of a cancellation that was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<CancellationState>,
}

impl<'r> LineResult<'r> {
    /// Describes an outcome. `done` and `before` are the words for a line that is done, and for one that was.
    pub(super) fn new(
        line: Option<u64>,
        subscription: &'r str,
        subscription_id: Option<SubscriptionId>,
        outcome: &'r LineOutcome,
        [done, before]: [&'r str; 2],
    ) -> Self {
        let none = Self {
            line,
            subscription,
            subscription_id,
            outcome: "",
            detail: None,
            answer: None,
            state: None,
        };
        match outcome {
            LineOutcome::Done(answer) => Self { outcome: done, answer: Some(answer), ..none },
            LineOutcome::DoneBefore(state) => Self { outcome: before, state: *state, ..none },
            LineOutcome::Refused(Refusal { code, detail }) => {
                Self { outcome: code, detail: Some(detail), ..none }
            }
        }
    }
}

/// The file of the results.
pub(super) struct Results {
    pub(super) path: PathBuf,
    file: File,
}

impl Results {
    /// Opens the file to append to it. So it keeps what an interrupted run has done.
    pub(super) fn open(path: PathBuf) -> Result<Self, CommandError> {
        let file = private::append_to(&path);
        let file = file.map_err(|source| CommandError::Write { path: path.clone(), source })?;
        Ok(Self { path, file })
    }

    pub(super) fn add(&mut self, result: &LineResult<'_>) -> Result<(), CommandError> {
        let line = terminal::json(result).map_err(std::io::Error::from);
        // Not buffered, because a second signal ends the process at once.
        let written = line.and_then(|line| self.file.write_all(format!("{line}\n").as_bytes()));
        written.map_err(|source| CommandError::Write { path: self.path.clone(), source })
    }
}
