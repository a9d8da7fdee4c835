//! Lambda's side of `GET /subscriptions/{subscriptionId}`: a subscription as it is now. If the caller has the current version and
//! sends it in `If-None-Match`, the answer has no body.

use lambda_http::{Body, Request, Response};
use service::Service;
use service::get::get;
use service::http::problem::etag;
use service::http::request;
use service::http::response::{Answered, not_modified, respond, subscription};

/// Answers a request.
pub async fn handle(service: &Service, request: Request) -> Response<Body> {
    respond(&request, async |named| {
        let stored = get(service, named).await?;
        let etag = etag(&stored.revision);
        if request::has_version(request.headers(), &etag) {
            return Ok(Answered::ok(not_modified(etag)));
        }
        Ok(Answered::ok(subscription(&stored)?))
    })
    .await
}
