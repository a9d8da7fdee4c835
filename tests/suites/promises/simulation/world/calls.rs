//! Calls: a caller sends a request, a function handles it, and the caller gets the answer, or none.

use chrono::{DateTime, Utc};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use service::http::event;
use tokio::task::JoinHandle;

use super::{SUBSCRIPTIONS, TENANTS, World, subscription_id};
use crate::simulation::ledger::{Answer, Intent};

/// A request that is being handled.
pub(super) struct Function {
    pub sent: Sent,
    pub task: JoinHandle<Value>,
}

pub(super) struct Sent {
    pub intent: usize,
    pub request_id: String,
    pub at: DateTime<Utc>,
}

impl World<'_> {
    /// Sends a request of a caller: a new one, or one that was sent before.
    pub(super) fn send(&mut self) {
        let new = self.intents.is_empty() || self.random.u32(..100) < 45;
        let intent = if new {
            let intent = self.intent();
            self.intents.push(intent);
            self.unanswered.push(self.intents.len() - 1);
            self.intents.len() - 1
        } else if !self.unanswered.is_empty() && self.random.bool() {
            self.unanswered[self.random.usize(..self.unanswered.len())]
        } else {
            // In half of the cases one of the latest five.
            let most = if self.random.bool() { 5 } else { 1_000 };
            let back = self.random.usize(..most);
            self.intents.len().saturating_sub(1 + back)
        };
        let function = self.invoke(intent);
        self.functions.push(function);
    }

    /// Makes up a request. At any time one subscription is popular, and the keys are few, so that requests collide.
    fn intent(&mut self) -> Intent {
        let random = &mut self.random;
        let popular = self.figures.jumps % SUBSCRIPTIONS;
        let n = if random.bool() { popular } else { random.usize(..=SUBSCRIPTIONS) };
        let today = self.clock.now().date_naive();
        let schedule = match random.u32(..4) {
            0 => json!({"type": "CancelNextDay"}),
            1 => json!({"type": "CancelAtBeginningOfNextMonth"}),
            _ => json!({"type": "CancelAtDate", "date": today + chrono::Days::new(random.u64(2..6))}),
        };
        let reason = ["NO_NEED", "FRAUD", "WRONG_ORDER"][random.usize(..3)];
        let cancel = || json!({"schedule": schedule, "reason": reason}).to_string();
        let body = (random.u32(..4) > 0).then(cancel);
        let name = if random.u32(..4) == 0 { format!("rid_crm-{n}") } else { subscription_id(n) };
        let tenant = TENANTS[usize::from(random.u32(..3) == 0)];
        let subscription_id = subscription_id(n);
        // The ETag of the current state or of the one before.
        let etags = self.ledger.etags(tenant, &subscription_id);
        let latest = etags.len().saturating_sub(1 + usize::from(random.u32(..4) == 0));
        let if_match = etags.get(latest).filter(|_| random.u32(..5) == 0).cloned();
        let key = (random.u32(..3) > 0).then(|| format!("key-{}", random.u32(..20)));
        Intent { tenant, name, subscription_id, key, if_match, body }
    }

    /// Invokes a function with a request.
    pub(super) fn invoke(&mut self, intent: usize) -> Function {
        self.figures.requests += 1;
        let number = self.requests.len();
        let Intent { tenant, name, key, if_match, body, .. } = self.intents[intent].clone();
        // The trace leaves the ETag out, because it differs in each run.
        let precondition = if if_match.is_some() { "with If-Match, " } else { "" };
        self.say(format!(
            "request {number} is sent: intent {intent}, {precondition}{tenant} {name} {key:?} {body:?}"
        ));
        let mut event = harness::event(match body {
            Some(_) => "cancel-subscription/ok",
            None => "cancel-subscription/ok_withdrawn",
        });
        let path = format!("/subscriptions/{name}/cancel");
        event["requestContext"]["http"]["path"] = json!(path);
        event["rawPath"] = json!(path);
        event["pathParameters"]["subscriptionId"] = json!(name);
        if let Some(body) = body {
            event["body"] = json!(body);
        }
        let headers = event["headers"].as_object_mut().unwrap();
        headers.insert("x-api-key".to_owned(), json!(self.tokens[tenant]));
        headers.remove("x-idempotency-key");
        headers.extend(key.as_ref().map(|key| ("x-idempotency-key".to_owned(), json!(key))));
        headers.extend(if_match.as_ref().map(|etag| ("if-match".to_owned(), json!(etag))));

        let request_id = format!("request-{number}");
        headers.insert("x-actor".to_owned(), json!(format!("agent of {request_id}")));
        self.requests.insert(request_id.clone(), intent);
        let (service, begun) = (self.service(), self.clock.now());
        let mut context = Context::default();
        context.request_id.clone_from(&request_id);
        let task = tokio::spawn(async move {
            let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
            let handle = |request| cancel_subscription::handle(&service, request);
            let Ok(answer) = event::answer(LambdaEvent::new(event, context), handle).await;
            serde_json::to_value(answer).unwrap()
        });
        Function { sent: Sent { intent, request_id, at: begun }, task }
    }

    pub(super) fn hear(&mut self, sent: Sent, returned: &Value) {
        let headers = returned["headers"].as_object().unwrap().iter();
        let answer = Answer {
            intent: &self.intents[sent.intent],
            request_id: sent.request_id,
            begun: sent.at,
            status: returned["statusCode"].as_u64().unwrap(),
            headers: headers
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
            body: returned["body"].as_str().unwrap().to_owned(),
        };
        let code: Value = serde_json::from_str(&answer.body).unwrap();
        let heard = format!("{} is answered {} {}", answer.request_id, answer.status, code["code"]);
        self.figures.replays += usize::from(answer.headers.contains_key("idempotent-replayed"));
        let definite = answer.is_definite();
        let intent_of = |request_id: &str| self.intents[self.requests[request_id]].clone();
        self.ledger.answered(&answer, self.clock.now(), intent_of);
        if definite {
            self.unanswered.retain(|intent| *intent != sent.intent);
        }
        self.say(heard);
    }
}
