//! Prints when dates begin, by the time zones that are compiled in, for `.ci/zones`: the release of the IANA database;
//! then for each zone a line with its name and, for each of so many dates, the Unix time of its first instant, or `-` if the
//! zone skips it.
//!
//! `beginnings FIRST DAYS`, the first date as days since 1970-01-01.

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
