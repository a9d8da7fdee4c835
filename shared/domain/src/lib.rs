//! The rules of Connect Subscriptions: what a request to cancel does, what withdrawing it does, and what the arrival of the
//! date does.
//!
//! *Invariant:* nothing here can do I/O, read a clock or draw randomness, and no dependency can. Ids and time come in as values, a
//! decision goes out as a value.
//!
//! In reading order:
//! - [`identifiers`]: the names of things, parsed once at the edge.
//! - [`subscription`]: the document that callers see.
//! - [`calendar`]: when a local date begins.
//! - [`cancellation`], [`standing`], [`stored`]: what is kept of a cancellation, and when it is pending.
//! - [`cancel`], [`withdraw`], [`execute`], [`repair`]: the decisions.
//! - [`change`]: what a decision writes.
//! - [`event`]: what is published about a change.
//! - [`document`], [`import`]: which subscriptions from outside are taken in, and what they may take the place of.
//! - [`json`], [`fault`], [`cancel_request`]: reading a request to cancel, with every fault at once.
//! - [`api_key`], [`tenant`]: who asks, and what they may do.

#![warn(missing_docs)]

pub mod identifiers;
pub mod subscription;

pub mod calendar;
pub mod cancellation;
pub mod standing;
pub mod stored;

pub mod cancel;
pub mod change;
pub mod execute;
pub mod repair;
pub mod withdraw;

pub mod event;

pub mod document;
pub mod import;

pub mod fault;
pub mod json;

pub mod cancel_request;

pub mod api_key;
pub mod tenant;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod ids;
#[cfg(test)]
mod near_miss;
