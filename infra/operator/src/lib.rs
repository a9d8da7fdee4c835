//! The operator's commands. They work on any DynamoDB, on this machine or on AWS: the endpoint decides.
//!
//! The result of a command goes to standard output: a table, or JSON on one line. Everything else goes to standard error. A command
//! that fails gives the reason in one line.
//!
//! *Invariant:* nothing here knows the service on one machine (`local`). `local` depends on this crate for three things that both
//! need and no function needs: files of subscriptions, files that only their owner can read, and the document of the API.
//!
//! In reading order:
//! - [`Command`]: all commands, and the ones that only read, end by themselves or never end. Each is in a file of its name.
//! - [`Session`]: the database and the clock that a command works with, and its output.
//! - [`CommandError`]: the reasons for which a command fails, each with its line and exit code.
//! - [`terminal`]: text without characters that a terminal acts on.
//! - [`ndjson`]: files of subscriptions, one per line.
//! - [`private`]: files and folders that only their owner can read.
//! - [`openapi`]: the document of the API.

#![warn(missing_docs)]

mod command;
mod error;
mod session;

mod backup;
mod cancellations;
mod doctor;
mod events;
mod history;
mod keys;
mod subscriptions;
mod tables;
mod tenants;
mod webhooks;

mod arguments;
mod format;
mod when;

pub mod ndjson;
pub mod openapi;
pub mod private;
pub mod terminal;

pub use self::backup::{Backup, Restore};
pub use self::cancellations::{
    Cancellations, ListDue, PausedTenants, Report, ScheduleMany, ScheduleWhen, WithdrawMany,
};
pub use self::command::{Command, run};
pub use self::doctor::Doctor;
pub use self::error::CommandError;
pub use self::events::Events;
pub use self::keys::{Expiry, Keys, NamedKey};
pub use self::session::{QUEUE_VARIABLE, SCHEDULE_VARIABLE, Session};
pub use self::subscriptions::{Erase, Find, Import, List, Subscriptions};
pub use self::tables::Tables;
pub use self::tenants::Tenants;
pub use self::webhooks::Webhooks;
pub use self::when::When;
