//! Times on the command line: an instant, or a duration from now or before it.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use jiff::{Span, SpanRelativeTo};

/// An instant, or a duration from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This instant.
    At(DateTime<Utc>),
    /// This long from now.
    In(TimeDelta),
}

impl When {
    /// Returns the instant, seen from `now`; `None` if it is later than any date that can be represented.
    #[must_use]
    pub fn from(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::At(instant) => Some(instant),
            Self::In(duration) => now.checked_add_signed(duration),
        }
    }
}

impl When {
    /// Returns the instant, if a duration counts back from `now`. One before all dates that can be represented is the first of them.
    #[must_use]
    pub fn ago(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(instant) => instant,
            Self::In(duration) => now.checked_sub_signed(duration).unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

impl FromStr for When {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let instant = text.parse().map(Self::At);
        instant
            .or_else(|_| duration(text).map(Self::In))
            .map_err(|_| "write an instant (2026-12-31T23:00:00Z) or a duration from now (90d, 36h)")
    }
}

/// Parses a duration of weeks, days (of 24 hours) and smaller units: `7d`, `1w 12h`, `PT36H`.
///
/// # Errors
/// The duration is malformed or negative, or has months or years, which have no fixed length.
pub(crate) fn duration(text: &str) -> Result<TimeDelta, &'static str> {
    let wrong = "write a duration in weeks, days, hours, minutes or seconds (7d, 1w 12h)";
    let span: Span = text.parse().map_err(|_| wrong)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong)?;
    let milliseconds = i64::try_from(duration.as_millis()).map_err(|_| wrong)?;
    TimeDelta::try_milliseconds(milliseconds).filter(|duration| *duration >= TimeDelta::zero()).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_a_duration_from_now() {
        let now: DateTime<Utc> = "2026-01-31T22:30:00Z".parse().unwrap();
        let from_now = |text: &str| text.parse().ok().and_then(|when: When| when.from(now));
        assert_eq!(from_now("2026-12-31T00:00:00+01:00"), "2026-12-30T23:00:00Z".parse().ok());
        assert_eq!(from_now("7d"), "2026-02-07T22:30:00Z".parse().ok());
        assert_eq!(from_now("PT36H"), "2026-02-02T10:30:00Z".parse().ok());
        assert_eq!(from_now("1w 12h"), "2026-02-08T10:30:00Z".parse().ok());
        for other in ["", "tomorrow", "7", "1mo", "1y", "-7d", "2026-12-31"] {
            assert_eq!(from_now(other), None, "{other}");
        }
    }
}
