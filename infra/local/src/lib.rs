//! The service on one machine: the functions, their triggers and an embedded database in one process.
//!
//! The functions run as they do in Lambda: their own handlers get the events that API Gateway, EventBridge Scheduler and DynamoDB
//! send, and they use a DynamoDB over HTTP. This crate replaces everything that AWS does around them.
//! - [`up`]: starts and stops the whole service.
//! - [`server`]: the ports, and the clients that may use them.
//! - [`database`]: the DynamoDB API on an embedded SQLite database.
//! - [`demo`]: a tenant, keys and a few subscriptions to begin with.
//! - [`gateway`]: API Gateway, from an HTTP request to an event and back.
//! - [`scheduler`]: EventBridge Scheduler, every minute.
//! - [`event_source`]: Lambda's reading of a table's stream.
//! - [`bus`], [`queue`], [`queue_source`]: EventBridge, SQS, and Lambda's reading of a queue, to deliver events.
//! - [`console`]: features that only exist on one machine, such as a clock that can be moved. [`pages`]: the pages for people.
//!
//! *Invariant:* no function depends on this crate. It depends on [`operator`] for files of subscriptions, for files that only their
//! owner can read, and for the document of the API. [`operator`] does not depend on it.

#![warn(missing_docs)]

pub mod up;

pub mod database;
pub mod demo;
pub mod server;

pub mod gateway;
pub mod scheduler;

pub mod event_source;

pub mod bus;
pub mod queue;
pub mod queue_source;

pub mod console;
pub mod pages;
