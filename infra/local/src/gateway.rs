//! API Gateway for an HTTP API: routes a request to a function, as an event of payload format 2.0, and turns the function's answer
//! into a response.
//!
//! The event goes through JSON, as on AWS, and reaches the function as it does in Lambda. So a handler can't tell the difference,
//! and the tested code is the deployed code. Like API Gateway, this joins headers of one name with commas, moves cookies into a
//! separate list, and encodes a body in base64 unless its content type is text.

mod event;
mod response;
mod route;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::{Extension, Router};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::{Context, LambdaEvent};
use serde_json::{Value, json};
use service::Service;
use service::http::event::answer;
use tracing::error;
use url::Url;
use uuid::Uuid;

use self::event::{event, header};
use self::response::respond;
use self::route::{Function, find_route};
pub use self::route::{decode_path, route_keys};

/// API Gateway's limit for a request's body.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// API Gateway's limit for the answer of a function.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The functions that answer HTTP requests, each with its own service, as in Lambda.
pub struct Functions {
    /// The service of `get-subscription`.
    pub get_subscription: Service,
    /// The service of `cancel-subscription`.
    pub cancel_subscription: Service,
}

/// Creates the routes of the API. They answer every path that no other route of the server has.
pub fn routes(functions: Functions) -> Router {
    Router::new().fallback(integrate).layer(from_fn(identify)).with_state(Arc::new(functions))
}

/// The id that the gateway gives to a request.
#[derive(Clone)]
struct RequestId(String);

/// Gives a request an id, and its answer a header with this id, even if no function is called.
async fn identify(mut request: Request, next: Next) -> Response {
    let id = Uuid::new_v4().to_string();
    let header = HeaderValue::try_from(id.as_str());
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    response.headers_mut().extend(header.ok().map(|id| (HeaderName::from_static("apigw-requestid"), id)));
    response
}

async fn integrate(
    State(functions): State<Arc<Functions>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let Some(path) = decode_path(request.uri().path()) else {
        return message(StatusCode::BAD_REQUEST, "Bad Request");
    };
    let Some(matched) = find_route(request.method(), path) else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    // RFC 9112, section 3.2. API Gateway finds an API by its host, so no function sees a malformed one.
    let host = header(&parts.headers, &HOST);
    if host
        .is_some_and(|host| Url::parse(&format!("http://{host}/")).is_err() || host.contains(['/', '?', '#']))
    {
        return message(StatusCode::BAD_REQUEST, "Bad Request");
    }
    let now = functions.get_subscription.clock.now();
    let event = event(&request_id, &matched, &parts, peer, &body, now);
    // In a separate task, so that neither a panic nor a caller that disconnects can interrupt an invocation.
    let invocation = tokio::spawn(invoke(functions, matched.function, event));
    match tokio::time::timeout(INTEGRATION_TIMEOUT, invocation).await {
        Ok(Ok(Ok(returned))) => respond(returned),
        Ok(Ok(Err(cause))) => internal_server_error(&cause),
        Ok(Err(cause)) => internal_server_error(&cause),
        Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

/// Invokes a function with an event, as the Lambda service would.
async fn invoke(functions: Arc<Functions>, function: Function, event: Value) -> serde_json::Result<Value> {
    let event: ApiGatewayV2httpRequest = serde_json::from_str(&event.to_string())?;
    let mut context = Context::default();
    context.request_id = Uuid::new_v4().to_string();

    let handle = async |request| match function {
        Function::GetSubscription => get_subscription::handle(&functions.get_subscription, request).await,
        Function::CancelSubscription => {
            cancel_subscription::handle(&functions.cancel_subscription, request).await
        }
    };
    let Ok(returned) = answer(LambdaEvent::new(event, context), handle).await;
    serde_json::to_value(returned)
}

fn internal_server_error(cause: &dyn Display) -> Response {
    error!(%cause, "an invocation failed");
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// Creates an answer that comes from API Gateway, not from a function.
fn message(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(json!({"message": text}).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
