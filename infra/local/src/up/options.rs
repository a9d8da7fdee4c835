//! The options of `connect up`, and their defaults.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use domain::calendar::TimeZone;
use domain::webhook::Addresses;
use service::deliver::{Limits, target};
use service::environment::table_names;
use store::tables::TableNames;
use url::Url;

use crate::console;

/// Options of the service on one machine.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Port of the API; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    pub port: u16,
    /// Port of the embedded database; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub dynamodb_port: u16,
    /// Folder for the database (or the demo key, if the database is elsewhere) and the progress of event delivery
    #[arg(long, value_name = "DIR", default_value = ".connect")]
    pub data: PathBuf,
    /// Keep nothing on disk
    #[arg(long, conflicts_with = "data")]
    pub memory: bool,
    /// The DynamoDB to use instead of the embedded one
    #[arg(skip)]
    pub dynamodb_endpoint: Option<String>,
    /// The names of the tables
    #[arg(skip = table_names())]
    pub tables: TableNames,
    /// File of subscriptions of the demo tenant, as JSON, one per line, instead of the eight built-in ones
    #[arg(long, value_name = "FILE.ndjson")]
    pub seed: Option<PathBuf>,
    /// Time zone of the demo tenant, by its IANA name
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: TimeZone,
    /// Instant at which the clock starts (RFC 3339); it keeps running
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    pub now: Option<DateTime<Utc>>,
    /// Seconds between two sweeps for cancellations that are due; with 0, sweeps run only on request
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub tick: u64,
    /// URL to post the demo tenant's events to, signed; tried again for 24 hours, until the receiver accepts them (2xx)
    ///
    /// The webhook is added to the database, with a secret that is printed, and stays until it is removed.
    #[arg(long, value_name = "URL", value_parser = parse_webhook)]
    pub webhook: Option<Url>,
    /// The time limits of deliveries
    #[arg(skip)]
    pub limits: Limits,
    /// True if changes are published as events
    #[arg(skip = true)]
    pub publishes: bool,
}

/// Returns the options with their defaults.
#[must_use]
pub fn defaults() -> Options {
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        options: Options,
    }
    <Alone as clap::Parser>::parse_from(["up"]).options
}

impl Options {
    /// Describes, for people, the place in which the database keeps its data.
    #[must_use]
    pub fn keeping(&self) -> String {
        match (&self.dynamodb_endpoint, self.memory) {
            (Some(_), _) => "external".to_owned(),
            (None, true) => "in memory".to_owned(),
            (None, false) => format!("kept in {}", self.data.display()),
        }
    }
}

fn parse_webhook(text: &str) -> Result<Url, String> {
    target(text, Addresses::Any).map_err(|unusable| unusable.to_string())
}

fn parse_instant(text: &str) -> Result<DateTime<Utc>, String> {
    let instant: DateTime<Utc> = text.parse().map_err(|error: chrono::ParseError| error.to_string())?;
    console::check_instant(instant)
}
