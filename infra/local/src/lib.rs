//! The service on one machine: the functions, their triggers and an embedded database in one process.
//!
//! The functions run as they do in Lambda: their own handlers are called with the events that API Gateway, EventBridge Scheduler and
//! DynamoDB send, and speak to a DynamoDB over HTTP. Everything that AWS does around them is done here in its place.
//! - [`up`]: starts all of it, and stops it again.
//! - [`server`]: the ports, and who may speak to them.
//! - [`database`]: the DynamoDB API on an embedded SQLite.
//! - [`demo`]: a tenant, keys and a few subscriptions to begin with.
//! - [`gateway`]: API Gateway, from an HTTP request to an event, and back.
//! - [`scheduler`]: EventBridge Scheduler, every minute.
//! - [`event_source`]: Lambda's reading of a table's stream.
//! - [`bus`], [`webhook`]: EventBridge, and its delivery of events.
//! - [`console`]: what only exists here, such as the clock that can be moved; with [`pages`] to read and click.
//!
//! *Invariant:* no function depends on this crate. It depends on [`operator`], which does not depend on it, for files of
//! subscriptions, and files for their owner alone.

#![warn(missing_docs)]

pub mod up;

pub mod database;
pub mod demo;
pub mod server;

pub mod gateway;
pub mod scheduler;

pub mod event_source;

pub mod bus;
pub mod webhook;

pub mod console;
pub mod pages;
