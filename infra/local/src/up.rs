//! `connect up`: the whole service in one process, from its options to its end.
//!
//! If the service does not start, nothing keeps running.

mod database;
mod options;
mod ports;
mod running;
mod seed;
mod tenant;
mod webhook;
mod wiring;

use std::io;
use std::path::PathBuf;

use domain::identifiers::InvalidIdentifier;
use service::clock::Clock;
use service::ids::NoEntropy;
use store::StoreError;
use streams::StreamError;
use tracing::warn;

use self::database::OpenDatabase;
pub use self::options::{Options, defaults};
use self::running::Stops;
pub use self::running::{Addresses, Running};
use self::seed::Seed;
use self::wiring::Wiring;
use crate::database::{Folder, FolderError};
use crate::demo::KeyError;

/// Starts the service. It listens on the loopback interface only, because its key is printed, and anyone who reaches it can move
/// its clock.
///
/// # Errors
/// A port, a file, the folder or the database can't be used. Then nothing keeps running.
pub async fn start(options: &Options) -> Result<Running, StartError> {
    start_by(options, Clock::system()).await
}

/// Starts the service with this clock.
///
/// # Errors
/// As those of [`start`].
pub async fn start_by(options: &Options, clock: Clock) -> Result<Running, StartError> {
    if let Some(now) = options.now {
        clock.set(now);
    }
    let now = clock.now();

    // Wrong options are found before anything is opened or written.
    let seed = Seed::read(options, now)?;
    let api = ports::listen(options.port, "port").await?;
    let folder = if options.memory { None } else { Some(Folder::open(&options.data)?) };
    let stops = Stops::default();
    // Until the last step that can fail, only the embedded database runs.
    let stop_on_error = stops.database.clone().drop_guard();

    let database = OpenDatabase::open(options, folder.as_ref(), &stops.database).await?;
    let (tenant, api_key) = tenant::prepare(options, &database, folder.as_ref(), now).await?;
    seed.import(&database, &tenant, now).await?;
    let example = seed.example(&database, &tenant).await?;
    let webhook_secret = match &options.webhook {
        Some(url) => Some(webhook::add(&database, &tenant, url, now).await?),
        None => None,
    };
    let stream_arn = find_stream(options, &database).await?;

    let addresses = Addresses {
        api_url: ports::url_of(&api)?,
        dynamodb_url: database.url.clone(),
        api_key,
        tenant,
        subscription_ids: seed.ids().collect(),
        webhook_secret,
    };
    let wiring = Wiring::new(options, &database, &clock, folder.as_ref())?;
    let sources = match stream_arn {
        Some(arn) => {
            Some(wiring.begin_sources(options, &database, arn, &addresses.api_url, folder.as_ref()).await?)
        }
        None => None,
    };
    let console = wiring.console(options, database.endpoint, database.store, addresses.clone(), &stops.work);
    let tasks = wiring.run(options, api, console, sources, &stops);
    stop_on_error.disarm();
    Ok(Running { addresses, example, stops, tasks, database: database.embedded, _folder: folder })
}

/// Finds the stream of the table of subscriptions, if changes are published as events.
async fn find_stream(options: &Options, database: &OpenDatabase) -> Result<Option<String>, StartError> {
    if !options.publishes {
        return Ok(None);
    }
    let arn = database.store.stream_arn().await.map_err(|source| database.unusable(source))?;
    if arn.is_none() {
        warn!("the table of subscriptions has no stream, so there are no events");
    }
    Ok(arn)
}

/// The reason for which the service did not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it all")]
pub enum StartError {
    #[error("cannot listen on port {port}: {source}; choose another with --{flag}")]
    Port { port: u16, flag: &'static str, source: io::Error },
    #[error("{0}; choose another with --data, or keep nothing with --memory")]
    Folder(#[from] FolderError),
    #[error("{0}")]
    Database(String),
    #[error("cannot use the database at {place}: {source}")]
    Store { place: String, source: StoreError },
    #[error("cannot read {}: {source}", path.display())]
    SeedFile { path: PathBuf, source: io::Error },
    #[error("{}, line {line}: {fault}", path.display())]
    SeedLine { path: PathBuf, line: u64, fault: String },
    #[error("cannot publish events: {0}")]
    Stream(#[from] StreamError),
    #[error("cannot deliver events: {0}")]
    Deliveries(String),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    DemoKey(#[from] KeyError),
    #[error(transparent)]
    Identifier(#[from] InvalidIdentifier),
}
