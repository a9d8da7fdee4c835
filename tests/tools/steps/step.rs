//! Steps: what is expected, and what is seen.

use std::error::Error;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// Why a step failed.
pub type Failure = Box<dyn Error>;

/// The outcome of steps; the error says which one failed.
pub type Step<T = ()> = Result<T, Failure>;

/// Prints a step.
///
/// # Errors
/// It did not go as expected.
pub fn expect<T: PartialEq<U> + Display, U: Display>(what: &str, expected: T, seen: U) -> Step {
    if expected == seen {
        println!("ok     {what}: {seen}");
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, got {seen}").into())
    }
}

/// Looks again and again, for at most so many seconds, until what is expected is seen. Then it is a step like others.
///
/// # Errors
/// It was not seen in time, or looking failed.
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
