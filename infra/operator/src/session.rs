//! The session of a command: the database and the clock that it works with, its output, and its questions.

use std::io::{self, IsTerminal, Write};
use std::thread;

use chrono::{DateTime, Utc};
use serde::Serialize;
use service::clock::Clock;
use service::endpoint::Endpoint;
use store::Admin;
use store::tables::TableNames;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::CommandError;
use crate::format::counted;
use crate::terminal::{self, Text};

/// The environment variable that names the schedule that sweeps, as the stack's output `Environment` sets it.
pub const SCHEDULE_VARIABLE: &str = "SWEEP_SCHEDULE";

/// What a command works on, and where it says what.
pub struct Session<'s> {
    /// The database.
    pub endpoint: Endpoint,
    /// What its tables are called.
    pub tables: TableNames,
    /// What the schedule is called that sweeps, if there is one: what [`SCHEDULE_VARIABLE`] says.
    pub schedule: Option<String>,
    /// What time it is.
    pub clock: Clock,
    /// Whether what was asked for is wanted as JSON.
    pub json: bool,
    /// Where it goes.
    pub out: &'s mut (dyn Write + Send),
    /// Where all else goes.
    pub notes: &'s mut (dyn Write + Send),
    /// Cancelled when the command shall stop.
    pub stop: CancellationToken,
}

impl Session<'_> {
    pub(crate) fn store(&self) -> Admin {
        Admin::new(&self.endpoint.sdk_config(), self.tables.clone())
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Says what was asked for: a value for programs, or a text for people.
    pub(crate) fn print<T: Into<Text>>(
        &mut self,
        value: &impl Serialize,
        text: impl FnOnce() -> T,
    ) -> Result<(), CommandError> {
        if self.json {
            writeln!(self.out, "{}", terminal::json(value).map_err(io::Error::from)?)?;
        } else {
            writeln!(self.out, "{}", text().into())?;
        }
        Ok(())
    }

    /// Says what was asked for, and then how it went: what went wrong is worse than that nobody reads it.
    pub(crate) fn conclude<T: Into<Text>>(
        &mut self,
        value: &impl Serialize,
        text: impl FnOnce() -> T,
        outcome: Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let printed = self.print(value, text);
        outcome.and(printed)
    }

    /// Says something beside it, on one line.
    pub(crate) fn note(&mut self, line: &str) {
        // If nobody listens, the command is to be carried out all the same.
        let _ = writeln!(self.notes, "{}", Text::from(line));
    }

    /// Names what can't be read, by its key; a command that leaves something out has not done all of it.
    pub(crate) fn complain(&mut self, unreadable: &[String]) -> Result<(), CommandError> {
        for key in unreadable {
            self.note(&format!("not what this service writes: {key}"));
        }
        match unreadable.len() {
            0 => Ok(()),
            count => Err(CommandError::Incomplete(format!("{} can't be read", counted(count, "item")))),
        }
    }

    /// Asks whether something that can't be taken back shall be done, unless it was answered before.
    pub(crate) async fn confirm(&mut self, yes: bool, what: String) -> Result<(), CommandError> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(CommandError::NobodyToAsk(what));
        }
        self.note(&format!("{what}. Go on? [y/N]"));
        // In a thread of its own: who does not answer may send a signal.
        let (answer, answered) = oneshot::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = answer.send(io::stdin().read_line(&mut line).map(|_| line));
        });
        let answered = tokio::select! {
            answered = answered => answered,
            () = self.stop.cancelled() => return Err(CommandError::Declined),
        };
        // No answer is none that would let it be done.
        match answered {
            Ok(Ok(line)) if ["y", "yes"].contains(&line.trim().to_lowercase().as_str()) => Ok(()),
            _ => Err(CommandError::Declined),
        }
    }
}
