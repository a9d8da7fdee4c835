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
