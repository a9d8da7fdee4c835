//! Answering a request, and logging it in one line.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use domain::identifiers::SubscriptionName;
use domain::stored::{Revision, StoredSubscription};
use lambda_http::http::header::{CACHE_CONTROL, HeaderName};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use metrics::counter;
use serde::Serialize;
use store::answer::Answer;
use tracing::{Instrument, Span, error, field, info, info_span, warn};

use super::problem::{Problem, etag};
use super::request::{self, Named};
use crate::telemetry::{self, OUTCOME, REQUESTS};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Longest time for an operation, including all of its requests to the database. API Gateway gives up after 30 seconds, and its
/// answer tells the caller less.
const LONGEST: Duration = Duration::from_secs(25);

/// The answer of an operation, and its outcome for the log.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// True if the answer was given before, to the same request with the same idempotency key.
    pub replayed: bool,
    /// The outcome for the log: `ok`, `replayed`, or the code of a problem.
    pub outcome: &'static str,
}

impl Answered {
    /// Answers with a success.
    #[must_use]
    pub fn ok(answer: Answer) -> Self {
        Self { answer, replayed: false, outcome: "ok" }
    }

    /// Answers with a problem.
    #[must_use]
    pub fn problem(problem: &Problem, request_id: &str) -> Self {
        Self { answer: problem.answer(request_id), replayed: false, outcome: problem.code() }
    }

    /// Gives an earlier answer again.
    #[must_use]
    pub fn replay(answer: Answer) -> Self {
        Self { answer, replayed: true, outcome: "replayed" }
    }
}

/// Answers 200 with a subscription.
///
/// # Errors
/// The subscription has no JSON form. Its type rules that out, so this would be a defect of the service.
pub fn subscription(stored: &StoredSubscription) -> Result<Answer, Problem> {
    json(&stored.document, Some(&stored.revision))
}

/// Answers 200 with a body about the subscription in this revision, if it is about one.
///
/// # Errors
/// The body has no JSON form. Its type rules that out, so this would be a defect of the service.
pub fn json(body: &impl Serialize, revision: Option<&Revision>) -> Result<Answer, Problem> {
    let mut headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
    headers.extend(revision.map(|revision| ("etag".to_owned(), etag(revision))));
    let body = serde_json::to_string(body).map_err(|error| Problem::InternalError(error.to_string()))?;
    Ok(Answer { status: 200, headers, body })
}

/// Answers 200 with a page of a list, and with the place at which the next page begins, if there is one.
///
/// # Errors
/// An item has no JSON form. Its type rules that out, so this would be a defect of the service.
pub fn page(items: &[impl Serialize], limit: u16, next: Option<&str>) -> Result<Answer, Problem> {
    #[derive(Serialize)]
    struct Page<'p, T> {
        items: &'p [T],
        pagination: Pagination<'p>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Pagination<'p> {
        limit: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<&'p str>,
    }
    json(&Page { items, pagination: Pagination { limit, next_cursor: next } }, None)
}

/// Answers 304: the caller has this version.
#[must_use]
pub fn not_modified(etag: String) -> Answer {
    let headers = BTreeMap::from([("etag".to_owned(), etag)]);
    Answer { status: 304, headers, body: String::new() }
}

/// Returns the id of a request: the one under which Lambda logs it.
#[must_use]
pub fn request_id(request: &Request) -> &str {
    request.lambda_context_ref().map_or("", |context| context.request_id.as_str())
}

fn trace_id(request: &Request) -> Option<&str> {
    telemetry::trace_id(request.lambda_context_ref()?.xray_trace_id.as_deref())
}

/// Runs an operation and answers with its outcome. Every answer of the service leaves here. A request without a readable API key is
/// answered before the operation.
pub async fn respond<F>(request: &Request, operation: impl FnOnce(Named) -> F) -> Response<Body>
where
    F: Future<Output = Result<Answered, Problem>>,
{
    let begun = Instant::now();
    let request_id = request_id(request);
    let named = request::named(request);
    let span = span(request, named.as_ref().ok());
    // On the heap, because futures are moved as they are wrapped, and this one is large.
    let operation = Box::pin(async {
        match named {
            Ok(named) => operation(named).await,
            Err(problem) => Err(problem),
        }
    });
    async {
        let in_time = tokio::time::timeout(LONGEST, operation).await;
        let late = |_| Err(Problem::TemporarilyUnavailable("the operation timed out".to_owned()));
        let answered = in_time.unwrap_or_else(late).unwrap_or_else(|problem| {
            match &problem {
                Problem::TemporarilyUnavailable(cause) => warn!(cause, "unavailable"),
                Problem::InternalError(cause) => error!(cause, "internal error"),
                _ => {}
            }
            Answered::problem(&problem, request_id)
        });
        info!(
            outcome = answered.outcome,
            status = answered.answer.status,
            milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
        counter!(REQUESTS, OUTCOME => answered.outcome).increment(1);
        into_response(answered, request_id)
    }
    .instrument(span)
    .await
}

/// Returns the span of a request, whose fields are in each line of its log. A subscription is named by its subscription id only: a
/// reference id may say more than a log should.
fn span(request: &Request, named: Option<&Named>) -> Span {
    let subscription = named.and_then(|named| match &named.name {
        Ok(SubscriptionName::Id(id)) => Some(id),
        Ok(SubscriptionName::Reference(_)) | Err(_) => None,
    });
    info_span!(
        "request",
        requestId = request_id(request),
        traceId = trace_id(request),
        method = %request.method(),
        tenant = named.map(|named| field::display(named.token.tenant())),
        keyId = named.map(|named| field::display(named.token.key_id())),
        subscription = subscription.map(field::display),
    )
}

fn into_response(answered: Answered, request_id: &str) -> Response<Body> {
    let Answered { answer, replayed, .. } = answered;
    let mut response =
        Response::new(if answer.body.is_empty() { Body::Empty } else { Body::Text(answer.body) });
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        // This service wrote every name and value. One that is not a valid header is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(request_id) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID, request_id);
    }
    if replayed {
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
