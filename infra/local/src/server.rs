//! The ports of this machine: the clients that may use them, and the time that a request may take.
//!
//! Both ports, that of the API and that of the embedded database, are only for users of this machine. A page of another origin
//! that is open in the same browser can't use them. A client that begins a request and does not finish it delays neither other
//! requests nor the stop of the service.

mod origin;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::{Authority, Scheme};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use hyper::server::conn::http1;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::origin::{Origin, origin};

/// Time for a client to send the head of a request. An idle connection is closed after this time, too.
const HEAD: Duration = Duration::from_secs(30);
/// Time for a client to send the body.
const BODY: Duration = Duration::from_secs(30);
/// Largest body that is read, in bytes: more than the gateway accepts, and more than the database accepts.
const LARGEST_BODY: usize = 17 << 20;
/// Time for clients to finish sending their requests after the service is told to stop.
const GRACE: Duration = Duration::from_secs(2);
/// Time for requests in progress to finish after [`GRACE`]: longer than the gateway gives a function.
const LONGEST: Duration = Duration::from_secs(32);

/// Serves these routes until `stop` is cancelled, and then finishes the requests in progress.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let under_way = Arc::new(watch::Sender::new(0_usize));
    let routes = routes
        // Counted after the body is read, so that the stop does not wait for unfinished requests.
        .layer(from_fn_with_state(Arc::clone(&under_way), count))
        .layer(from_fn(read_body))
        .layer(from_fn(only_from_here));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let routes = routes.clone().layer(Extension(ConnectInfo::<SocketAddr>(peer)));
                let connection =
                    http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
                let connection = graceful.watch(connection);
                // An error of one connection affects no other.
                tokio::spawn(async { drop(connection.await) });
            }
            // The client is gone, or there are no more file descriptors. Later connections can be accepted.
            Err(cause) => {
                warn!(%cause, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let mut closed = pin!(graceful.shutdown());
    let mut under_way = under_way.subscribe();
    let nothing_under_way = async {
        sleep(GRACE).await;
        // Fails only if the counter is dropped, and then no request is in progress.
        let _ = timeout(LONGEST, under_way.wait_for(|count| *count == 0)).await;
    };
    tokio::select! {
        () = &mut closed => {}
        () = nothing_under_way => {}
    }
}

/// Counts the requests in progress, from the end of their body to their answer.
async fn count(State(under_way): State<Arc<watch::Sender<usize>>>, request: Request, next: Next) -> Response {
    /// Reduces the count when it is dropped, also if the client disconnects.
    struct Counted(Arc<watch::Sender<usize>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.send_modify(|count| *count -= 1);
        }
    }
    under_way.send_modify(|count| *count += 1);
    let _counted = Counted(under_way);
    next.run(request).await
}

/// Reads the whole body of a request.
async fn read_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match timeout(BODY, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Err(_)) => message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        Err(_) => message(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
    }
}

/// Refuses requests that a browser sends for a page of another origin, or to a foreign name that resolves to this machine (DNS
/// rebinding).
async fn only_from_here(request: Request, next: Next) -> Response {
    match origin(request.headers()) {
        Origin::Here => next.run(request).await,
        Origin::Elsewhere => message(StatusCode::FORBIDDEN, "Forbidden"),
        Origin::Invalid => message(StatusCode::BAD_REQUEST, "Bad Request"),
    }
}

fn message(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"message": text}))).into_response()
}

/// Creates routes that forward to another server of this process, which makes no such checks.
pub fn forward(to: SocketAddr) -> io::Result<Router> {
    let authority = Authority::try_from(to.to_string()).map_err(io::Error::other)?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    Ok(Router::new().fallback(pass_on).with_state((client, authority)))
}

async fn pass_on(
    State((client, authority)): State<(Client<HttpConnector, Body>, Authority)>,
    mut request: Request,
) -> Response {
    let mut uri = request.uri().clone().into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    let Ok(uri) = Uri::from_parts(uri) else {
        return message(StatusCode::BAD_REQUEST, "Bad Request");
    };
    *request.uri_mut() = uri;
    match client.request(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(cause) => {
            warn!(%cause, "the database did not answer");
            message(StatusCode::BAD_GATEWAY, "Bad Gateway")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// Starts a server, and a connection to it on which this was sent.
    async fn begun(said: &str) -> (TcpStream, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let routes = Router::new().route("/", post(|body: String| async { body }));
        let server = tokio::spawn(serve(listener, routes, stop.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(said.as_bytes()).await.unwrap();
        (client, stop, server)
    }

    async fn answer(client: &mut TcpStream) -> String {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    // In paused time, a wait ends at once when there is nothing else to do.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_in_the_middle_of_a_head_is_disconnected() {
        let (mut client, ..) = begun("POST / HTTP/1.1\r\nHost: loc").await;
        assert!(!answer(&mut client).await.contains("200"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_in_the_middle_of_a_body_gets_408() {
        let (mut client, ..) =
            begun("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nbegun").await;
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 408 "));
    }

    #[tokio::test]
    async fn the_server_stops_in_time_although_a_client_has_stalled() {
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
        for said in ["POST / HTTP/1.1\r\nHost: loc", head, &format!("{head}begun")] {
            let (client, stop, server) = begun(said).await;
            let begun = std::time::Instant::now();
            stop.cancel();
            server.await.unwrap();
            assert!(begun.elapsed() < GRACE + GRACE, "{said}");
            drop(client);
        }
    }
}
