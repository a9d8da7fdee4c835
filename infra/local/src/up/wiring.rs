//! Connects the functions, each with its own service as in Lambda, with the stand-ins for AWS around them, and then runs all.

use std::sync::Arc;
use std::time::Duration;

use service::Service;
use service::clock::Clock;
use service::deliver::{Deliverer, DeliveryQueue};
use service::endpoint::Endpoint;
use service::publish::Publisher;
use store::{Admin, Store};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::database::OpenDatabase;
use super::running::{Addresses, Stops};
use super::{Options, StartError};
use crate::bus::{self, Bus};
use crate::console::commands::Commands;
use crate::console::{self, Console};
use crate::database::{CHECKPOINTS, Folder, QUEUE};
use crate::event_source::EventSource;
use crate::queue::Queue;
use crate::queue_source::QueueSource;
use crate::scheduler::{Database, Scheduler};
use crate::{gateway, server};

/// The functions and their triggers, before anything runs.
pub(super) struct Wiring {
    functions: gateway::Functions,
    scheduler: Arc<Scheduler>,
    bus: Arc<Bus>,
    queue: Arc<Queue>,
}

/// The sources of events and deliveries, at the places where they continue.
pub(super) struct Sources {
    events: EventSource,
    deliveries: QueueSource,
}

/// The tasks that run until they are told to stop.
pub(super) struct Tasks {
    pub(super) api: JoinHandle<()>,
    pub(super) scheduler: Option<JoinHandle<()>>,
    pub(super) events: Option<JoinHandle<()>>,
    pub(super) deliveries: Option<JoinHandle<()>>,
}

impl Wiring {
    /// Prepares the functions for this database and this clock.
    pub(super) fn new(
        options: &Options,
        database: &OpenDatabase,
        clock: &Clock,
        folder: Option<&Folder>,
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
        let file = folder.map(|folder| folder.file(QUEUE));
        let queue =
            Queue::open(file.as_deref()).map_err(|cause| StartError::Deliveries(cause.to_string()))?;
        let queue = Arc::new(queue);
        let bus = Arc::new(Bus::new(Arc::clone(&queue), Clock::system()));
        Ok(Self { functions, scheduler, bus, queue })
    }

    /// Creates the source of deliveries, and the source of events at the place in the stream where it continues.
    pub(super) async fn begin_sources(
        &self,
        options: &Options,
        database: &OpenDatabase,
        stream_arn: String,
        api_url: &str,
        folder: Option<&Folder>,
    ) -> Result<Sources, StartError> {
        let store = |function| {
            let endpoint = database.endpoint.clone().for_function(function);
            Store::new(&endpoint.sdk_config(), options.tables.clone())
        };
        let sqs =
            Endpoint::local(format!("{api_url}{}", bus::PATH)).for_function("deliver-webhooks").sdk_config();
        let queue = DeliveryQueue::new(&sqs, bus::WEBHOOKS.to_owned());
        let deliverer = Deliverer::new(store("deliver-webhooks"), queue, Clock::system(), options.limits);
        let deliverer = deliverer.map_err(|cause| StartError::Deliveries(cause.to_string()))?;
        let deliveries = QueueSource::new(deliverer, Arc::clone(&self.queue), Clock::system());
        let aws = Endpoint::local(format!("{api_url}{}", bus::PATH)).for_function("publish-events");
        let aws = aws.sdk_config();
        let (bus, failed) = (bus::NAME.to_owned(), bus::FAILED_EVENTS.to_owned());
        let publisher = Publisher::new(store("publish-events"), &aws, bus, &aws, failed);
        let file = folder.map(|folder| folder.file(CHECKPOINTS));
        let events = EventSource::begin(publisher, database.endpoint.clone(), stream_arn, file).await?;
        Ok(Sources { events, deliveries })
    }

    /// Creates the console of this service.
    pub(super) fn console(
        &self,
        options: &Options,
        endpoint: Endpoint,
        store: Admin,
        addresses: Addresses,
        stop: &CancellationToken,
    ) -> Console {
        let sqs = Endpoint::local(format!("{}{}", addresses.api_url, bus::PATH)).sdk_config();
        let commands = Commands {
            endpoint,
            tables: options.tables.clone(),
            queue: Some(DeliveryQueue::new(&sqs, bus::WEBHOOKS.to_owned())),
            schedule: None,
            clock: self.scheduler.service.clock.clone(),
            may_change: true,
            place: "This machine".to_owned(),
            api_url: Some(addresses.api_url.clone()),
            stop: stop.clone(),
        };
        Console {
            commands: options.dynamodb_endpoint.is_none().then_some(commands),
            addresses,
            store,
            database: options.keeping(),
            time_zone: options.time_zone.clone(),
            tick: options.tick,
            scheduler: Arc::clone(&self.scheduler),
            bus: Arc::clone(&self.bus),
        }
    }

    /// Starts all tasks. Nothing here can fail.
    pub(super) fn run(
        self,
        options: &Options,
        api: TcpListener,
        console: Console,
        sources: Option<Sources>,
        stops: &Stops,
    ) -> Tasks {
        let (events, deliveries) = sources
            .map(|Sources { events, deliveries }| {
                let events = tokio::spawn(events.run(stops.work.clone()));
                (events, tokio::spawn(deliveries.run(stops.work.clone())))
            })
            .unzip();
        let scheduler = (options.tick > 0).then(|| {
            let tick = Duration::from_secs(options.tick);
            tokio::spawn(self.scheduler.run(tick, stops.work.clone()))
        });
        let routes = gateway::routes(self.functions).merge(console::routes(console));
        let api = tokio::spawn(server::serve(api, routes, stops.api.clone()));
        Tasks { api, scheduler, events, deliveries }
    }
}
