//! Responses: the answers of functions, as the caller gets them.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::internal_server_error;

/// The answer of a function.
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

/// Converts the answer of a function into a response; 500 if the answer is malformed.
pub(super) fn respond(returned: Value) -> Response {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
