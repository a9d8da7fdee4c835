//! The counts of an import, as they are printed when it ends.

use std::time::Duration;

use serde::Serialize;
use service::import::Imported;

use crate::format::counted;

/// The lines of a file, by their outcome.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tally {
    pub(super) lines: u64,
    pub(super) added: u64,
    pub(super) updated: u64,
    /// Number of the updated ones that lost a cancellation, or have another one now.
    pub(super) undone: u64,
    pub(super) unchanged: u64,
    pub(super) kept: u64,
    pub(super) rejected: u64,
    /// Number of the rejected ones that would be cancelled at once.
    pub(super) overdue: u64,
    pub(super) interrupted: bool,
    pub(super) seconds: f64,
    pub(super) lines_per_second: f64,
}

impl Tally {
    /// Counts one more line with a subscription.
    pub(super) fn count(&mut self, imported: &Imported) {
        self.lines += 1;
        match imported {
            Imported::Added => self.added += 1,
            Imported::Replaced => self.updated += 1,
            Imported::Undone => {
                self.updated += 1;
                self.undone += 1;
            }
            Imported::Unchanged => self.unchanged += 1,
            Imported::Kept => self.kept += 1,
            Imported::Overdue => self.overdue += 1,
            Imported::ReferenceTaken | Imported::Refused | Imported::Unreadable => {}
        }
    }

    /// Sets the duration and the rate, for people: to the millisecond, and in whole lines per second.
    pub(super) fn stop(&mut self, elapsed: Duration) {
        self.seconds = (elapsed.as_secs_f64() * 1000.0).round() / 1000.0;
        self.lines_per_second = self.rate(elapsed).round();
    }

    /// Computes the lines per second.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate for people")]
    pub(super) fn rate(&self, elapsed: Duration) -> f64 {
        self.lines as f64 / elapsed.as_secs_f64().max(0.001)
    }

    /// Formats the counts as one line for people.
    pub(super) fn text(&self) -> String {
        let Self { lines, added, updated, unchanged, kept, rejected, seconds, lines_per_second, .. } = self;
        format!(
            "{} in {seconds:.1} s, {lines_per_second:.0} a second: {added} added, {updated} updated, \
             {unchanged} unchanged, {kept} kept, {rejected} rejected",
            counted(lines, "line")
        )
    }
}
