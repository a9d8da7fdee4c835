//! The ports of this machine: who may speak to them, and the time that a request may take.
//!
//! Both ports, of the API and of the embedded database, are for whoever sits at the machine. A page of another origin that is
//! open in the same browser can't use them. A client that begins a request and does not go on holds up nothing, nor does
//! it keep the service from stopping.

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

/// How long a client may take to say the head of a request; an idle connection is closed after that.
const HEAD: Duration = Duration::from_secs(30);
/// How long it may take to say the body.
const BODY: Duration = Duration::from_secs(30);
/// The largest body that is read: more than the gateway takes, and than the database does.
const LARGEST_BODY: usize = 17 << 20;
/// How long clients have to go on, once the service stops, if nothing of theirs is under way.
const GRACE: Duration = Duration::from_secs(2);
/// How long what is under way has to finish then: longer than the gateway gives a function.
const LONGEST: Duration = Duration::from_secs(32);

/// Serves these routes until `stop` is cancelled, and then finishes what is under way.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let under_way = Arc::new(watch::Sender::new(0_usize));
    let routes = routes
        // Who has not said all of a request yet is not waited for.
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
                // What a client breaks off concerns nobody else.
                tokio::spawn(async { drop(connection.await) });
            }
            // A connection that is gone again, or no more file descriptors: others will be accepted.
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
        // It fails if there is nobody left to count.
        let _ = timeout(LONGEST, under_way.wait_for(|count| *count == 0)).await;
    };
    tokio::select! {
        () = &mut closed => {}
        () = nothing_under_way => {}
    }
}

/// Counts the requests that are under way, from the end of their body to their answer.
async fn count(State(under_way): State<Arc<watch::Sender<usize>>>, request: Request, next: Next) -> Response {
    /// Counts one less when it is dropped, also if the client hangs up.
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

/// Reads the body of a request, whole.
async fn read_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match timeout(BODY, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Err(_)) => message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        Err(_) => message(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
    }
}

/// Refuses what a browser sends for a page of another origin, and what it sends to a name that someone has
/// made to mean this machine (DNS rebinding).
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

/// Routes that lead to another server of this process, which checks nothing of all this itself.
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

    /// A server, and a connection to it on which this was said.
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

    // While everything waits, time passes at once.
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
