//! Opens the database that the service uses: starts the embedded one, or uses another, and creates missing tables.

use std::io;
use std::net::Ipv4Addr;

use service::endpoint::Endpoint;
use store::{Admin, StoreError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ports::{listen, url_of};
use super::{Options, StartError};
use crate::database::{self, Folder};
use crate::server;

/// A database whose tables exist.
pub(super) struct OpenDatabase {
    pub(super) endpoint: Endpoint,
    pub(super) url: String,
    pub(super) store: Admin,
    /// The task that serves the embedded database, if it is used.
    pub(super) embedded: Option<JoinHandle<Result<(), String>>>,
}

impl OpenDatabase {
    /// Opens the database that the options name, and creates its missing tables. The embedded one runs until `stop` is cancelled.
    pub(super) async fn open(
        options: &Options,
        folder: Option<&Folder>,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let (endpoint, embedded) = match &options.dynamodb_endpoint {
            Some(url) => (Endpoint::at(url.clone()), None),
            None => {
                let listener = listen(options.dynamodb_port, "dynamodb-port").await?;
                let url = url_of(&listener)?;
                let embedded = start_embedded(listener, folder, stop.clone()).await?;
                (Endpoint::local(url), Some(embedded))
            }
        };
        let store = Admin::new(&endpoint.sdk_config(), options.tables.clone());
        let url = endpoint.url.clone().unwrap_or_default();
        let database = Self { endpoint, url, store, embedded };
        let created = database.store.create_tables().await;
        created.map_err(|source| database.unusable(source))?;
        Ok(database)
    }

    /// Returns the error of a start that fails because of this database.
    pub(super) fn unusable(&self, source: StoreError) -> StartError {
        let place = match self.endpoint.proxy() {
            Some(proxy) => format!("{}, through the proxy {proxy}", self.url),
            None => self.url.clone(),
        };
        StartError::Store { place, source }
    }
}

/// Serves the embedded database on this port, which forwards to another port, the database's own.
///
/// The database's own port checks no origins. So its address is a random one of this machine, if the system has several: no page
/// can guess it.
async fn start_embedded(
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
