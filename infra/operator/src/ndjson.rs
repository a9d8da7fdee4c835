//! Files of subscriptions as JSON, one per line. Lines are read one at a time, so a file may be larger than memory.

use std::io::{self, BufRead, Read};

use chrono::{DateTime, Utc};
use domain::calendar::Calendar;
use domain::import::{NewSubscription, fault_at};
use domain::json::{self, Json};
use service::ids;

/// Longest line that is read, in bytes. The database holds at most 400 KB of a document; the rest may be white space.
const LONGEST: u64 = 1 << 20;

/// A line that is not blank.
pub struct Line {
    /// The number of the line, counted from 1.
    pub number: u64,
    /// The text of the line; `None` if it is too long.
    pub text: Option<String>,
    /// The subscription, or its fault, which names the place and never the value.
    pub subscription: Result<NewSubscription, String>,
}

/// The lines of a file.
pub struct Lines<R> {
    reader: R,
    calendar: Calendar,
    now: DateTime<Utc>,
    number: u64,
    /// Number of bytes read so far.
    pub position: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads lines. The calendar gives the instant of a cancellation that is pending in a document.
    pub fn new(reader: R, calendar: Calendar, now: DateTime<Utc>) -> Self {
        Self { reader, calendar, now, number: 0, position: 0 }
    }

    /// Reads the next line; `None` at the end. Of a line that is too long, only the beginning is returned.
    fn next_bytes(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(LONGEST + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.position += u64_of(read);
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > usize_of(LONGEST) {
            self.position += u64_of(self.reader.skip_until(b'\n')?);
        }
        // Some programs put a byte order mark at the beginning of a file. In a line that is too long it does not matter.
        if self.number == 1 && line.len() <= usize_of(LONGEST) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        Ok(Some(line))
    }

    fn read(&self, bytes: Vec<u8>) -> Line {
        let number = self.number;
        if bytes.len() > usize_of(LONGEST) {
            let fault = format!("longer than {LONGEST} bytes");
            return Line { number, text: None, subscription: Err(fault) };
        }
        let subscription = self.parse(bytes.trim_ascii_end());
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Line { number, text: Some(text.trim_end_matches('\r').to_owned()), subscription }
    }

    fn parse(&self, line: &[u8]) -> Result<NewSubscription, String> {
        let Json { value, invalid_texts } = json::parse(line)
            .map_err(|place| format!("not JSON, or a repeated member, at column {}", place.column))?;
        if let Some(pointer) = invalid_texts.first() {
            return Err(fault_at(pointer, "not Unicode: half of a surrogate pair"));
        }
        if let Some(pointer) = str::from_utf8(line).ok().and_then(json::inexact_number) {
            return Err(fault_at(&pointer, "a number that can't be stored exactly; write it as a string"));
        }
        NewSubscription::from_json(value, &self.calendar, self.now, ids::new())
            .map_err(|fault| fault.to_string())
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        loop {
            match self.next_bytes() {
                Ok(Some(bytes)) if bytes.len() <= usize_of(LONGEST) && bytes.trim_ascii().is_empty() => {}
                Ok(Some(bytes)) => return Some(Ok(self.read(bytes))),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn u64_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn usize_of(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use domain::calendar::TimeZone;

    use super::*;

    const GOOD: &str = r#"{"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "ACTIVATED", "referenceId": "r"}"#;

    fn read(ndjson: &[u8]) -> Vec<(u64, Option<String>)> {
        let now = "2026-01-31T22:30:00Z".parse().unwrap();
        let lines = Lines::new(ndjson, Calendar::new(TimeZone::UTC, now), now);
        lines.map(|line| line.unwrap()).map(|line| (line.number, line.subscription.err())).collect()
    }

    fn fault(line: &str) -> String {
        read(line.as_bytes()).remove(0).1.unwrap_or_default()
    }

    #[test]
    fn a_faulty_line_is_reported_by_number_without_its_content() {
        for (bad, fault) in [
            ("{", "not JSON, or a repeated member, at column 1"),
            ("[]", ""),
            (r#"{"status": "ACTIVATED"}"#, "missing field `subscriptionId`"),
            (
                r#"{"subscriptionId": "secret", "status": "ACTIVATED"}"#,
                "subscriptionId: not a valid identifier",
            ),
            (
                r#"{"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b2", "status": "secret"}"#,
                "status: expected one of",
            ),
            (
                r#"{"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b2", "status": "PENDING", "msisdn": 46701740605}"#,
                "msisdn: expected a string",
            ),
        ] {
            let lines = read(format!("{GOOD}\n\n{bad}\r\n{GOOD}").as_bytes());
            let numbers: Vec<_> = lines.iter().map(|(number, fault)| (*number, fault.is_some())).collect();
            assert_eq!(numbers, [(1, false), (3, true), (4, false)], "{bad}");
            let message = lines[1].1.clone().unwrap();
            assert!(message.starts_with(fault), "{message}");
            assert!(!message.contains("46701740605") && !message.contains("secret"), "{message}");
        }
        assert!(read(b"\xff\n")[0].1.is_some());
        assert_eq!(fault(&format!("\u{feff}{GOOD}\n")), "");
    }

    #[test]
    fn a_line_that_is_too_long_is_rejected_and_the_next_one_is_read() {
        let longest = usize_of(LONGEST);
        let padded = |length: usize| format!("{GOOD}{}\n{GOOD}\n", " ".repeat(length - GOOD.len()));
        assert_eq!(read(padded(longest).as_bytes()), [(1, None), (2, None)]);
        let too_long = Some("longer than 1048576 bytes".to_owned());
        assert_eq!(read(padded(longest + 1).as_bytes()), [(1, too_long.clone()), (2, None)]);
        assert_eq!(read(padded(3 * longest).as_bytes()), [(1, too_long.clone()), (2, None)]);
        let late = format!("{}{GOOD}", " ".repeat(longest + 1));
        assert_eq!(read(late.as_bytes()), [(1, too_long)]);
    }

    #[test]
    fn a_pending_cancellation_is_refused_in_a_cancelled_document_or_with_an_invalid_date() {
        let line = |status: &str, date: &str| {
            fault(&format!(
                r#"{{"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "{status}", "pendingStatus": {{"status": "CANCELLED", "scheduledAt": "{date}"}}}}"#
            ))
        };
        assert_eq!(line("ACTIVATED", "2026-02-01"), "");
        assert_ne!(line("CANCELLED", "2026-02-01"), "");
        assert_ne!(line("ACTIVATED", "+12026-02-01"), "");
    }
}
