//! Lambda's side of `POST` and `DELETE /subscriptions/{subscriptionId}/cancel`: the first schedules the cancellation of a
//! subscription, the second withdraws it.

use lambda_http::http::Method;
use lambda_http::{Body, Request, Response};
use service::Service;
use service::cancel::{cancel, withdraw};
use service::http::request;
use service::http::response::respond;

/// Answers a request.
pub async fn handle(service: &Service, request: Request) -> Response<Body> {
    respond(&request, async |named| {
        let call = request::call(&request, named);
        if request.method() == Method::DELETE {
            withdraw(service, call).await
        } else {
            cancel(service, call, |calendar| request::cancel_request(&request, calendar)).await
        }
    })
    .await
}
