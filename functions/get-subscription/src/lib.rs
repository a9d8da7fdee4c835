//! `GET /subscriptions/{subscriptionId}`: a subscription as it is now.
//!
//! Reads are consistent: what a caller has written, it reads. With `If-None-Match` and the version it
//! has, a caller is spared the body.

use domain::api_key::Scope;
use lambda_http::{Body, Request, Response};
use service::Service;
use service::http::problem::{Problem, etag};
use service::http::request;
use service::http::response::{self, Answered};

/// Answers a request.
pub async fn handle(service: &Service, request: Request) -> Response<Body> {
    response::respond(&request, get(service, &request)).await
}

async fn get(service: &Service, request: &Request) -> Result<Answered, Problem> {
    let token = request::token(request)?;
    response::log_caller(&token);
    let name = request::subscription_name(request);
    response::log_name(name.as_ref().ok());

    let sealed = service.store.load(&token, name.as_ref().ok(), None, false).await?;
    let loaded = sealed.open(Scope::Read, service.clock.now())?;
    // Who asks comes first; then what they ask.
    let name = name?;
    let stored = service.store.follow(token.tenant(), &name, loaded.found).await?;
    let stored = stored.ok_or(Problem::SubscriptionNotFound)?;
    response::log_found(&name, &stored);

    let etag = etag(&stored.revision);
    if request::has_version(request.headers(), &etag) {
        return Ok(Answered::ok(response::not_modified(etag)));
    }
    Ok(Answered::ok(response::subscription(&stored)?))
}
