//! The options of `connect up`, and their defaults.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use domain::calendar::TimeZone;
use service::environment::table_names;
use store::tables::TableNames;

use crate::console;
use crate::webhook::Webhook;

/// How to run the service.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Port of the API; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    pub port: u16,
    /// Port of the embedded database; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub dynamodb_port: u16,
    /// Folder that keeps the database, or the demo key if the database is elsewhere, and how far events were delivered
    #[arg(long, value_name = "DIR", default_value = ".connect")]
    pub data: PathBuf,
    /// Keep nothing
    #[arg(long, conflicts_with = "data")]
    pub memory: bool,
    /// The DynamoDB to use instead of the embedded one
    #[arg(skip)]
    pub dynamodb_endpoint: Option<String>,
    /// What the tables are called
    #[arg(skip = table_names())]
    pub tables: TableNames,
    /// Subscriptions of the demo tenant in the wire shape, one a line, instead of the eight
    #[arg(long, value_name = "FILE.ndjson")]
    pub seed: Option<PathBuf>,
    /// Time zone of the demo tenant, by its IANA name
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: TimeZone,
    /// Start the clock at this instant (RFC 3339); it runs on
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    pub now: Option<DateTime<Utc>>,
    /// Seconds between two sweeps for cancellations that are due; 0: none but those asked for
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub tick: u64,
    /// Post each event to this URL; again for 24 hours, until the answer is 2xx or refuses it
    #[arg(long, value_name = "URL")]
    pub webhook: Option<Webhook>,
    /// Whether changes are published as events
    #[arg(skip = true)]
    pub publishes: bool,
}

/// Every option at its default.
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
    /// The place in which the database keeps what it is told, or that it keeps nothing.
    #[must_use]
    pub fn keeping(&self) -> String {
        match (&self.dynamodb_endpoint, self.memory) {
            (Some(_), _) => "not ours".to_owned(),
            (None, true) => "in memory".to_owned(),
            (None, false) => format!("kept in {}", self.data.display()),
        }
    }
}

fn parse_instant(text: &str) -> Result<DateTime<Utc>, String> {
    let instant: DateTime<Utc> = text.parse().map_err(|error: chrono::ParseError| error.to_string())?;
    console::check_instant(instant)
}
