//! Attempts to refute the promises on the running service: many requests at once, and random histories.
//! Each takes the whole machine, so they are a program of their own.

mod concurrency;
mod simulation;
