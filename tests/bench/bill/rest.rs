//! The bill of a month in which nothing happens.

use std::time::Duration;

use harness::template::template;

use super::Logged;
use super::costs::{lambda, log};
use super::prices::{
    ALARM, DASHBOARD, GB_RECOVERABLE, GB_STORED, ITEM, METRIC, MILLION_INVOCATIONS, MILLION_READ_UNITS,
    MILLION_SCHEDULED,
};
use crate::report::{Table, dollars};

/// Sweeps in a month of 30 days: one a minute.
const SWEEPS: f64 = 30.0 * 24.0 * 60.0;
/// Subscriptions that are stored.
const SUBSCRIPTIONS: f64 = 100_000.0;
/// Metrics that are written though nothing happens: the lag of the sweeps.
const METRICS: f64 = 1.0;

/// Needs of a contestant when nothing happens.
pub struct Idle {
    pub contestant: &'static str,
    /// Memory of the function that sweeps, in MB.
    pub memory: u32,
    /// Read units of a sweep that finds nothing.
    pub read: f64,
    /// Time that Lambda bills for it, on average.
    pub billed: Duration,
    pub log: Logged,
    /// Size of a subscription's item.
    pub item: usize,
}

impl Idle {
    /// The parts of the bill, each with its name.
    fn rows(&self) -> [(String, f64); 8] {
        let resources = template();
        let resources = resources["Resources"].as_object().unwrap();
        let of_type =
            |name: &str| resources.values().filter(|resource| resource["Type"] == name).count() as f64;
        let millions = SWEEPS / 1_000_000.0;
        let gigabytes = (self.item as f64 + ITEM) * SUBSCRIPTIONS / 1e9;
        let row = |name: &str, dollars: f64| (name.to_owned(), dollars);
        [
            row(
                &format!("43,200 sweeps that find nothing, of {} read units", self.read),
                millions * self.read * MILLION_READ_UNITS,
            ),
            row(
                &format!("their Lambda, {:.1} ms each", self.billed.as_secs_f64() * 1_000.0),
                millions * (MILLION_INVOCATIONS + lambda(self.billed, self.memory)),
            ),
            row(
                &format!("their log, {:.0} bytes each", self.log.bytes),
                millions * log(self.log.bytes, self.log.lines),
            ),
            row("their schedule", millions * MILLION_SCHEDULED),
            row(
                &format!("100,000 subscriptions of {} bytes, with point-in-time recovery", self.item),
                gigabytes * (GB_STORED + GB_RECOVERABLE),
            ),
            row("alarms", of_type("AWS::CloudWatch::Alarm") * ALARM),
            row("dashboard", of_type("AWS::CloudWatch::Dashboard") * DASHBOARD),
            row("metric `SweepLag`", METRICS * METRIC),
        ]
    }
}

/// Returns the bill of each contestant, for what the template has.
pub fn table(all: &[Idle]) -> Table {
    let mut columns = vec!["a month"];
    columns.extend(all.iter().map(|idle| idle.contestant));
    let mut table = Table::new(&columns);
    let mut row = |name: String, of: &dyn Fn(&Idle) -> f64| {
        let mut cells = vec![name];
        cells.extend(all.iter().map(|idle| dollars(of(idle))));
        table.row(&cells);
    };
    let ours = all.iter().find(|idle| idle.contestant == "ours").unwrap();
    // The names have the numbers of ours.
    for (number, (name, _)) in ours.rows().into_iter().enumerate() {
        row(name, &|idle| idle.rows()[number].1);
    }
    row("all in".to_owned(), &|idle| idle.rows().iter().map(|(_, dollars)| dollars).sum());
    table
}
