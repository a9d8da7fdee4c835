//! The calendar of a tenant: the instant at which a local date begins.
//!
//! A cancellation takes effect at the first instant of a date in the tenant's time zone. This is not always midnight. Some clocks
//! skip midnight (Cairo, Havana) or a whole day (Apia). Others went back across midnight (St John's, until 2011): a date began, the
//! day before came back, and then the date began again. One definition covers all of these: **a date begins at the earliest instant
//! at which the zone's clocks show it, and today is the latest date that has begun.**

mod time_zone;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};

pub use self::time_zone::{IANA_RELEASE, TimeZone, UnknownTimeZone};

/// A local date and the instant at which it begins in its zone.
///
/// Only [`Calendar`] makes these, so the two always belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveDate {
    date: NaiveDate,
    instant: DateTime<Utc>,
}

impl EffectiveDate {
    /// The tenant's local date.
    #[must_use]
    pub fn date(self) -> NaiveDate {
        self.date
    }

    /// The first instant of that date.
    #[must_use]
    pub fn instant(self) -> DateTime<Utc> {
        self.instant
    }
}

/// The reason for which a date can't be the effective date of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableDate {
    /// The date has begun already, or is over.
    #[error("the date must be later than today, which is {today} in {zone}")]
    NotInFuture {
        /// Today in the tenant's zone.
        today: NaiveDate,
        /// The tenant's zone.
        zone: TimeZone,
    },
    /// The zone's clocks never show the date, as Samoa's never showed 30 December 2011.
    #[error("there is no such date in {zone}: its clocks skip it")]
    Skipped {
        /// The tenant's zone.
        zone: TimeZone,
    },
}

/// A tenant's calendar at one instant.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    now: DateTime<Utc>,
}

impl Calendar {
    /// The calendar of `zone` as it is at `now`.
    #[must_use]
    pub fn new(zone: TimeZone, now: DateTime<Utc>) -> Self {
        Self { zone, now }
    }

    /// The latest date that has begun.
    ///
    /// This is the date on the zone's clocks, with one exception: clocks that went back may repeat the end of a day after the next
    /// day has begun.
    #[must_use]
    pub fn today(&self) -> NaiveDate {
        let shown = self.zone.local_date(self.now);
        match self.beginning_of(shown + Days::new(1)) {
            Some(tomorrow) if tomorrow.instant <= self.now => tomorrow.date,
            _ => shown,
        }
    }

    /// The next date after today.
    #[must_use]
    pub fn next_day(&self) -> EffectiveDate {
        self.beginning_on_or_after(self.today() + Days::new(1))
    }

    /// The 1st of the month after today's.
    #[must_use]
    pub fn beginning_of_next_month(&self) -> EffectiveDate {
        let today = self.today();
        let first_of_this_month = today - Days::new(u64::from(today.day0()));
        self.beginning_on_or_after(first_of_this_month + Months::new(1))
    }

    /// The effective date for a date that the caller chose.
    ///
    /// # Errors
    /// The date is not later than today, or does not exist in the zone.
    pub fn at_date(&self, date: NaiveDate) -> Result<EffectiveDate, UnusableDate> {
        let zone = || self.zone.clone();
        let today = self.today();
        if date <= today {
            return Err(UnusableDate::NotInFuture { today, zone: zone() });
        }
        self.beginning_of(date).ok_or_else(|| UnusableDate::Skipped { zone: zone() })
    }

    /// The earliest instant at which the zone's clocks show `date`; `None` if they never do.
    #[must_use]
    pub fn beginning_of(&self, date: NaiveDate) -> Option<EffectiveDate> {
        let instant = self.zone.beginning_of(date)?;
        Some(EffectiveDate { date, instant })
    }

    /// The date on the zone's clocks at an instant.
    #[must_use]
    pub fn date_at(&self, instant: DateTime<Utc>) -> NaiveDate {
        self.zone.local_date(instant)
    }

    /// The zone of the calendar.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The instant for which the calendar was made.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The beginning of `date`. If the zone skips it, the beginning of the next date: no zone skips two dates in a row. The last
    /// date that can be represented never begins.
    #[must_use]
    pub fn beginning_on_or_after(&self, date: NaiveDate) -> EffectiveDate {
        let never = || EffectiveDate { date, instant: DateTime::<Utc>::MAX_UTC };
        let next = || self.beginning_of(date.checked_add_days(Days::new(1))?);
        self.beginning_of(date).or_else(next).unwrap_or_else(never)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn calendar(name: &str, now: &str) -> Calendar {
        Calendar::new(zone(name), now.parse().unwrap())
    }

    fn zone(name: &str) -> TimeZone {
        name.parse().unwrap()
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn effective(date: &str, instant: &str) -> EffectiveDate {
        EffectiveDate { date: date.parse().unwrap(), instant: instant.parse().unwrap() }
    }

    #[test]
    fn after_31_january_comes_1_february() {
        let calendar = calendar("Europe/Stockholm", "2026-01-31T22:30:00Z");
        assert_eq!(calendar.next_day(), effective("2026-02-01", "2026-01-31T23:00:00Z"));
        assert_eq!(calendar.beginning_of_next_month(), effective("2026-02-01", "2026-01-31T23:00:00Z"));
    }

    #[test]
    fn a_skipped_date_gives_way_to_the_next_and_extreme_dates_stay_past_or_future() {
        let apia = calendar("Pacific/Apia", "2011-12-01T00:00:00Z");
        assert_eq!(apia.beginning_of(date("2011-12-30")), None);
        assert_eq!(apia.beginning_on_or_after(date("2011-12-30")).date(), date("2011-12-31"));
        // Another system can have written any date.
        let now = apia.now();
        for date in [NaiveDate::MAX, NaiveDate::MIN, date("+12026-01-01"), date("-0001-01-01")] {
            for zone in ["Pacific/Apia", "America/New_York", "UTC"] {
                let beginning = Calendar::new(zone.parse().unwrap(), now).beginning_on_or_after(date);
                assert_eq!(beginning.instant() < now, date < now.date_naive(), "{zone} {date}");
            }
        }
    }

    #[test]
    fn february_29_exists_in_leap_years_only() {
        let leap = calendar("UTC", "2028-02-28T12:00:00Z");
        assert_eq!(leap.next_day(), effective("2028-02-29", "2028-02-29T00:00:00Z"));
        assert_eq!(leap.beginning_of_next_month(), effective("2028-03-01", "2028-03-01T00:00:00Z"));

        let common = calendar("UTC", "2027-02-28T12:00:00Z");
        assert_eq!(common.next_day(), effective("2027-03-01", "2027-03-01T00:00:00Z"));

        let on_the_29th = calendar("UTC", "2028-02-29T12:00:00Z");
        assert_eq!(on_the_29th.beginning_of_next_month(), effective("2028-03-01", "2028-03-01T00:00:00Z"));
    }

    #[test]
    fn after_31_december_comes_the_next_year() {
        let calendar = calendar("America/New_York", "2026-12-31T12:00:00Z");
        let new_year = effective("2027-01-01", "2027-01-01T05:00:00Z");
        assert_eq!(calendar.next_day(), new_year);
        assert_eq!(calendar.beginning_of_next_month(), new_year);
    }

    #[test]
    fn in_cairo_a_day_without_midnight_begins_at_one() {
        // 2026-04-24: clocks go from 00:00 (+02:00) to 01:00 (+03:00).
        let calendar = calendar("Africa/Cairo", "2026-04-23T12:00:00Z");
        assert_eq!(calendar.next_day(), effective("2026-04-24", "2026-04-23T22:00:00Z"));
    }

    #[test]
    fn in_havana_a_day_without_midnight_begins_at_one() {
        // 2026-03-08: clocks go from 00:00 (-05:00) to 01:00 (-04:00).
        let calendar = calendar("America/Havana", "2026-03-07T12:00:00Z");
        assert_eq!(calendar.next_day(), effective("2026-03-08", "2026-03-08T05:00:00Z"));
    }

    #[test]
    fn in_havana_a_day_with_two_midnights_begins_at_the_first() {
        // 2026-11-01: clocks go from 01:00 (-04:00) back to 00:00 (-05:00).
        let calendar = calendar("America/Havana", "2026-10-31T12:00:00Z");
        let first_midnight = effective("2026-11-01", "2026-11-01T04:00:00Z");
        assert_eq!(calendar.next_day(), first_midnight);
        assert_eq!(calendar.beginning_of_next_month(), first_midnight);
    }

    #[test]
    fn in_apia_the_skipped_day_is_not_the_next_day_and_cannot_be_chosen() {
        // 30 December 2011 was left out when Samoa moved across the date line.
        let calendar = calendar("Pacific/Apia", "2011-12-30T03:00:00Z");
        assert_eq!(calendar.today(), date("2011-12-29"));
        assert_eq!(calendar.next_day(), effective("2011-12-31", "2011-12-30T10:00:00Z"));
        assert_eq!(
            calendar.at_date(date("2011-12-30")),
            Err(UnusableDate::Skipped { zone: zone("Pacific/Apia") })
        );
    }

    #[test]
    fn in_kathmandu_a_day_begins_at_18_15_utc() {
        let calendar = calendar("Asia/Kathmandu", "2026-06-30T18:14:59Z");
        assert_eq!(calendar.today(), date("2026-06-30"));
        assert_eq!(calendar.next_day(), effective("2026-07-01", "2026-06-30T18:15:00Z"));
    }

    #[test]
    fn in_kwajalein_the_next_day_passes_over_the_skipped_one() {
        // 21 August 1993 was left out.
        let calendar = calendar("Pacific/Kwajalein", "1993-08-21T11:59:59Z");
        assert_eq!(calendar.today(), date("1993-08-20"));
        assert_eq!(calendar.next_day(), effective("1993-08-22", "1993-08-21T12:00:00Z"));
        assert_eq!(calendar.beginning_of_next_month(), effective("1993-09-01", "1993-08-31T12:00:00Z"));
    }

    #[test]
    fn in_monrovia_a_day_that_lost_its_first_44_minutes_and_a_half_begins_after_them() {
        // 1972-01-07: clocks go from 00:00 (-00:44:30) to 00:44:30 (UTC).
        let calendar = calendar("Africa/Monrovia", "1972-01-06T12:00:00Z");
        assert_eq!(calendar.next_day(), effective("1972-01-07", "1972-01-07T00:44:30Z"));
    }

    #[test]
    fn in_casablanca_a_day_begins_at_midnight_utc_since_september_2026() {
        // By the rules of 2025, the day would begin at 23:00 UTC.
        let calendar = calendar("Africa/Casablanca", "2026-11-26T20:00:00Z");
        assert_eq!(calendar.next_day(), effective("2026-11-27", "2026-11-27T00:00:00Z"));
    }

    #[test]
    fn in_st_johns_a_date_counts_as_begun_although_clocks_go_back_to_the_day_before() {
        // 2010-11-07: clocks go from 00:01 (-02:30) back to 23:01 (-03:30) of the day before.
        let repeated_evening = calendar("America/St_Johns", "2010-11-07T03:00:00Z");
        assert_eq!(repeated_evening.today(), date("2010-11-07"));
        assert_eq!(
            repeated_evening.beginning_of(date("2010-11-07")),
            Some(effective("2010-11-07", "2010-11-07T02:30:00Z"))
        );
        assert_eq!(repeated_evening.next_day(), effective("2010-11-08", "2010-11-08T03:30:00Z"));
        assert!(repeated_evening.at_date(date("2010-11-07")).is_err());
    }

    #[test]
    fn today_cannot_be_chosen_and_tomorrow_can() {
        let calendar = calendar("Europe/Stockholm", "2026-01-31T22:59:59Z");
        assert_eq!(
            calendar.at_date(date("2026-01-31")),
            Err(UnusableDate::NotInFuture { today: date("2026-01-31"), zone: zone("Europe/Stockholm") })
        );
        assert_eq!(calendar.at_date(date("2026-02-01")), Ok(effective("2026-02-01", "2026-01-31T23:00:00Z")));
        assert!(calendar.at_date(date("9999-12-31")).is_ok());
    }

    const FROM: i64 = 946_684_800;
    const TO: i64 = 4_133_980_799;

    static ZONES: LazyLock<Vec<TimeZone>> = LazyLock::new(|| TimeZone::all().collect());

    /// Every instant from 2000 to 2100 at which the clocks of a zone are changed.
    static TRANSITIONS: LazyLock<Vec<(TimeZone, i64)>> = LazyLock::new(|| {
        let offset =
            |zone: &TimeZone, at: i64| *zone.local_time(DateTime::from_timestamp(at, 0).unwrap()).offset();
        let transitions_of = |zone: &TimeZone| {
            let zone = zone.clone();
            // No zone changes its clocks twice within two weeks and then has the same offset as before.
            let fortnights = (FROM..TO).step_by(14 * 86_400);
            fortnights.filter_map(move |at| {
                let (mut before, mut after) = (at, at + 14 * 86_400);
                let old = offset(&zone, before);
                if old == offset(&zone, after) {
                    return None;
                }
                while after - before > 1 {
                    let middle = before.midpoint(after);
                    if offset(&zone, middle) == old { before = middle } else { after = middle }
                }
                Some((zone.clone(), after))
            })
        };
        ZONES.iter().flat_map(transitions_of).collect()
    });

    /// Any second of the years 2000 to 2100 in any zone. Seconds around midnight and around a change of the clocks are more
    /// frequent, because mistakes are most likely there.
    fn anywhere_and_any_time() -> impl Strategy<Value = Calendar> {
        let zone = (0..ZONES.len()).prop_map(|index| ZONES[index].clone());
        let around_midnight =
            (FROM / 86_400..TO / 86_400, -7_200_i64..7_200).prop_map(|(day, off)| day * 86_400 + off);
        let anywhere = (zone, prop_oneof![FROM..TO, around_midnight], any::<bool>()).prop_map(
            |(zone, seconds, local)| {
                let instant = DateTime::from_timestamp(seconds, 0).unwrap();
                let ahead = TimeDelta::seconds(zone.local_time(instant).offset().local_minus_utc().into());
                Calendar::new(zone, if local { instant - ahead } else { instant })
            },
        );
        let around_change = (0..TRANSITIONS.len(), -90_000_i64..90_000).prop_map(|(index, off)| {
            let (zone, change) = &TRANSITIONS[index];
            Calendar::new(zone.clone(), DateTime::from_timestamp(change + off, 0).unwrap())
        });
        prop_oneof![anywhere, around_change]
    }

    /// Returns true if the instant is the first of its date: the zone's clocks show the date then, and not earlier.
    fn is_first_instant(zone: &TimeZone, effective: EffectiveDate) -> bool {
        let shows = |instant| zone.local_date(instant) == effective.date;
        let earlier = [1, 59, 60, 1_799, 1_800, 3_599, 3_600, 5_400, 7_200, 10_800, 43_200, 86_399];
        shows(effective.instant)
            && !earlier.into_iter().any(|seconds| shows(effective.instant - TimeDelta::seconds(seconds)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_next_day_begins_at_the_first_instant_of_its_date_within_48_hours(calendar in anywhere_and_any_time()) {
            let next = calendar.next_day();
            prop_assert!(is_first_instant(&calendar.zone, next));
            prop_assert!(next.instant > calendar.now);
            prop_assert!(next.instant - calendar.now <= TimeDelta::hours(48));
            prop_assert!(next.date > calendar.today());
        }

        #[test]
        fn the_next_month_begins_on_the_1st_of_the_following_month(calendar in anywhere_and_any_time()) {
            let next = calendar.beginning_of_next_month();
            let today = calendar.today();
            prop_assert!(is_first_instant(&calendar.zone, next));
            prop_assert!(next.instant > calendar.now);
            prop_assert_eq!(next.date.day(), 1);
            let months = |date: NaiveDate| date.year() * 12 + i32::try_from(date.month()).unwrap();
            prop_assert_eq!(months(next.date), months(today) + 1);
        }

        #[test]
        fn a_chosen_date_begins_at_its_first_instant_and_never_in_the_past(
            calendar in anywhere_and_any_time(),
            days in 0_u64..800,
        ) {
            let chosen = calendar.today() + Days::new(days);
            match calendar.at_date(chosen) {
                Ok(effective) => {
                    prop_assert!(days > 0);
                    prop_assert_eq!(effective.date, chosen);
                    prop_assert!(is_first_instant(&calendar.zone, effective));
                    prop_assert!(effective.instant > calendar.now);
                }
                Err(UnusableDate::NotInFuture { today, .. }) => prop_assert!(chosen <= today),
                Err(UnusableDate::Skipped { zone }) => {
                    // The clocks do not show the date in the 48 hours after the beginning of the day before.
                    let before = calendar.beginning_of(chosen - Days::new(1)).unwrap().instant;
                    let shown = (0..48).map(|hours| before + TimeDelta::hours(hours));
                    prop_assert!(shown.into_iter().all(|at| zone.local_date(at) != chosen));
                }
            }
        }
    }
}
