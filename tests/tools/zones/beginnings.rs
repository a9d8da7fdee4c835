//! Prints the instants at which dates begin, by the compiled-in time zones, for `.ci/zones`. The first line is the release of
//! the IANA database. Then each zone has a line with its name and, for each date, the Unix time of its first instant, or `-` if
//! the zone skips the date.
//!
//! Usage: `beginnings FIRST DAYS`, with the first date as days since 1970-01-01, and the number of dates.

use std::env;
use std::io::{self, BufWriter, Write};

use chrono::NaiveDate;
use domain::calendar::{IANA_RELEASE, TimeZone};

fn main() -> io::Result<()> {
    let arguments: Vec<i32> = env::args().skip(1).map(|argument| argument.parse().unwrap()).collect();
    let [first, days] = arguments[..] else { panic!("usage: beginnings FIRST DAYS") };
    let dates: Vec<_> = (first..first + days).map(|day| NaiveDate::from_epoch_days(day).unwrap()).collect();

    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "{IANA_RELEASE}")?;
    for zone in TimeZone::all() {
        write!(out, "{zone}")?;
        for date in &dates {
            match zone.beginning_of(*date) {
                Some(instant) => write!(out, " {}", instant.timestamp())?,
                None => write!(out, " -")?,
            }
        }
        writeln!(out)?;
    }
    out.flush()
}
