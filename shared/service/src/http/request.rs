//! Reading a request: each part becomes a type of the domain, or a problem.

use std::collections::BTreeSet;

use domain::api_key::{NotAdmitted, Token};
use domain::calendar::Calendar;
use domain::cancel_request::InvalidBody;
use domain::cancellation::CancelRequest;
use domain::identifiers::SubscriptionName;
use idempotency::{Fingerprint, Key};
use lambda_http::http::HeaderMap;
use lambda_http::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use lambda_http::{Request, RequestExt};

use super::event::raw_query;
use super::problem::{MAX_BODY_BYTES, Problem, Unsupported};
use super::response::request_id;
use crate::cancel::Call;
use crate::telemetry::{log_caller, log_name};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("x-idempotency-key");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request to change a subscription, as far as it can be read before the caller is authenticated.
///
/// # Errors
/// It has no API key.
pub fn call(request: &Request) -> Result<Call<'_>, Problem> {
    let token = token(request)?;
    log_caller(&token);
    let name = subscription_name(request);
    log_name(name.as_ref().ok());
    Ok(Call {
        token,
        name,
        key: idempotency_key(request),
        fingerprint: fingerprint(request),
        request_id: request_id(request),
        parameters: no_parameters(request),
        precondition: precondition(request),
    })
}

/// The body of a request to cancel, in the tenant's calendar.
///
/// # Errors
/// It is none.
pub fn cancel_request(request: &Request, calendar: &Calendar) -> Result<CancelRequest, Problem> {
    let body = CancelRequest::from_json(json_body(request)?, calendar);
    body.map_err(|invalid| invalid_body(request, invalid))
}

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

/// The idempotency key in `X-Idempotency-Key` or `Idempotency-Key`, if there is one. Sent twice, it is one key.
///
/// # Errors
/// It is no idempotency key, or there are two different ones.
pub fn idempotency_key(request: &Request) -> Result<Option<Key>, Problem> {
    let plain = values(request.headers(), X_IDEMPOTENCY_KEY).map(|key| Ok(key.to_owned()));
    let structured = values(request.headers(), IDEMPOTENCY_KEY).map(structured_string);
    let mut keys = plain.chain(structured).collect::<Result<BTreeSet<_>, _>>()?;
    match (keys.pop_first(), keys.is_empty()) {
        (None, _) => Ok(None),
        (Some(key), true) => key.parse().map(Some).map_err(|_| Problem::IdempotencyKeyInvalid),
        (Some(_), false) => Err(Problem::IdempotencyKeyInvalid),
    }
}

/// The values of a header. API Gateway joins those that are sent apart with commas, so a value can have none itself. One that
/// is not ASCII is no value of any header here, and empty.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let sent = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default());
    sent.flat_map(|values| values.split(',')).map(str::trim_ascii)
}

/// The key that a value is, as it stands or as a string of a structured field (RFC 9651, section 3.3.3), as the draft of the
/// IETF on this header has it.
fn structured_string(value: &str) -> Result<String, Problem> {
    let Some(rest) = value.strip_prefix('"') else {
        return Ok(value.to_owned());
    };
    let mut key = String::new();
    let mut characters = rest.chars();
    loop {
        match (characters.next(), characters.as_str()) {
            (Some('"'), "") => return Ok(key),
            (Some('\\'), rest) if rest.starts_with(['"', '\\']) => key.extend(characters.next()),
            (Some('"' | '\\') | None, _) => return Err(Problem::IdempotencyKeyInvalid),
            (Some(character), _) => key.push(character),
        }
    }
}

/// Refuses a query: an operation that changes something knows all that it is asked for, or does nothing.
///
/// # Errors
/// The request has one.
pub fn no_parameters(request: &Request) -> Result<(), Problem> {
    const MOST_NAMES: usize = 5;
    const LONGEST_NAME: usize = 64;
    let names = form_urlencoded::parse(raw_query(request).as_bytes());
    let names: BTreeSet<String> = names.map(|(name, _)| name.chars().take(LONGEST_NAME).collect()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Problem::UnknownParameter(names.into_iter().take(MOST_NAMES).collect()))
}

/// Which states of a subscription a request is to change (RFC 9110, section 13.1.1).
pub struct Precondition(Option<Vec<String>>);

/// The precondition in `If-Match`; without one, every state is as good.
#[must_use]
pub fn precondition(request: &Request) -> Precondition {
    let mut tags = values(request.headers(), IF_MATCH).map(str::to_owned).peekable();
    Precondition(tags.peek().is_some().then_some(()).map(|()| tags.collect()))
}

impl Precondition {
    /// Whether it holds for the state that this entity tag names. The comparison is strong: a weak tag names none.
    #[must_use]
    pub fn holds(&self, etag: &str) -> bool {
        self.0.as_ref().is_none_or(|tags| tags.iter().any(|tag| tag == "*" || tag == etag))
    }
}

/// What makes this request the same as another.
#[must_use]
pub fn fingerprint(request: &Request) -> Fingerprint {
    let content_type = request.headers().get(CONTENT_TYPE);
    let parts: [&[u8]; 5] = [
        request.method().as_str().as_bytes(),
        request.raw_http_path().as_bytes(),
        raw_query(request).as_bytes(),
        // Of nothing it says nothing, though some clients always send it.
        content_type.filter(|_| !request.body().is_empty()).map_or(b"", |value| value.as_bytes()),
        request.body(),
    ];
    Fingerprint::of(parts)
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
        return Err(Problem::UnsupportedMediaType(Unsupported::Type));
    }
    let body: &[u8] = request.body();
    if body.len() > MAX_BODY_BYTES { Err(Problem::PayloadTooLarge) } else { Ok(body) }
}

/// Why a body is none that could be read: if it is not JSON and said to be compressed, it is that.
#[must_use]
pub fn invalid_body(request: &Request, invalid: InvalidBody) -> Problem {
    let mut encodings = values(request.headers(), CONTENT_ENCODING);
    let is_encoded = encodings.any(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    match invalid {
        InvalidBody::Malformed(_) if is_encoded => Problem::UnsupportedMediaType(Unsupported::Encoding),
        invalid => invalid.into(),
    }
}

/// Whether the caller has the version of a document that `etag` names (RFC 9110, section 13.1.2).
#[must_use]
pub fn has_version(headers: &HeaderMap, etag: &str) -> bool {
    let sent = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = sent.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
