//! Moves the clock to an instant, or forward by a duration, within the years in which every date has a next one.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use jiff::SpanRelativeTo;
use jiff::fmt::temporal::SpanParser;
use serde::Deserialize;
use service::clock::Clock;

/// Checks that the clock can be set to an instant.
///
/// # Errors
/// The instant is outside the years 1970 to 9998, in which every date has a next one.
pub fn check_instant(instant: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    if (1970..=9998).contains(&instant.year()) {
        Ok(instant)
    } else {
        Err("the clock runs in the years 1970 to 9998".to_owned())
    }
}

/// A request to move the clock. It must have exactly one of the members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveClock {
    now: Option<DateTime<Utc>>,
    advance: Option<String>,
}

/// Returns the instant to which a request moves the clock.
pub(super) fn moved(clock: &Clock, body: &[u8]) -> Result<DateTime<Utc>, String> {
    let asked: MoveClock = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let to = match (asked.now, asked.advance) {
        (Some(now), None) => now,
        (None, Some(duration)) => {
            let duration = parse_duration(&duration)?;
            clock.now().checked_add_signed(duration).ok_or("that is too far")?
        }
        _ => return Err("send either now (an instant) or advance (an ISO 8601 duration)".to_owned()),
    };
    check_instant(to)
}

/// Parses a duration of weeks, days (of 24 hours) and smaller units. Months and years are refused: they have no fixed length.
fn parse_duration(text: &str) -> Result<TimeDelta, String> {
    // The parser of `Span` would also accept "36 hours".
    let span = SpanParser::new().parse_span(text).map_err(|error| error.to_string())?;
    let duration =
        span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    i64::try_from(duration.as_millis())
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .ok_or("that is too far".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_advances_by_iso_8601_durations_without_months() {
        assert_eq!(parse_duration("PT36H"), Ok(TimeDelta::hours(36)));
        assert_eq!(parse_duration("P1DT0.5S"), Ok(TimeDelta::days(1) + TimeDelta::milliseconds(500)));
        assert_eq!(parse_duration("P2W"), Ok(TimeDelta::weeks(2)));
        for other in ["P1M", "P1Y", "36 hours", "36H", "", "PT36Hx"] {
            assert!(parse_duration(other).is_err(), "{other}");
        }
    }

    #[test]
    fn the_clock_is_moved_by_exactly_one_instruction() {
        let clock = Clock::system();
        assert_eq!(
            moved(&clock, br#"{"now": "2026-01-31T23:00:00Z"}"#),
            Ok("2026-01-31T23:00:00Z".parse().unwrap())
        );
        for other in [
            r#"{}"#,
            r#"{"now": "2026-01-31T23:00:00Z", "advance": "PT1H"}"#,
            r#"{"now": "yesterday"}"#,
            r#"{"advance": "PT9999999999H"}"#,
            r#"{"now": "+99999-01-01T00:00:00Z"}"#,
            r#"{"back": "PT1H"}"#,
            "",
        ] {
            assert!(moved(&clock, other.as_bytes()).is_err(), "{other}");
        }
    }
}
