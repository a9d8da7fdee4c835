//! Steps: what is expected, and what is seen.

use std::error::Error;
use std::fmt::Display;

/// The outcome of steps; the error says which one failed.
pub type Step<T = ()> = Result<T, Box<dyn Error>>;

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
