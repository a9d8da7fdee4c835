//! Connect Subscriptions: the cancellation service of a telecom operator's API.
//!
//! A caller cancels a subscription for a date to come; when the date arrives, the cancellation takes
//! effect, exactly once. This crate is what the functions share, in reading order:
//!
//! **The rules** know no AWS, no I/O and no clock. They take the time, the tenant's time zone and the
//! stored state as values, and return a decision as a value.
//! - [`identifiers`]: the names of things, parsed once at the edge.
//! - [`subscription`]: the document that callers see.
//! - [`calendar`]: when a local date begins.
//! - [`cancellation`]: what a request to cancel does, and what the arrival of its date does.
//! - [`event`]: what is published about a change.
//! - [`import`]: which subscriptions from outside are taken in, and what they may take the place of.
//! - [`json`], [`fault`], [`cancel_request`]: reading that request, with every fault at once.
//! - [`api_key`]: who asks, and what they may do.
//! - [`idempotency`]: the same key and request, the same answer.
//!
//! **The store** loads what a rule needs in one round trip and commits what it decided in one more.
//! - [`store`]: the tables, the read, the conditional writes, the stream.
//!
//! **HTTP** is how callers speak with it.
//! - [`http`]: requests into types, decisions and problems into answers.
//!
//! **What a function runs on**: [`service`], [`endpoint`], [`clock`], [`telemetry`].

#![warn(missing_docs)]

pub mod identifiers;
pub mod subscription;

pub mod calendar;
pub mod cancellation;
pub mod event;
pub mod import;

pub mod fault;
pub mod json;

pub mod cancel_request;

pub mod api_key;
pub mod idempotency;

pub mod store;

pub mod http;

pub mod clock;
pub mod endpoint;
pub mod service;
pub mod telemetry;

#[cfg(test)]
mod near_miss;
