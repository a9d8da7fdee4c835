//! Steps of a test: each compares an expected value with the one seen.

use std::error::Error;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// The reason why a step failed.
pub type Failure = Box<dyn Error>;

/// Outcome of steps. The error says which step failed.
pub type Step<T = ()> = Result<T, Failure>;

/// Prints a step, and compares the two values.
///
/// # Errors
/// The values differ.
pub fn expect<T: PartialEq<U> + Display, U: Display>(what: &str, expected: T, seen: U) -> Step {
    if expected == seen {
        println!("ok     {what}: {seen}");
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, got {seen}").into())
    }
}

/// Calls `look` again and again, for at most so many seconds, until it returns the expected value. Then it is a step like
/// others.
///
/// # Errors
/// The value was not seen in time, or looking failed.
pub async fn eventually<T: PartialEq + Display>(
    what: &str,
    expected: T,
    seconds: u64,
    mut look: impl AsyncFnMut() -> Step<T>,
) -> Step {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let seen = look().await?;
        if seen == expected || Instant::now() >= end {
            return expect(what, expected, seen);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
