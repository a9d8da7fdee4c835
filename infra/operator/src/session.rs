//! The session of a command: the database and the clock that it works with, its output, and its questions.

use std::io::{self, IsTerminal, Write};
use std::thread;

use chrono::{DateTime, Utc};
use serde::Serialize;
use service::clock::Clock;
use service::deliver::DeliveryQueue;
use service::endpoint::Endpoint;
use store::Admin;
use store::tables::TableNames;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::CommandError;
use crate::format::counted;
use crate::terminal::{self, Text};

/// The environment variable with the name of the schedule that sweeps. The stack's output `Environment` sets it.
pub const SCHEDULE_VARIABLE: &str = "SWEEP_SCHEDULE";

/// The environment variable with the URL of the queue of deliveries. The same output sets it.
pub const QUEUE_VARIABLE: &str = "WEBHOOK_QUEUE_URL";

/// The database, the clock and the output of one command.
pub struct Session<'s> {
    /// The database.
    pub endpoint: Endpoint,
    /// The names of its tables.
    pub tables: TableNames,
    /// The queue of deliveries to webhooks, if it is known.
    pub queue: Option<DeliveryQueue>,
    /// The name of the schedule that sweeps, if [`SCHEDULE_VARIABLE`] is set.
    pub schedule: Option<String>,
    /// The clock of the session.
    pub clock: Clock,
    /// True if the result is printed as JSON.
    pub json: bool,
    /// True if questions may be asked on the terminal.
    pub asks: bool,
    /// Standard output: the result.
    pub out: &'s mut (dyn Write + Send),
    /// Standard error: notes, warnings and questions.
    pub notes: &'s mut (dyn Write + Send),
    /// Cancelled when the command must stop.
    pub stop: CancellationToken,
}

impl Session<'_> {
    pub(crate) fn store(&self) -> Admin {
        Admin::new(&self.endpoint.sdk_config(), self.tables.clone())
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Prints the result: as JSON for programs, or as text for people.
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

    /// Prints the result, and returns the outcome. An error of the command counts more than an error of printing.
    pub(crate) fn conclude<T: Into<Text>>(
        &mut self,
        value: &impl Serialize,
        text: impl FnOnce() -> T,
        outcome: Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let printed = self.print(value, text);
        outcome.and(printed)
    }

    /// Prints a note to standard error, on one line.
    pub(crate) fn note(&mut self, line: &str) {
        // The command goes on even if the note can't be written.
        let _ = writeln!(self.notes, "{}", Text::from(line));
    }

    /// Notes the key of each item that can't be read. Fails if there is one, because the command left it out.
    pub(crate) fn complain(&mut self, unreadable: &[String]) -> Result<(), CommandError> {
        for key in unreadable {
            self.note(&format!("malformed or missing item: {key}"));
        }
        match unreadable.len() {
            0 => Ok(()),
            count => Err(CommandError::Incomplete(format!("{} can't be read", counted(count, "item")))),
        }
    }

    /// Asks for confirmation of an action that can't be undone, unless `yes` gives it in advance.
    pub(crate) async fn confirm(&mut self, yes: bool, what: String) -> Result<(), CommandError> {
        if yes {
            return Ok(());
        }
        if !self.asks || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(CommandError::NobodyToAsk(what));
        }
        self.note(&format!("{what}. Continue? [y/N]"));
        // In a separate thread, so that a signal ends the wait for an answer.
        let (answer, answered) = oneshot::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = answer.send(io::stdin().read_line(&mut line).map(|_| line));
        });
        let answered = tokio::select! {
            answered = answered => answered,
            () = self.stop.cancelled() => return Err(CommandError::Declined),
        };
        // Anything other than yes declines, also no answer at all.
        match answered {
            Ok(Ok(line)) if ["y", "yes"].contains(&line.trim().to_lowercase().as_str()) => Ok(()),
            _ => Err(CommandError::Declined),
        }
    }
}
