//! The running service, and its stop: the work in progress is finished first, the database stops last.

use std::time::Duration;

use domain::identifiers::{SubscriptionId, TenantId};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::wiring::Tasks;
use crate::database::Folder;

/// Time for each part to finish its work when the service stops: longer than a request or a sweep may take.
const GRACE: Duration = Duration::from_secs(65);

/// The running service.
pub struct Running {
    /// The addresses of the service.
    pub addresses: Addresses,
    /// A subscription that can be cancelled, to try.
    pub example: Option<SubscriptionId>,
    pub(super) stops: Stops,
    pub(super) tasks: Tasks,
    /// The task of the embedded database, if it is used.
    pub(super) database: Option<JoinHandle<Result<(), String>>>,
    /// Held until the service has stopped.
    pub(super) _folder: Option<Folder>,
}

impl Running {
    /// Stops the service: the work in progress is finished first, the database stops last.
    ///
    /// # Errors
    /// A part took too long to finish, or had failed before.
    pub async fn stop(self) -> Result<(), String> {
        self.stops.work.cancel();
        let scheduler = match self.tasks.scheduler {
            Some(scheduler) => finish("a sweep", scheduler).await,
            None => Ok(()),
        };
        let events = match self.tasks.events {
            Some(events) => finish("the publishing of events", events).await,
            None => Ok(()),
        };
        let deliveries = match self.tasks.deliveries {
            Some(deliveries) => finish("the delivery of events", deliveries).await,
            None => Ok(()),
        };
        // The API stops after the events are published, because the bus is reached through it.
        self.stops.api.cancel();
        let api = finish("the API", self.tasks.api).await;
        self.stops.database.cancel();
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

/// The addresses of a running service, and the demo tenant behind them. Programs read them as one line of JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    /// The URL of the API.
    pub api_url: String,
    /// The URL of the database.
    pub dynamodb_url: String,
    /// The demo tenant's key.
    pub api_key: String,
    /// The demo tenant.
    pub tenant: TenantId,
    /// The demo tenant's subscriptions.
    pub subscription_ids: Vec<SubscriptionId>,
    /// The secret of the webhook that the service was started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
}

/// Tells the parts of the service to stop, one after the other.
#[derive(Clone, Default)]
pub(super) struct Stops {
    /// Sweeps, the publishing of events and their delivery.
    pub(super) work: CancellationToken,
    pub(super) api: CancellationToken,
    pub(super) database: CancellationToken,
}
