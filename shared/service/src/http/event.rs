//! A Lambda event as a request for a handler, and the handler's answer in the form that API Gateway expects.
//!
//! The conversion is total: for every event that a caller can cause, the handler is called, and nothing panics. `lambda_http` by
//! itself would panic: it builds a URI from host, stage, path and query, decodes the body, and unwraps both results. A release
//! build aborts at the first panic, so any caller could end the process.
//!
//! Therefore the parts that a caller controls stay out of that URI. They are taken from the event before the conversion, and put
//! into the request after it, as they were sent: the path for [`RequestExt::raw_http_path`], the query for [`raw_query`], and the
//! body decoded. The URI of a request has no meaning, and its `Host` is removed.

use std::convert::Infallible;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_http::http::header::HOST;
use lambda_http::request::LambdaRequest;
use lambda_http::{Body, Error, LambdaEvent, Request, RequestExt, Response, lambda_runtime, service_fn};

/// Runs a function of the API: asks Lambda for one event after another, and answers each.
///
/// # Errors
/// Lambda can't be reached.
pub async fn run<F>(handle: impl Fn(Request) -> F) -> Result<(), Error>
where
    F: Future<Output = Response<Body>> + Send,
{
    lambda_runtime::run(service_fn(|event| answer(event, &handle))).await
}

/// Answers one event.
///
/// # Errors
/// None: an event that can be read has an answer.
pub async fn answer<F>(
    event: LambdaEvent<ApiGatewayV2httpRequest>,
    handle: impl Fn(Request) -> F,
) -> Result<ApiGatewayV2httpResponse, Infallible>
where
    F: Future<Output = Response<Body>> + Send,
{
    let LambdaEvent { mut payload, context } = event;
    let sent = Sent::take(&mut payload);
    let request = sent.put(LambdaRequest::ApiGatewayV2(payload).into()).with_lambda_context(context);
    let (parts, body) = handle(request).await.into_parts();
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = parts.status.as_u16().into();
    answer.headers = parts.headers;
    answer.is_base64_encoded = matches!(body, Body::Binary(_));
    answer.body = Some(body).filter(|body| !body.is_empty());
    Ok(answer)
}

/// Returns the query of a request as it was sent, without its `?`; empty if there is none.
#[must_use]
pub fn raw_query(request: &Request) -> &str {
    request.extensions().get::<RawQuery>().map_or("", |RawQuery(query)| query)
}

#[derive(Clone)]
struct RawQuery(String);

/// The parts of an event that make the conversion panic if they are malformed.
#[derive(Default)]
struct Sent {
    path: String,
    query: String,
    body: Body,
}

impl Sent {
    /// Takes the parts out of an event. Removes everything else from which the conversion would build a URI.
    fn take(event: &mut ApiGatewayV2httpRequest) -> Self {
        event.headers.remove(HOST);
        event.request_context.domain_name = None;
        event.request_context.stage = None;
        Self {
            path: event.raw_path.take().unwrap_or_default(),
            query: event.raw_query_string.take().unwrap_or_default(),
            body: event.body.take().map_or(Body::Empty, |body| decode(body, event.is_base64_encoded)),
        }
    }

    /// Puts the parts into the request that the event has become.
    fn put(self, request: Request) -> Request {
        let mut request = request.with_raw_http_path(self.path);
        request.extensions_mut().insert(RawQuery(self.query));
        *request.body_mut() = self.body;
        request
    }
}

/// Decodes the body of an event. Invalid base64 becomes an empty body, which is not JSON either. Taken as text, it could be a body
/// that nobody sent.
fn decode(body: String, is_base64_encoded: bool) -> Body {
    if is_base64_encoded {
        BASE64_STANDARD.decode(body).map_or(Body::Empty, Body::Binary)
    } else {
        Body::Text(body)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lambda_http::Context;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn event() -> Value {
        serde_json::from_str(include_str!("../../../../tests/data/events/cancel-subscription/ok.json"))
            .unwrap()
    }

    /// Returns the parts of an event as a handler sees them.
    async fn seen(event: &Value) -> Value {
        let event = LambdaEvent::new(serde_json::from_str(&event.to_string()).unwrap(), context());
        let show = |request: Request| async move {
            let headers = request.headers().iter();
            let headers: BTreeMap<_, _> =
                headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            let seen = json!({
                "method": request.method().as_str(),
                "path": request.raw_http_path(),
                "query": raw_query(&request),
                "headers": headers,
                "subscriptionId": request.path_parameters().first("subscriptionId"),
                "body": str::from_utf8(request.body()).unwrap(),
                "requestId": request.lambda_context().request_id,
            });
            Response::new(Body::from(seen.to_string()))
        };
        let Ok(answer) = answer(event, show).await;
        let answer = serde_json::to_value(answer).unwrap();
        serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
    }

    fn context() -> Context {
        let mut context = Context::default();
        context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
        context.xray_trace_id = Some("Root=1-697e8c1a-6a81892567b9b1aabf4f9700".to_owned());
        context
    }

    #[tokio::test]
    async fn an_event_reaches_the_handler_as_it_was_sent() {
        let mut event = event();
        event["rawQueryString"] = json!("a=1&b=%C3%BC+x&a=2");
        event["cookies"] = json!(["c=1", "d=2"]);
        let mut headers = event["headers"].clone();
        headers.as_object_mut().unwrap().remove("host");
        headers["cookie"] = json!("c=1; d=2");
        assert_eq!(
            seen(&event).await,
            json!({
                "method": "POST",
                "path": event["rawPath"],
                "query": "a=1&b=%C3%BC+x&a=2",
                "headers": headers,
                "subscriptionId": "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0001",
                "body": event["body"],
                "requestId": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            })
        );
    }

    #[tokio::test]
    async fn a_query_that_a_uri_cannot_hold_is_read_as_it_was_sent() {
        for query in ["<", "a=\"b\"", "{}", "ü", "a#b", "\0", "a b", "%", "?", &"q".repeat(70_000)] {
            let mut event = event();
            event["rawQueryString"] = json!(query);
            assert_eq!(seen(&event).await["query"], query);
        }
    }

    #[tokio::test]
    async fn a_path_that_a_uri_cannot_hold_is_read_as_it_was_sent() {
        for path in ["", "x", ":99999", "@[", "//", "/a?b#c", "/a\\b", "/\0", "/\n", &"/p".repeat(35_000)] {
            for stage in ["$default", "v1"] {
                let mut event = event();
                event["rawPath"] = json!(path);
                event["requestContext"]["stage"] = json!(stage);
                assert_eq!(seen(&event).await["path"], path);
            }
        }
    }

    #[tokio::test]
    async fn an_invalid_host_or_scheme_is_ignored() {
        for host in ["", "a b", "[::1", "%zz", "256.256.256.256", "a:99999", "a/b?c#d", "@"] {
            for scheme in ["https", "", ":", "1", "a b"] {
                let mut event = event();
                event["headers"]["x-forwarded-proto"] = json!(scheme);
                event["headers"]["host"] = json!(host);
                assert_eq!(seen(&event).await["path"], event["rawPath"]);

                event["requestContext"]["domainName"] = json!(host);
                event["headers"].as_object_mut().unwrap().remove("host");
                assert_eq!(seen(&event).await["path"], event["rawPath"]);
            }
        }
    }

    #[tokio::test]
    async fn a_body_with_invalid_base64_is_read_as_empty() {
        let mut event = event();
        event["isBase64Encoded"] = json!(true);
        for (sent, read) in [("e30=", "{}"), ("", ""), ("e30", ""), ("{}", ""), ("e3 0=", ""), ("ü", "")] {
            event["body"] = json!(sent);
            assert_eq!(seen(&event).await["body"], read, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_in_an_event_does_not_cause_a_panic(
            [path, query, stage, domain, body] in any::<[String; 5]>(),
            [host, scheme] in ["[ -~ü]*", "[ -~ü]*"],
            is_base64_encoded: bool,
        ) {
            let mut event = event();
            event["rawPath"] = json!(path);
            event["rawQueryString"] = json!(query);
            event["headers"] = json!({"host": host, "x-forwarded-proto": scheme});
            event["requestContext"]["stage"] = json!(stage);
            event["requestContext"]["domainName"] = json!(domain);
            event["body"] = json!(body);
            event["isBase64Encoded"] = json!(is_base64_encoded);
            let event = LambdaEvent::new(serde_json::from_str(&event.to_string()).unwrap(), context());
            let handle = |_| async { Response::new(Body::Empty) };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let Ok(_) = runtime.block_on(answer(event, handle));
        }
    }
}
