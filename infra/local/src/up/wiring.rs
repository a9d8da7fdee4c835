//! Connects the functions, each with its own service as in Lambda, with the stand-ins for AWS around them, and then runs all.

use std::sync::Arc;
use std::time::Duration;

use service::Service;
use service::clock::Clock;
use service::endpoint::Endpoint;
use service::publish::Publisher;
use store::tables::TableNames;
use store::{Admin, Store};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::database::OpenDatabase;
use super::running::{Addresses, Stops};
use super::{Options, StartError};
use crate::bus::{self, Bus};
use crate::console::{self, Console};
use crate::database::Folder;
use crate::event_source::EventSource;
use crate::scheduler::{Database, Scheduler};
use crate::webhook::{Deliveries, Webhook};
use crate::{gateway, server};

/// The functions and their triggers, before anything runs.
pub(super) struct Wiring {
    functions: gateway::Functions,
    scheduler: Arc<Scheduler>,
    pub(super) bus: Arc<Bus>,
}

/// The tasks that run until they are told to stop.
pub(super) struct Tasks {
    pub(super) api: JoinHandle<()>,
    pub(super) scheduler: Option<JoinHandle<()>>,
    pub(super) events: Option<JoinHandle<EventSource>>,
}

impl Wiring {
    /// Prepares the functions for this database and this clock.
    pub(super) fn new(
        options: &Options,
        database: &OpenDatabase,
        clock: &Clock,
        stops: &Stops,
    ) -> Result<Self, StartError> {
        let service = |function| Service {
            store: Store::new(
                &database.endpoint.clone().for_function(function).sdk_config(),
                options.tables.clone(),
            ),
            clock: clock.clone(),
        };
        let functions = gateway::Functions {
            get_subscription: service("get-subscription"),
            cancel_subscription: service("cancel-subscription"),
        };
        let of_sweeps = match database.embedded {
            Some(_) => Database::Embedded,
            None => Database::Shared(database.store.clone()),
        };
        let scheduler = Arc::new(Scheduler::new(service("execute-cancellations"), of_sweeps));
        let deliveries =
            options.webhook.clone().map(|webhook| Deliveries::new(webhook, stops.work.clone())).transpose();
        let bus = Arc::new(Bus::new(deliveries.map_err(|cause| StartError::Webhook(cause.to_string()))?));
        Ok(Self { functions, scheduler, bus })
    }

    /// Creates the source of events, at the place in the stream where it continues.
    pub(super) async fn begin_events(
        &self,
        tables: TableNames,
        database: &OpenDatabase,
        stream_arn: String,
        api_url: &str,
        folder: Option<&Folder>,
    ) -> Result<EventSource, StartError> {
        let history = database.endpoint.clone().for_function("publish-events").sdk_config();
        let store = Store::new(&history, tables);
        let aws = Endpoint::local(format!("{api_url}{}", bus::PATH)).for_function("publish-events");
        let aws = aws.sdk_config();
        let publisher = Publisher::new(store, &aws, bus::NAME.to_owned(), &aws, bus::QUEUE.to_owned());
        let file = folder.map(|folder| folder.file("events-delivered.json"));
        let (endpoint, bus) = (database.endpoint.clone(), Arc::clone(&self.bus));
        Ok(EventSource::begin(publisher, endpoint, stream_arn, bus, file).await?)
    }

    /// Creates the console of this service.
    pub(super) fn console(&self, options: &Options, store: Admin, addresses: Addresses) -> Console {
        Console {
            addresses,
            store,
            database: options.keeping(),
            time_zone: options.time_zone.clone(),
            tick: options.tick,
            scheduler: Arc::clone(&self.scheduler),
            bus: Arc::clone(&self.bus),
            webhook: options.webhook.as_ref().map(Webhook::origin),
        }
    }

    /// Starts all tasks. Nothing here can fail.
    pub(super) fn run(
        self,
        options: &Options,
        api: TcpListener,
        console: Console,
        events: Option<EventSource>,
        stops: &Stops,
    ) -> Tasks {
        let events = events.map(|source| tokio::spawn(source.run(stops.work.clone())));
        let scheduler = (options.tick > 0).then(|| {
            let tick = Duration::from_secs(options.tick);
            tokio::spawn(self.scheduler.run(tick, stops.work.clone()))
        });
        let routes = gateway::routes(self.functions).merge(console::routes(console));
        let api = tokio::spawn(server::serve(api, routes, stops.api.clone()));
        Tasks { api, scheduler, events }
    }
}
