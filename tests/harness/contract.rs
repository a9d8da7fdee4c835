//! The part of the contract with callers that holds for every event. Whatever an event contains, the answer is a success or a
//! problem that the caller can fix. No problem is longer than 8 KiB.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::{Context, Error, LambdaEvent};
use serde_json::Value;
use service::clock::Clock;
use service::http::event;
use service::sweep::Summary;

use crate::openapi::OPERATIONS;
use crate::{Response, START, Service, instant};

/// Every problem that a caller can cause alone, with a service and a database that work.
pub const PROBLEMS: [(u16, &str); 18] = [
    (400, "actor_invalid"),
    (400, "idempotency_key_invalid"),
    (400, "invalid_parameter"),
    (400, "invalid_subscription_id"),
    (400, "malformed_json"),
    (400, "unknown_parameter"),
    (401, "api_key_invalid"),
    (401, "api_key_missing"),
    (403, "insufficient_scope"),
    (404, "no_cancellation"),
    (404, "subscription_not_found"),
    (409, "idempotency_key_mismatch"),
    (409, "no_pending_cancellation"),
    (409, "subscription_already_cancelled"),
    (412, "precondition_failed"),
    (413, "payload_too_large"),
    (415, "unsupported_media_type"),
    (422, "validation_failed"),
];
const LARGEST_PROBLEM_BYTES: usize = 8 * 1024;
const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

/// The functions of the API as Lambda runs them, on the database of a running service.
pub struct Functions {
    service: service::Service,
    api_key: String,
}

impl Functions {
    pub fn on(service: &Service) -> Self {
        let clock = Clock::system();
        clock.set(instant(START));
        Self { service: service::Service { store: service.store(), clock }, api_key: service.api_key.clone() }
    }

    /// Hands an event to `execute-cancellations`.
    pub async fn sweep(&self, event: LambdaEvent<EventBridgeEvent>) -> Result<Summary, Error> {
        execute_cancellations::handle(&self.service, event).await
    }

    /// Hands an event to the function that its `routeKey` names, and checks the answer. Returns `None` if it is not an event of
    /// API Gateway. An empty `x-api-key` is replaced by a valid one.
    pub async fn answer(&self, event: &str) -> Option<Response> {
        let mut event: Value = serde_json::from_str(event).ok()?;
        let route = event["routeKey"].as_str().unwrap_or_default().to_owned();
        // API Gateway finds the route by the method, too.
        let method = event.pointer("/requestContext/http/method").and_then(Value::as_str);
        if route.split_once(' ').is_some_and(|(of_route, _)| Some(of_route) != method) {
            return None;
        }
        if let Some(key) = event.pointer_mut("/headers/x-api-key").filter(|key| *key == "") {
            *key = Value::from(self.api_key.as_str());
        }
        let event: ApiGatewayV2httpRequest = serde_json::from_str(&event.to_string()).ok()?;
        let mut context = Context::default();
        context.request_id = REQUEST_ID.to_owned();
        let handle = async |request| {
            if route.starts_with("GET") || route.ends_with("/preview") {
                get_subscription::handle(&self.service, request).await
            } else {
                cancel_subscription::handle(&self.service, request).await
            }
        };
        let Ok(returned) = event::answer(LambdaEvent::new(event, context), handle).await;
        let answer = read(&serde_json::to_value(returned).unwrap());
        assert_within_contract(&route, &answer);
        if let Some(operation) = OPERATIONS.get(&route) {
            assert_eq!(operation.check_answer(&answer), Ok(()), "{route}: {}", answer.text());
        }
        Some(answer)
    }
}

/// Reads the value that a function returned, as API Gateway does.
fn read(returned: &Value) -> Response {
    assert_eq!(returned["isBase64Encoded"], false);
    let headers = returned["headers"].as_object().unwrap().iter();
    Response {
        status: returned["statusCode"].as_u64().unwrap().try_into().unwrap(),
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
        body: returned["body"].as_str().unwrap_or_default().as_bytes().to_vec(),
    }
}

fn assert_within_contract(route: &str, answer: &Response) {
    let member = match route.rsplit('/').next() {
        Some("cancellation") => "/cancellationId",
        Some("preview") => "/effectiveAt",
        Some("history") => "/items/0/at",
        _ => "/subscriptionId",
    };
    assert_eq!(answer.header("x-request-id"), Some(REQUEST_ID));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    match answer.status {
        200 => {
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let is_there = answer.json().pointer(member).is_some_and(Value::is_string);
            assert!(is_there, "{}", answer.text());
        }
        304 => assert_eq!(answer.text(), ""),
        _ => {
            let (status, code) = answer.problem();
            assert!(PROBLEMS.contains(&(status, &code)), "{}", answer.text());
            assert!(answer.body.len() <= LARGEST_PROBLEM_BYTES, "{}", answer.text());
            assert_eq!(answer.json()["requestId"], REQUEST_ID);
        }
    }
}
