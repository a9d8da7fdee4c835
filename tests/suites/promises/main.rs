//! Attempts to refute the promises on the running service: many requests at once, and random histories. Each test takes the
//! whole machine. So these tests are a program of their own, and run one after the other.

mod concurrency;
mod simulation;

/// Lock that each test holds while it runs.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
