//! The clock: the one place that reads the time.
//!
//! Everything else gets the time as an argument. A function in Lambda has the system's clock. The service on one machine has a
//! clock that can be set and moved, so that the date of a cancellation can be made to arrive. A third kind of clock stands still
//! until it is set, for tests that must not depend on how long things take.

#![expect(clippy::disallowed_methods, reason = "this is the place")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// Longest time that the Lambda service lets an invocation take.
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// A clock that runs at the speed of the system's clock, ahead of it or behind, or a clock that stands still.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Offset to the system's clock, or to the beginning of 1970 if the clock stands still.
    ahead_milliseconds: Arc<AtomicI64>,
    runs: bool,
}

impl Clock {
    /// Returns the system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { ahead_milliseconds: Arc::default(), runs: true }
    }

    /// Returns a clock that shows `now` until it is set.
    #[must_use]
    pub fn stopped(now: DateTime<Utc>) -> Self {
        let clock = Self { ahead_milliseconds: Arc::default(), runs: false };
        clock.set(now);
        clock
    }

    /// Returns the current time, to the millisecond.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.origin() + TimeDelta::milliseconds(self.ahead_milliseconds.load(Ordering::SeqCst))
    }

    /// Sets the clock for everyone who shares it. A running clock runs on from `now`.
    pub fn set(&self, now: DateTime<Utc>) {
        let ahead = now.signed_duration_since(self.origin());
        self.ahead_milliseconds.store(ahead.num_milliseconds(), Ordering::SeqCst);
    }

    fn origin(&self) -> DateTime<Utc> {
        if self.runs { Utc::now().trunc_subsecs(3) } else { DateTime::UNIX_EPOCH }
    }
}

/// Returns the time until a deadline of the Lambda service, which uses the system's clock. Zero if the deadline is past.
#[must_use]
pub fn time_until(deadline: SystemTime) -> Duration {
    deadline.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)
}

/// Returns the deadline of an invocation, from the one in its context. The Lambda service gives an instant. `cargo lambda watch`
/// gives the milliseconds that are left, which as an instant lie in 1970.
#[must_use]
pub fn invocation_deadline(given: SystemTime) -> SystemTime {
    match given.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(left) if left < LONGEST_INVOCATION => deadline(left),
        _ => given,
    }
}

/// Returns the deadline `timeout` from now, by the system's clock.
#[must_use]
pub fn deadline(timeout: Duration) -> SystemTime {
    SystemTime::now() + timeout
}

/// Returns the same deadline in milliseconds since 1970, as the Lambda service gives it.
#[must_use]
pub fn deadline_in(timeout: Duration) -> u64 {
    let since_epoch = deadline(timeout).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_in_1970_is_the_time_that_is_left() {
        let given = SystemTime::UNIX_EPOCH + Duration::from_secs(600);
        let left = time_until(invocation_deadline(given));
        assert!((Duration::from_secs(590)..=Duration::from_secs(600)).contains(&left), "{left:?}");
    }

    #[test]
    fn a_deadline_is_kept_even_if_it_has_passed() {
        for given in [deadline(Duration::from_secs(60)), SystemTime::now() - Duration::from_secs(60)] {
            assert_eq!(invocation_deadline(given), given);
        }
    }
}
