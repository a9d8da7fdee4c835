//! Reading a request: each part becomes a type of the domain, or a problem.

use std::collections::BTreeSet;

use domain::api_key::{NotAdmitted, Token};
use domain::calendar::Calendar;
use domain::cancel_request::InvalidBody;
use domain::cancellation::CancelRequest;
use domain::identifiers::{ReferenceId, SubscriptionId, SubscriptionName};
use domain::origin::Actor;
use domain::search::Search;
use domain::stored::Revision;
use idempotency::{Fingerprint, Key};
use lambda_http::http::HeaderMap;
use lambda_http::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

use super::event::raw_query;
use super::problem::{MAX_BODY_BYTES, Parameter, Problem, Unsupported, etag};
use super::response::request_id;
use crate::cancel::Call;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("x-idempotency-key");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const X_ACTOR: HeaderName = HeaderName::from_static("x-actor");

/// The caller of a request, and the subscription that it names. The caller is not authenticated yet.
pub struct Named {
    /// The API key.
    pub token: Token,
    /// The subscription.
    pub name: Result<SubscriptionName, Problem>,
}

/// Reads who calls, and the subscription that the request names.
///
/// # Errors
/// The API key is missing or malformed.
pub fn named(request: &Request) -> Result<Named, Problem> {
    Ok(Named { token: token(request)?, name: subscription_name(request) })
}

/// Reads a request to change a subscription, as far as possible before the caller is authenticated.
#[must_use]
pub fn call(request: &Request, named: Named) -> Call<'_> {
    Call {
        named,
        key: idempotency_key(request),
        fingerprint: fingerprint(request),
        request_id: request_id(request),
        parameters: no_parameters(request),
        actor: actor(request),
        precondition: precondition(request),
    }
}

/// Reads the body of a request to cancel, in the tenant's calendar.
///
/// # Errors
/// The body is not a valid request to cancel.
pub fn cancel_request(request: &Request, calendar: &Calendar) -> Result<CancelRequest, Problem> {
    let body = CancelRequest::from_json(json_body(request)?, calendar);
    body.map_err(|invalid| invalid_body(request, invalid))
}

/// Reads the API key in `X-Api-Key`. Only its form is checked here.
///
/// # Errors
/// The API key is missing or malformed.
pub fn token(request: &Request) -> Result<Token, Problem> {
    let sent = request.headers().get(API_KEY).ok_or(NotAdmitted::KeyMissing)?;
    let token = sent.to_str().ok().and_then(|text| text.parse().ok());
    token.ok_or(Problem::ApiKeyInvalid)
}

/// Reads the name of the subscription in the path.
///
/// # Errors
/// The name is neither a UUID nor a reference id behind `rid_`.
pub fn subscription_name(request: &Request) -> Result<SubscriptionName, Problem> {
    let parameters = request.path_parameters_ref();
    let name = parameters.and_then(|parameters| parameters.first("subscriptionId"));
    name.and_then(|name| name.parse().ok()).ok_or(Problem::InvalidSubscriptionId)
}

/// Reads the idempotency key in `X-Idempotency-Key` or `Idempotency-Key`, if there is one. A key that is sent twice counts once.
///
/// # Errors
/// The idempotency key is malformed, or two different ones were sent.
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

/// Returns the values of a header. API Gateway joins values that were sent separately with commas, so a value can't contain a
/// comma. A value that is not ASCII is invalid in every header here, and is read as empty.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let sent = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default());
    sent.flat_map(|values| values.split(',')).map(str::trim_ascii)
}

/// Reads the key in a value. The value is the key itself, or a string of a structured field (RFC 9651, section 3.3.3), as in the
/// IETF draft on this header.
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

/// Reads the person or system on whose behalf the caller acts, in `X-Actor`, if it is sent.
///
/// # Errors
/// The value is not 1 to 128 printable ASCII characters.
pub fn actor(request: &Request) -> Result<Option<Actor>, Problem> {
    // API Gateway joins values that were sent separately with commas, so this does the same.
    let sent = request.headers().get_all(X_ACTOR).into_iter();
    let values = sent.map(|value| value.to_str().map_err(|_| Problem::ActorInvalid));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    if values.is_empty() {
        return Ok(None);
    }
    values.join(",").parse().map(Some).map_err(|_| Problem::ActorInvalid)
}

/// Returns true if the route of a request ends like this: `/cancellation`, say. The route is that of API Gateway. Where another
/// program stands in for it, and gives no route, the path counts.
#[must_use]
pub fn is_routed_to(request: &Request, end: &str) -> bool {
    let route = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.route_key.as_deref(),
        _ => None,
    };
    route.filter(|route| *route != "$default").unwrap_or_else(|| request.raw_http_path()).ends_with(end)
}

/// Refuses a query. An operation that changes something must know every parameter, or do nothing.
///
/// # Errors
/// The query has a parameter.
pub fn no_parameters(request: &Request) -> Result<(), Problem> {
    only_parameters(request, &[])
}

/// Refuses a query with another parameter than these.
fn only_parameters(request: &Request, known: &[&str]) -> Result<(), Problem> {
    const MOST_NAMES: usize = 5;
    const LONGEST_NAME: usize = 64;
    let names = form_urlencoded::parse(raw_query(request).as_bytes()).map(|(name, _)| name);
    let unknown = names.filter(|name| !known.contains(&name.as_ref()));
    let unknown: BTreeSet<String> = unknown.map(|name| name.chars().take(LONGEST_NAME).collect()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Problem::UnknownParameter(unknown.into_iter().take(MOST_NAMES).collect()))
}

/// A page of a list: its greatest length, and the text of the place after which it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The greatest length, from 1 to [`LONGEST_PAGE`].
    pub limit: u16,
    /// The place. `None` for the first page.
    pub cursor: Option<String>,
}

/// The greatest length of a page.
pub const LONGEST_PAGE: u16 = 100;
/// The length of a page if the caller names none.
const USUAL_PAGE: u16 = 20;

/// Reads the page of a list that a caller asks for, in `limit` and `cursor`.
///
/// # Errors
/// A parameter is unknown, has a value that it can't have, or is named twice.
pub fn page(request: &Request) -> Result<PageRequest, Problem> {
    only_parameters(request, &["limit", "cursor"])?;
    Ok(PageRequest { limit: limit(request)?, cursor: value(request, "cursor", Parameter::Cursor)? })
}

/// A search for subscriptions.
#[derive(Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// The text to search for.
    pub search: Search,
    /// The greatest length of the page, from 1 to [`LONGEST_PAGE`].
    pub limit: u16,
    /// The subscription after which the page begins. `None` for the first page.
    pub after: Option<SubscriptionId>,
}

/// Reads the search that a caller asks for, in exactly one of `msisdn`, `customerId` and `referenceId`, and its page.
///
/// # Errors
/// A parameter is unknown, has a value that it can't have, or is named twice; or there is no text to search for, or more than one.
pub fn search(request: &Request) -> Result<SearchRequest, Problem> {
    only_parameters(request, &["msisdn", "customerId", "referenceId", "limit", "cursor"])?;
    let invalid = || Problem::InvalidParameter(Parameter::Search);
    let value_of = |name| value(request, name, Parameter::Search);
    let search = match (value_of("msisdn")?, value_of("customerId")?, value_of("referenceId")?) {
        (Some(number), None, None) => Search::msisdn(&number),
        (None, Some(id), None) => Search::customer_id(&id),
        (None, None, Some(reference)) => ReferenceId::try_from(reference).ok().map(Search::ReferenceId),
        _ => None,
    };
    let cursor = value(request, "cursor", Parameter::Cursor)?;
    let read = |cursor: String| cursor.parse().map_err(|_| Problem::InvalidParameter(Parameter::Cursor));
    let after = cursor.map(read).transpose()?;
    Ok(SearchRequest { search: search.ok_or_else(invalid)?, limit: limit(request)?, after })
}

/// Returns the value of a parameter of the query, if it is there.
fn value(request: &Request, name: &str, parameter: Parameter) -> Result<Option<String>, Problem> {
    let all = form_urlencoded::parse(raw_query(request).as_bytes());
    let mut values = all.filter(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Problem::InvalidParameter(parameter)),
    }
}

/// Reads the greatest length of a page.
fn limit(request: &Request) -> Result<u16, Problem> {
    let Some(text) = value(request, "limit", Parameter::Limit)? else { return Ok(USUAL_PAGE) };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = is_number.then(|| text.parse().ok()).flatten();
    limit
        .filter(|limit| (1..=LONGEST_PAGE).contains(limit))
        .ok_or(Problem::InvalidParameter(Parameter::Limit))
}

/// The states of a subscription that a request may change (RFC 9110, section 13.1.1).
pub struct Precondition(Option<Vec<String>>);

/// Reads the precondition in `If-Match`. Without one, every state may be changed.
#[must_use]
pub fn precondition(request: &Request) -> Precondition {
    let mut tags = values(request.headers(), IF_MATCH).map(str::to_owned).peekable();
    Precondition(tags.peek().is_some().then_some(()).map(|()| tags.collect()))
}

impl Precondition {
    /// Every state may be changed.
    pub const NONE: Self = Self(None);

    /// Only this state may be changed.
    #[must_use]
    pub fn only(revision: &Revision) -> Self {
        Self(Some(vec![etag(revision)]))
    }

    /// Returns true if the precondition holds for the state that this entity tag names. The comparison is strong: a weak tag names
    /// no state.
    #[must_use]
    pub fn holds(&self, etag: &str) -> bool {
        self.0.as_ref().is_none_or(|tags| tags.iter().any(|tag| tag == "*" || tag == etag))
    }
}

/// Returns the fingerprint of a request. Requests with equal fingerprints are the same request.
#[must_use]
pub fn fingerprint(request: &Request) -> Fingerprint {
    let content_type = request.headers().get(CONTENT_TYPE);
    let parts: [&[u8]; 5] = [
        request.method().as_str().as_bytes(),
        request.raw_http_path().as_bytes(),
        raw_query(request).as_bytes(),
        // Ignored without a body, because some clients always send it.
        content_type.filter(|_| !request.body().is_empty()).map_or(b"", |value| value.as_bytes()),
        request.body(),
    ];
    Fingerprint::of(parts)
}

/// Returns the body of a request that must be JSON.
///
/// # Errors
/// The body is declared as something other than JSON in UTF-8, or is too large.
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

/// Returns the problem of an invalid body. If the body is not JSON but is declared as compressed, the compression is the problem.
#[must_use]
pub fn invalid_body(request: &Request, invalid: InvalidBody) -> Problem {
    let mut encodings = values(request.headers(), CONTENT_ENCODING);
    let is_encoded = encodings.any(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    match invalid {
        InvalidBody::Malformed(_) if is_encoded => Problem::UnsupportedMediaType(Unsupported::Encoding),
        invalid => invalid.into(),
    }
}

/// Returns true if the caller has the version of a document that `etag` names (RFC 9110, section 13.1.2).
#[must_use]
pub fn has_version(headers: &HeaderMap, etag: &str) -> bool {
    let sent = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = sent.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
