//! Attempts to refute the promises on the running service: many requests at once, and random histories.
//! Each takes the whole machine, so they are a program of their own, and run one after the other.

mod concurrency;
mod simulation;

/// Held by each test while it runs.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
