//! The rules of Connect Subscriptions: the effects of a request to cancel, of a withdrawal, and of the arrival of a date.
//!
//! *Invariant:* neither this crate nor a dependency can do I/O, read a clock or draw a random number. Ids and time come in as
//! values; a decision goes out as a value.
//!
//! In reading order:
//! - [`identifiers`]: the names of things, parsed once where they enter the service.
//! - [`subscription`]: the document that callers see.
//! - [`calendar`]: the instant at which a local date begins.
//! - [`cancellation`], [`standing`], [`stored`]: a cancellation as it is stored, and the rule by which it is pending.
//! - [`origin`]: what makes a change, and for whom.
//! - [`cancel`], [`withdraw`], [`execute`], [`repair`]: the decisions.
//! - [`change`]: the attributes that a decision writes.
//! - [`details`], [`preview`]: a cancellation as callers see it, and the one that a request would make.
//! - [`event`], [`history`]: the changes that are published, and those that are kept for ever.
//! - [`webhook`]: the URLs that events are posted to, and what follows from each attempt.
//! - [`document`], [`import`]: the documents that are imported, and the subscriptions that they may replace.
//! - [`json`], [`fault`], [`cancel_request`]: reading a request to cancel, with every fault at once.
//! - [`api_key`], [`tenant`]: authentication, scopes, and the companies that use the API.

#![warn(missing_docs)]

pub mod identifiers;
pub mod subscription;

pub mod calendar;
pub mod cancellation;
pub mod origin;
pub mod standing;
pub mod stored;

pub mod cancel;
pub mod change;
pub mod execute;
pub mod repair;
pub mod withdraw;

pub mod details;
pub mod preview;

pub mod erase;
pub mod event;
pub mod history;
pub mod webhook;

pub mod document;
pub mod import;
pub mod search;

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
