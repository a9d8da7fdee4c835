//! Events: requests as API Gateway gives them to a function, in payload format 2.0.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::route::Matched;

/// Converts a request into an event of payload format 2.0.
pub(super) fn event(
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
    // These members are absent if they have no value.
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

/// Joins all values of a header into one, as in an event.
pub(super) fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let separator = if *name == COOKIE { ";" } else { "," };
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(separator))
}

/// Decodes the parameters of a query. Several values of one name are joined with commas.
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

/// Encodes the body for an event: as text if the content type is text, otherwise in base64; `None` if the body is empty. Also
/// returns true if the result is base64.
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

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::super::route::{decode_path, find_route};
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
    fn a_binary_body_is_encoded_in_base64() {
        let headers =
            |kind: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        assert_eq!(encode(&headers("text/plain"), b"a"), (Some("a".to_owned()), false));
        assert_eq!(encode(&headers("application/octet-stream"), b"a"), (Some("YQ==".to_owned()), true));
        assert_eq!(encode(&headers("application/json"), b"\xff"), (Some("/w==".to_owned()), true));
        assert_eq!(encode(&HeaderMap::new(), b""), (None, false));
    }
}
