//! Ports of the loopback interface, and their URLs.

use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use super::StartError;

/// Listens on a port; `flag` is the option that chooses another one.
pub(super) async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, StartError> {
    let taken = |source| StartError::Port { port, flag, source };
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(taken)
}

/// Returns the URL of a port.
pub(super) fn url_of(listener: &TcpListener) -> Result<String, StartError> {
    let address = listener.local_addr().map_err(|error| StartError::Database(error.to_string()))?;
    Ok(format!("http://{address}"))
}
