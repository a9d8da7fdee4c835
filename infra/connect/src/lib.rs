//! Connect Subscriptions on one machine.
//!
//! On one machine, the functions run as they do in Lambda: their own handlers are called with the events that
//! API Gateway, EventBridge Scheduler and DynamoDB send, and speak to a DynamoDB over HTTP. What AWS does
//! around them is done here in their place.
//! - [`up`]: puts it all together, and takes it down again.
//! - [`server`]: its ports, and who may speak to them.
//! - [`database`]: the DynamoDB API on an embedded SQLite.
//! - [`demo`]: a tenant, keys and a few subscriptions to begin with.
//! - [`gateway`]: what API Gateway does, from an HTTP request to an event, and back.
//! - [`scheduler`]: what EventBridge Scheduler does, every minute.
//! - [`event_source`]: what Lambda does with the stream of a table.
//! - [`bus`], [`webhook`]: what EventBridge does with events.
//! - [`local`]: what only exists here, the clock that can be moved.
//! - [`pages`]: what people read and click.

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

pub mod local;
pub mod pages;
