//! The clock: the one place that asks the time.
//!
//! Everything else gets the time as an argument. A function in Lambda has the system's clock. The service on one machine has a
//! clock that can be set and moved, so that the date of a cancellation can be made to arrive. A third kind of clock stands still
//! until it is set, for tests that must not depend on how long things take.

#![expect(clippy::disallowed_methods, reason = "this is the place")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A clock that runs at the speed of the system's, and can be ahead of it or behind; or that stands still.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Ahead of what it goes by: the system's clock, or the beginning of 1970.
    ahead_milliseconds: Arc<AtomicI64>,
    runs: bool,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { ahead_milliseconds: Arc::default(), runs: true }
    }

    /// A clock that shows `now` until it is set.
    #[must_use]
    pub fn stopped(now: DateTime<Utc>) -> Self {
        let clock = Self { ahead_milliseconds: Arc::default(), runs: false };
        clock.set(now);
        clock
    }

    /// Now, to the millisecond.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.origin() + TimeDelta::milliseconds(self.ahead_milliseconds.load(Ordering::SeqCst))
    }

    /// Sets the clock, for all who share it; one that runs, runs on from there.
    pub fn set(&self, now: DateTime<Utc>) {
        let ahead = now.signed_duration_since(self.origin());
        self.ahead_milliseconds.store(ahead.num_milliseconds(), Ordering::SeqCst);
    }

    fn origin(&self) -> DateTime<Utc> {
        if self.runs { Utc::now().trunc_subsecs(3) } else { DateTime::UNIX_EPOCH }
    }
}

/// How long until a deadline of the Lambda service, which goes by the system's clock.
#[must_use]
pub fn time_until(deadline: SystemTime) -> Duration {
    deadline.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)
}

/// The deadline of what may take `timeout` from now, by the system's clock.
#[must_use]
pub fn deadline(timeout: Duration) -> SystemTime {
    SystemTime::now() + timeout
}

/// The same in milliseconds since 1970, as the Lambda service gives it.
#[must_use]
pub fn deadline_in(timeout: Duration) -> u64 {
    let since_epoch = deadline(timeout).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
