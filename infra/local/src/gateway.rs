//! What API Gateway does for an HTTP API: routes a request to a function, as an event of payload format
//! 2.0, and turns what the function returns into a response.
//!
//! The event goes through JSON, as on AWS, and into the function the way it does in Lambda. So a handler
//! can't tell the difference, and what is tested here is what is deployed. As API Gateway does, this
//! joins headers of one name with commas, moves cookies into a list of their own, and encodes a body in
//! base64 unless its content type is text.
//!
//! **The path** is decoded before a route is looked for, by one rule ([`decode_path`]): decode it, cut it at its first `?`,
//! decode it once more; a `%` that encodes nothing at either decoding gets 400. The rule explains everything that an HTTP API was
//! captured to make of a value in a path:
//!
//! | sent | handed over |
//! |---|---|
//! | `space%20value` | `space value` |
//! | `hash%23value` | `hash#value` |
//! | `slash%2Fvalue` | `slash/value` |
//! | `question%3Fvalue` | `question` |
//! | `percent%25done` | 400 |
//! | `literal%252Fvalue` | `literal/value` |
//! | `literal%253Fvalue` | `literal?value` |
//! | `literal%2525value` | `literal%value` |
//!
//! Captured as well: letters beyond ASCII survive, and the query arrives as it was sent. Inferred from the rule, and not
//! captured: a broken escape in the path as it was sent gets 400 too; a slash that appears at either decoding counts for the
//! route; what is cut off is not looked at; bytes that are not UTF-8 become U+FFFD.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::{Extension, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::{Context, LambdaEvent};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use service::Service;
use service::http::event::answer;
use tracing::error;
use url::Url;
use uuid::Uuid;

/// The functions that HTTP requests lead to, each on a service of its own, as in Lambda.
pub struct Functions {
    /// What `get-subscription` runs on.
    pub get_subscription: Service,
    /// What `cancel-subscription` runs on.
    pub cancel_subscription: Service,
}

#[derive(Clone, Copy, Debug)]
enum Function {
    GetSubscription,
    CancelSubscription,
}

/// Which function answers which route.
const ROUTES: [(Method, &str, Function); 3] = [
    (Method::GET, "/subscriptions/{subscriptionId}", Function::GetSubscription),
    (Method::POST, "/subscriptions/{subscriptionId}/cancel", Function::CancelSubscription),
    (Method::DELETE, "/subscriptions/{subscriptionId}/cancel", Function::CancelSubscription),
];

/// The routes as API Gateway names them.
pub fn route_keys() -> impl Iterator<Item = String> {
    ROUTES.iter().map(|(method, path, _)| format!("{method} {path}"))
}

/// API Gateway's limit for a request's body.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// API Gateway's limit for the answer of a function.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The API. It answers every path that no other route of the server has.
pub fn routes(functions: Functions) -> Router {
    Router::new().fallback(integrate).layer(from_fn(identify)).with_state(Arc::new(functions))
}

/// A path as routes are matched with it and functions get it. `None` if an escape in it encodes nothing.
#[must_use]
pub fn decode_path(sent: &str) -> Option<String> {
    let decode = |path: &str| -> Option<String> {
        let encodes = |after: &str| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
        let is_valid = path.split('%').skip(1).all(encodes);
        is_valid.then(|| percent_decode_str(path).decode_utf8_lossy().into_owned())
    };
    let once = decode(sent)?;
    decode(once.split_once('?').map_or(once.as_str(), |(path, _)| path))
}

/// The route of a request.
struct Matched {
    key: String,
    function: Function,
    path: String,
    parameters: BTreeMap<String, String>,
}

/// The route that a path has for a method. An HTTP API knows routes, and so no method that a path does not have.
fn find_route(method: &Method, path: String) -> Option<Matched> {
    let mut routes = ROUTES.iter().filter(|(known, ..)| known == method);
    let (template, function, parameters) = routes
        .find_map(|(_, template, function)| Some((template, *function, path_parameters(template, &path)?)))?;
    Some(Matched { key: format!("{method} {template}"), function, path, parameters })
}

/// The values of a path where a template has `{name}`. `None` if the path does not fit the template.
fn path_parameters(template: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (names, values) = (template.split('/'), path.split('/'));
    if names.clone().count() != values.clone().count() {
        return None;
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in names.zip(values) {
        match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !value.is_empty() => parameters.insert(name.to_owned(), value.to_owned()),
            None if name == value => None,
            _ => return None,
        };
    }
    Some(parameters)
}

/// The gateway's own id of a request.
#[derive(Clone)]
struct RequestId(String);

/// Every answer has the gateway's id of its request, whether a function was called or not.
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
    // RFC 9112, section 3.2. API Gateway finds an API by its host, so no function sees one that is none.
    let host = header(&parts.headers, &HOST);
    if host
        .is_some_and(|host| Url::parse(&format!("http://{host}/")).is_err() || host.contains(['/', '?', '#']))
    {
        return message(StatusCode::BAD_REQUEST, "Bad Request");
    }
    let now = functions.get_subscription.clock.now();
    let event = event(&request_id, &matched, &parts, peer, &body, now);
    // In a task of its own: neither a panic nor a caller that hangs up may cut an invocation short.
    let invocation = tokio::spawn(invoke(functions, matched.function, event));
    match tokio::time::timeout(INTEGRATION_TIMEOUT, invocation).await {
        Ok(Ok(Ok(returned))) => respond(returned),
        Ok(Ok(Err(cause))) => internal_server_error(&cause),
        Ok(Err(cause)) => internal_server_error(&cause),
        Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

/// A request as an event of payload format 2.0.
fn event(
    request_id: &str,
    matched: &Matched,
    request: &Parts,
    peer: SocketAddr,
    body: &[u8],
    now: DateTime<Utc>,
) -> Value {
    let Matched { key, path, parameters, .. } = matched;
    let query = request.uri.query().unwrap_or_default();
    let host = header(&request.headers, &HOST).unwrap_or_else(|| "localhost".to_owned());
    let (body, is_base64_encoded) = encode(&request.headers, body);

    let mut headers: BTreeMap<_, _> = request
        .headers
        .keys()
        .filter(|name| *name != COOKIE)
        .filter_map(|name| Some((name.as_str(), header(&request.headers, name)?)))
        .collect();
    headers.insert("x-forwarded-for", peer.ip().to_string());
    headers.insert("x-forwarded-port", host.rsplit_once(':').map_or("80", |(_, port)| port).to_owned());
    headers.insert("x-forwarded-proto", "http".to_owned());

    let mut event = json!({
        "version": "2.0",
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "pathParameters": parameters,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.split(['.', ':']).next(),
            "http": {
                "method": request.method.as_str(),
                "path": path,
                "protocol": format!("{:?}", request.version),
                "sourceIp": peer.ip(),
                "userAgent": header(&request.headers, &USER_AGENT),
            },
            "requestId": request_id,
            "routeKey": key,
            "stage": "$default",
            "time": now.format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.timestamp_millis(),
        },
        "body": body,
        "isBase64Encoded": is_base64_encoded,
    });
    // Those that may be absent.
    if let Value::Object(members) = &mut event {
        if let Some(cookies) = header(&request.headers, &COOKIE) {
            members.insert("cookies".to_owned(), cookies.split(';').map(str::trim).collect());
        }
        let parameters = query_parameters(query);
        if !parameters.is_empty() {
            members.insert("queryStringParameters".to_owned(), json!(parameters));
        }
    }
    event
}

/// All values of a header as one, as they are joined in an event.
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let separator = if *name == COOKIE { ";" } else { "," };
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(separator))
}

/// The parameters of a query, decoded; several values of one name are joined with commas.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut parameters = BTreeMap::<String, String>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters
            .entry(decode(name))
            .and_modify(|values| {
                values.push(',');
                values.push_str(&decode(value));
            })
            .or_insert_with(|| decode(value));
    }
    parameters
}

/// The body of an event: text where the content type says so, base64 otherwise; none if it is empty.
fn encode(headers: &HeaderMap, body: &[u8]) -> (Option<String>, bool) {
    let content_type = header(headers, &CONTENT_TYPE).unwrap_or_default();
    let is_text = content_type.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"]
            .iter()
            .any(|text| content_type.starts_with(text));
    match str::from_utf8(body) {
        Ok("") => (None, false),
        Ok(text) if is_text => (Some(text.to_owned()), false),
        _ => (Some(BASE64_STANDARD.encode(body)), true),
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

/// What a function returns.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Returned {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    cookies: Vec<String>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// What a function returned as a response.
fn respond(returned: Value) -> Response {
    fn read(returned: Value) -> Option<Response> {
        let returned: Returned = serde_json::from_value(returned).ok()?;
        let body = returned.body.unwrap_or_default();
        let body =
            if returned.is_base64_encoded { BASE64_STANDARD.decode(body).ok()? } else { body.into_bytes() };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(returned.status_code).ok()?;
        for (name, value) in returned.headers {
            response
                .headers_mut()
                .insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
        }
        for cookie in returned.cookies {
            response.headers_mut().append(SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
        }
        Some(response)
    }
    read(returned).unwrap_or_else(|| internal_server_error(&"the function returned no response"))
}

fn internal_server_error(cause: &dyn Display) -> Response {
    error!(%cause, "an invocation failed");
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// An answer of API Gateway's own.
fn message(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(json!({"message": text}).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_members_that_api_gateway_sets() {
        let request = Request::post("/subscriptions/rid_a%20b/cancel?x=1&y=%C3%BC+z&x=2&flag")
            .header("Host", "localhost:3000")
            .header("Cookie", "a=1; b=2")
            .header("Cookie", "c=3")
            .header("X-Twice", "one")
            .header("X-Twice", "two")
            .header("Content-Type", "application/json")
            .header("User-Agent", "test")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let matched = find_route(&parts.method, decode_path(parts.uri.path()).unwrap()).unwrap();
        let now = "2026-02-03T04:05:06Z".parse().unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
        let event = event("id", &matched, &parts, peer, b"{}", now);

        assert_eq!(event["version"], "2.0");
        assert_eq!(event["routeKey"], "POST /subscriptions/{subscriptionId}/cancel");
        assert_eq!(event["rawPath"], "/subscriptions/rid_a b/cancel", "decoded, as HTTP APIs do");
        assert_eq!(event["rawQueryString"], "x=1&y=%C3%BC+z&x=2&flag", "as it was sent");
        assert_eq!(event["queryStringParameters"], json!({"x": "1,2", "y": "ü z", "flag": ""}));
        assert_eq!(event["pathParameters"], json!({"subscriptionId": "rid_a b"}));
        assert_eq!(event["cookies"], json!(["a=1", "b=2", "c=3"]));
        assert_eq!(event["headers"].get("cookie"), None);
        assert_eq!(event["headers"]["x-twice"], "one,two");
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{}"), &json!(false)));
        let context = &event["requestContext"];
        assert_eq!(context["requestId"], "id");
        assert_eq!(context["stage"], "$default");
        assert_eq!(context["time"], "03/Feb/2026:04:05:06 +0000");
        assert_eq!(context["timeEpoch"], 1_770_091_506_000_i64);
        assert_eq!(context["http"]["method"], "POST");
        assert_eq!(context["http"]["protocol"], "HTTP/1.1");
        assert_eq!(context["http"]["sourceIp"], "127.0.0.1");
        assert_eq!(context["http"]["userAgent"], "test");
    }

    #[test]
    fn a_path_is_decoded_as_an_http_api_decodes_it() {
        for (sent, handed_over) in [
            ("/space%20value", Some("/space value")),
            ("/hash%23value", Some("/hash#value")),
            ("/slash%2Fvalue", Some("/slash/value")),
            ("/question%3Fvalue", Some("/question")),
            ("/percent%25done", None),
            ("/literal%252Fvalue", Some("/literal/value")),
            ("/literal%253Fvalue", Some("/literal?value")),
            ("/literal%2525value", Some("/literal%value")),
            ("/unicode%C3%BCvalue", Some("/unicodeüvalue")),
        ] {
            assert_eq!(decode_path(sent).as_deref(), handed_over, "{sent}");
        }
    }

    #[test]
    fn a_path_with_a_broken_escape_is_refused() {
        for sent in ["/%", "/%4", "/%zz", "/a%25", "/a%254", "/a%25zz/b"] {
            assert_eq!(decode_path(sent), None, "{sent}");
        }
        assert_eq!(decode_path("/%ff").as_deref(), Some("/\u{fffd}"));
    }

    #[test]
    fn a_route_matches_a_path_with_the_same_number_of_non_empty_parts() {
        let template = "/subscriptions/{subscriptionId}/cancel";
        let id = |path| Some(path_parameters(template, path)?["subscriptionId"].clone());
        assert_eq!(id("/subscriptions/a b/cancel").as_deref(), Some("a b"));
        for other in ["/subscriptions//cancel", "/subscriptions/a/b/cancel", "/subscriptions/a/cancel/", "/a"]
        {
            assert_eq!(id(other), None, "{other}");
        }
    }

    #[test]
    fn a_binary_body_is_encoded_in_base64() {
        let headers =
            |kind: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        assert_eq!(encode(&headers("text/plain"), b"a"), (Some("a".to_owned()), false));
        assert_eq!(encode(&headers("application/octet-stream"), b"a"), (Some("YQ==".to_owned()), true));
        assert_eq!(encode(&headers("application/json"), b"\xff"), (Some("/w==".to_owned()), true));
        assert_eq!(encode(&HeaderMap::new(), b""), (None, false));
    }

    #[test]
    fn the_return_value_of_a_function_becomes_the_response_and_a_malformed_one_a_500() {
        let returned = json!({
            "statusCode": 201,
            "headers": {"x-a": "1"},
            "cookies": ["a=1", "b=2"],
            "body": "YQ==",
            "isBase64Encoded": true,
        });
        let response = respond(returned);
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["x-a"], "1");
        let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(respond(json!({"statusCode": 200, "headers": {"bad name": "1"}})).status(), 500);
        assert_eq!(respond(json!({"status": 200})).status(), 500);
    }
}
