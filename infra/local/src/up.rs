//! `connect up`: the whole service in one process.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use domain::api_key::{ApiKey, Scope, Token};
use domain::calendar::{Calendar, TimeZone};
use domain::identifiers::{InvalidIdentifier, SubscriptionId, TenantId};
use domain::import::{Existing, NewSubscription, Rules};
use domain::subscription::Status;
use domain::tenant::Tenant;
use serde::Serialize;
use service::Service;
use service::clock::Clock;
use service::endpoint::Endpoint;
use service::environment::table_names;
use service::import::import;
use service::publish::Publisher;
use store::tables::TableNames;
use store::{Store, StoreError};
use streams::StreamError;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use crate::bus::{self, Bus};
use crate::console::{self, Console};
use crate::database::{self, Folder, FolderError};
use crate::demo::{self, KeyError};
use crate::event_source::EventSource;
use crate::gateway;
use crate::scheduler::{Database, Scheduler};
use crate::server;
use crate::webhook::{Deliveries, Webhook};
use operator::ndjson::{Line, Lines};

/// How long what is under way gets to finish when the service is stopped: longer than a request or a
/// sweep may take.
const GRACE: Duration = Duration::from_secs(65);

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
    /// Whether the database keeps what it is told, and where.
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

/// Why the service did not start.
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
    #[error("there would be no events: {0}")]
    Stream(#[from] StreamError),
    #[error("no events could be delivered: {0}")]
    Webhook(String),
    #[error(transparent)]
    DemoKey(#[from] KeyError),
    #[error(transparent)]
    Identifier(#[from] InvalidIdentifier),
}

/// The service, running.
pub struct Running {
    /// Where everything is.
    pub addresses: Addresses,
    /// A subscription that can be cancelled, to try.
    pub example: Option<SubscriptionId>,
    stop: CancellationToken,
    api: JoinHandle<()>,
    scheduler: Option<JoinHandle<()>>,
    events: Option<JoinHandle<EventSource>>,
    bus: Arc<Bus>,
    stop_api: CancellationToken,
    stop_database: CancellationToken,
    database: Option<JoinHandle<Result<(), String>>>,
    /// Held until the service has stopped.
    _folder: Option<Folder>,
}

impl Running {
    /// Stops the service: what is under way is finished first, the database comes last.
    ///
    /// # Errors
    /// Something took too long to finish, or had failed before.
    pub async fn stop(self) -> Result<(), String> {
        self.stop.cancel();
        let scheduler = match self.scheduler {
            Some(scheduler) => finish("a sweep", scheduler).await,
            None => Ok(()),
        };
        let events = match self.events {
            Some(events) => finish("the publishing of events", events).await.map(Some),
            None => Ok(None),
        };
        let bus = Arc::clone(&self.bus);
        let deliveries = tokio::spawn(async move {
            if let Some(deliveries) = bus.webhook() {
                deliveries.finished().await;
            }
        });
        let deliveries = finish("the delivery of an event", deliveries).await;
        let events = events.map(|source| source.map(|mut source| source.keep()));
        // What publishes events needs the bus, which is reached by the API.
        self.stop_api.cancel();
        let api = finish("the API", self.api).await;
        self.stop_database.cancel();
        let database = match self.database {
            Some(database) => finish("the database", database).await,
            None => Ok(Ok(())),
        };
        api?;
        scheduler?;
        events?;
        deliveries?;
        database?
    }
}

async fn finish<T>(what: &str, task: JoinHandle<T>) -> Result<T, String> {
    match tokio::time::timeout(GRACE, task).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) => Err(format!("{what} failed: {error}")),
        Err(_) => Err(format!("{what} did not finish in time")),
    }
}

/// What a caller needs to know of a running service. On one line of JSON, it is what a program reads.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    /// Where the API is.
    pub api_url: String,
    /// Where the database is.
    pub dynamodb_url: String,
    /// The demo tenant's key.
    pub api_key: String,
    /// The demo tenant.
    pub tenant: TenantId,
    /// The demo tenant's subscriptions.
    pub subscription_ids: Vec<SubscriptionId>,
}

/// Starts the service. It listens on the loopback interface only: its key is printed, and its clock can
/// be moved by anyone who reaches it.
///
/// # Errors
/// Something that it needs is not to be had; nothing keeps running then.
pub async fn start(options: &Options) -> Result<Running, StartError> {
    let clock = Clock::system();
    if let Some(now) = options.now {
        clock.set(now);
    }
    let now = clock.now();

    // What may be wrong with the options comes before anything is opened or written.
    let seed = read_seed(options, now)?;

    let api = listen(options.port, "port").await?;
    let folder = if options.memory { None } else { Some(Folder::open(&options.data)?) };
    let [stop, stop_api, stop_database] = std::array::from_fn(|_| CancellationToken::new());
    let stop_on_error = stop_database.clone().drop_guard();

    let (endpoint, database) = match &options.dynamodb_endpoint {
        Some(url) => (Endpoint::at(url.clone()), None),
        None => {
            let listener = listen(options.dynamodb_port, "dynamodb-port").await?;
            let url = url_of(&listener)?;
            let database = start_database(listener, folder.as_ref(), stop_database.clone()).await?;
            (Endpoint::local(url), Some(database))
        }
    };
    let dynamodb_url = endpoint.url.clone().unwrap_or_default();
    let store = Store::new(&endpoint.sdk_config(), options.tables.clone());
    let place = match endpoint.proxy() {
        Some(proxy) => format!("{dynamodb_url}, through the proxy {proxy}"),
        None => dynamodb_url.clone(),
    };
    let unusable = |source| StartError::Store { place: place.clone(), source };
    store.create_tables().await.map_err(unusable)?;

    let tenant = Tenant {
        id: demo::TENANT.parse()?,
        name: "Demo Telecom".to_owned(),
        time_zone: options.time_zone.clone(),
    };
    let key_file = folder.as_ref().map(|folder| folder.file("demo-api-key"));
    store.put_tenant(&tenant).await.map_err(unusable)?;
    let add_key = async |token: &Token, scopes: &[Scope]| {
        let key = ApiKey::new(token, scopes, now);
        store.add_api_key(&tenant.id, token.key_id(), &key).await.map_err(unusable)
    };
    let api_key = if database.is_some() {
        for (token, scopes) in demo::KEYS {
            add_key(&token.parse().map_err(KeyError::from)?, scopes).await?;
        }
        demo::KEY.to_owned()
    } else {
        let token = demo::secret_key(&tenant.id, key_file.as_deref())?;
        add_key(&token, &Scope::ALL).await?;
        token.reveal()
    };
    let rules = Rules { existing: Existing::Keep, takes_overdue: true };
    for (line, subscription) in seed.lines.iter().zip(&seed.subscriptions) {
        let imported = import(&store, &tenant.id, subscription, rules, now).await.map_err(unusable)?;
        if let Some(fault) = imported.fault() {
            return Err(StartError::SeedLine { path: seed.path, line: *line, fault: fault.to_owned() });
        }
    }

    let subscription_ids: Vec<_> = seed.subscriptions.iter().map(NewSubscription::id).collect();
    let mut example = None;
    for id in &subscription_ids {
        let stored = store.subscription(&tenant.id, *id).await.map_err(unusable)?;
        if stored.is_some_and(|stored| stored.document.status != Status::Cancelled) {
            example = Some(*id);
            break;
        }
    }

    let stream = if options.publishes { store.stream_arn().await.map_err(unusable)? } else { None };
    if options.publishes && stream.is_none() {
        warn!("the table of subscriptions has no stream, so there are no events");
    }

    let addresses = Addresses {
        api_url: url_of(&api)?,
        dynamodb_url,
        api_key,
        tenant: tenant.id.clone(),
        subscription_ids,
    };
    let service = |function| Service {
        store: Store::new(&endpoint.clone().for_function(function).sdk_config(), options.tables.clone()),
        clock: clock.clone(),
    };
    let functions = gateway::Functions {
        get_subscription: service("get-subscription"),
        cancel_subscription: service("cancel-subscription"),
    };
    let of_sweeps = if database.is_some() { Database::Embedded } else { Database::Shared(store.clone()) };
    let scheduler = Arc::new(Scheduler::new(service("execute-cancellations"), of_sweeps));
    let deliveries =
        options.webhook.clone().map(|webhook| Deliveries::new(webhook, stop.clone())).transpose();
    let bus = Arc::new(Bus::new(deliveries.map_err(|cause| StartError::Webhook(cause.to_string()))?));
    let console = Console {
        addresses: addresses.clone(),
        store,
        database: options.keeping(),
        time_zone: options.time_zone.clone(),
        tick: options.tick,
        scheduler: Arc::clone(&scheduler),
        bus: Arc::clone(&bus),
        webhook: options.webhook.as_ref().map(Webhook::origin),
    };
    let events = match stream {
        None => None,
        Some(arn) => {
            let aws =
                Endpoint::local(format!("{}{}", addresses.api_url, bus::PATH)).for_function("publish-events");
            let aws = aws.sdk_config();
            let publisher = Publisher::new(&aws, bus::NAME.to_owned(), &aws, bus::QUEUE.to_owned());
            let file = folder.as_ref().map(|folder| folder.file("events-delivered.json"));
            let source = EventSource::begin(publisher, endpoint, arn, Arc::clone(&bus), file).await;
            Some(tokio::spawn(source?.run(stop.clone())))
        }
    };
    let routes = gateway::routes(functions).merge(console::routes(console));
    let scheduler = (options.tick > 0).then(|| {
        let tick = Duration::from_secs(options.tick);
        tokio::spawn(scheduler.run(tick, stop.clone()))
    });
    let api = tokio::spawn(server::serve(api, routes, stop_api.clone()));
    stop_on_error.disarm();
    Ok(Running {
        addresses,
        example,
        stop,
        api,
        scheduler,
        events,
        bus,
        stop_api,
        stop_database,
        database,
        _folder: folder,
    })
}

/// The subscriptions to begin with.
struct Seed {
    path: PathBuf,
    subscriptions: Vec<NewSubscription>,
    /// The number of the line of each.
    lines: Vec<u64>,
}

fn read_seed(options: &Options, now: DateTime<Utc>) -> Result<Seed, StartError> {
    let (path, file, now): (PathBuf, Box<dyn BufRead>, _) = match &options.seed {
        None => {
            let now = now.max(demo::written());
            (PathBuf::from("demo.ndjson"), Box::new(demo::SUBSCRIPTIONS.as_bytes()), now)
        }
        Some(path) => {
            let unreadable = |source| StartError::SeedFile { path: path.clone(), source };
            (path.clone(), Box::new(BufReader::new(File::open(path).map_err(unreadable)?)), now)
        }
    };
    let mut seed = Seed { path: path.clone(), subscriptions: Vec::new(), lines: Vec::new() };
    let mut ids = HashSet::new();
    for line in Lines::new(file, Calendar::new(options.time_zone.clone(), now), now) {
        let Line { number: line, subscription, .. } =
            line.map_err(|source| StartError::SeedFile { path: path.clone(), source })?;
        let faulty = |fault| StartError::SeedLine { path: path.clone(), line, fault };
        let subscription = subscription.map_err(faulty)?;
        if !ids.insert(subscription.id()) {
            return Err(faulty("subscriptionId: another line has the same".to_owned()));
        }
        seed.subscriptions.push(subscription);
        seed.lines.push(line);
    }
    Ok(seed)
}

/// Serves the embedded database on this port. Behind it is a port of its own, at an address of this machine that no page can
/// guess where the system has more than one.
async fn start_database(
    listener: TcpListener,
    folder: Option<&Folder>,
    stop: CancellationToken,
) -> Result<JoinHandle<Result<(), String>>, StartError> {
    let unusable = |error: io::Error| StartError::Database(error.to_string());
    let [a, b, c, ..] = Uuid::new_v4().into_bytes();
    let inner = match TcpListener::bind((Ipv4Addr::new(127, a, b, c), 0)).await {
        Ok(inner) => inner,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unusable)?,
    };
    let routes = server::forward(inner.local_addr().map_err(unusable)?).map_err(unusable)?;
    let stop_inner = CancellationToken::new();
    let database = database::serve(inner, folder, stop_inner.clone()).map_err(StartError::Database)?;
    Ok(tokio::spawn(async move {
        server::serve(listener, routes, stop).await;
        stop_inner.cancel();
        database.await.map_err(|error| error.to_string())?
    }))
}

async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, StartError> {
    let taken = |source| StartError::Port { port, flag, source };
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(taken)
}

fn url_of(listener: &TcpListener) -> Result<String, StartError> {
    let address = listener.local_addr().map_err(|error| StartError::Database(error.to_string()))?;
    Ok(format!("http://{address}"))
}
