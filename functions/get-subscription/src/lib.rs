//! Lambda's side of what only reads: `GET /subscriptions/{subscriptionId}`, a subscription as it is now; `GET …/cancellation`, its
//! latest cancellation; `GET …/history`, its changes; `POST …/cancel/preview`, the effect that cancelling would have; and
//! `GET /subscriptions`, a search. If the caller has the current version of a subscription and sends it in `If-None-Match`, the
//! answer has no body.
//!
//! A preview is answered here, and not by the function that cancels, because this function has no right to write. So no deployment,
//! and no return to an earlier version, can turn a preview into a cancellation.

use lambda_http::http::Method;
use lambda_http::{Body, Request, Response};
use service::Service;
use service::cancel::preview;
use service::get::{FoundPage, History, get, get_cancellation, get_history, search};
use service::http::problem::{Problem, etag};
use service::http::request::{self, Named};
use service::http::response::{Answered, json, not_modified, page, respond, subscription};

/// Answers a request.
pub async fn handle(service: &Service, request: Request) -> Response<Body> {
    respond(&request, async |named| {
        if request.method() == Method::POST {
            let call = request::call(&request, named);
            preview(service, call, |calendar| request::cancel_request(&request, calendar)).await
        } else if request::is_routed_to(&request, "/cancellation") {
            cancellation(service, named).await
        } else if request::is_routed_to(&request, "/history") {
            history(service, named, &request).await
        } else if request::is_routed_to(&request, "/subscriptions") {
            found(service, named, &request).await
        } else {
            current(service, named, &request).await
        }
    })
    .await
}

async fn current(service: &Service, named: Named, request: &Request) -> Result<Answered, Problem> {
    let stored = get(service, named).await?;
    let etag = etag(&stored.revision);
    if request::has_version(request.headers(), &etag) {
        return Ok(Answered::ok(not_modified(etag)));
    }
    Ok(Answered::ok(subscription(&stored)?))
}

async fn found(service: &Service, named: Named, request: &Request) -> Result<Answered, Problem> {
    let FoundPage { found, limit, last } = search(service, named, request::search(request)).await?;
    let documents: Vec<_> = found.iter().map(|stored| &stored.document).collect();
    let next = last.map(|id| id.to_string());
    Ok(Answered::ok(page(&documents, limit, next.as_deref())?))
}

async fn cancellation(service: &Service, named: Named) -> Result<Answered, Problem> {
    let (details, revision) = get_cancellation(service, named).await?;
    Ok(Answered::ok(json(&details, Some(&revision))?))
}

async fn history(service: &Service, named: Named, request: &Request) -> Result<Answered, Problem> {
    let History { entries, limit, next } = get_history(service, named, request::page(request)).await?;
    Ok(Answered::ok(page(&entries, limit, next.as_deref())?))
}
