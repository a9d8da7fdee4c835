//! Reading a request: each part becomes a type of the domain here, or a problem.

use lambda_http::http::HeaderMap;
use lambda_http::http::header::{CONTENT_TYPE, HeaderName, IF_NONE_MATCH};
use lambda_http::{Request, RequestExt};

use super::event::raw_query;
use super::problem::{MAX_BODY_BYTES, Problem};
use crate::api_key::{NotAdmitted, Token};
use crate::idempotency::{Fingerprint, IdempotencyKey};
use crate::identifiers::SubscriptionName;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const IDEMPOTENCY_KEYS: [HeaderName; 2] =
    [HeaderName::from_static("x-idempotency-key"), HeaderName::from_static("idempotency-key")];

/// The API key in `X-Api-Key`. Its form is right; nothing more is known of it yet.
///
/// # Errors
/// It is absent, or no API key.
pub fn token(request: &Request) -> Result<Token, Problem> {
    let sent = request.headers().get(API_KEY).ok_or(NotAdmitted::KeyMissing)?;
    let token = sent.to_str().ok().and_then(|text| text.parse().ok());
    token.ok_or(Problem::ApiKeyInvalid)
}

/// The subscription that the path names.
///
/// # Errors
/// It is no UUID, and no reference id behind `rid_`.
pub fn subscription_name(request: &Request) -> Result<SubscriptionName, Problem> {
    let parameters = request.path_parameters_ref();
    let name = parameters.and_then(|parameters| parameters.first("subscriptionId"));
    name.and_then(|name| name.parse().ok()).ok_or(Problem::InvalidSubscriptionId)
}

/// The idempotency key in `X-Idempotency-Key` or `Idempotency-Key`, if there is one.
///
/// # Errors
/// It is no idempotency key, or the two headers differ.
pub fn idempotency_key(request: &Request) -> Result<Option<IdempotencyKey>, Problem> {
    let mut sent = IDEMPOTENCY_KEYS.into_iter().flat_map(|name| request.headers().get_all(name));
    let Some(first) = sent.next() else {
        return Ok(None);
    };
    if sent.any(|other| other != first) {
        return Err(Problem::IdempotencyKeyInvalid);
    }
    let key = first.to_str().ok().and_then(|text| text.parse().ok());
    key.map(Some).ok_or(Problem::IdempotencyKeyInvalid)
}

/// What makes this request the same as another.
#[must_use]
pub fn fingerprint(request: &Request) -> Fingerprint {
    Fingerprint::of([
        request.method().as_str().as_bytes(),
        request.raw_http_path().as_bytes(),
        raw_query(request).as_bytes(),
        request.headers().get(CONTENT_TYPE).map_or(b"", |value| value.as_bytes()),
        request.body(),
    ])
}

/// The body of a request that must be JSON.
///
/// # Errors
/// It is declared as something else, or too large.
pub fn json_body(request: &Request) -> Result<&[u8], Problem> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.and_then(|text| text.parse::<mime::Mime>().ok());
    let is_json = content_type.is_some_and(|kind| {
        let charset = kind.get_param(mime::CHARSET);
        kind.essence_str() == mime::APPLICATION_JSON.essence_str()
            && charset.is_none_or(|set| set == mime::UTF_8)
    });
    if !is_json {
        return Err(Problem::UnsupportedMediaType);
    }
    let body: &[u8] = request.body();
    if body.len() > MAX_BODY_BYTES { Err(Problem::PayloadTooLarge) } else { Ok(body) }
}

/// Whether the caller has the version of a document that `etag` names (RFC 9110, section 13.1.2).
#[must_use]
pub fn has_version(headers: &HeaderMap, etag: &str) -> bool {
    let sent = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = sent.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
