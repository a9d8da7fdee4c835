//! Attempts to refute the promises: many requests at once, random histories, and every order of the protocol's steps.
//! Each takes the whole machine, so they are a program of their own.

mod concurrency;
mod model;
mod simulation;
