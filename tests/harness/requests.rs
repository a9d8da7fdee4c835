//! Requests to the service, each checked against the document of the API, and waiting for what follows from them.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};

use crate::response::Response;
use crate::{Service, openapi};

/// A request to the service.
pub struct SentRequest<'e> {
    pub method: &'e Method,
    pub path: &'e str,
    pub headers: &'e [(&'e str, &'e str)],
    pub body: &'e [u8],
}

impl Service {
    /// Sends a request, and checks it and its answer against the document of the API.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let url = format!("{}{path}", self.api_url);
        let mut request = self.client.request(method.clone(), url).body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = Response::read(request.send().await.unwrap()).await;
        let sent = SentRequest { method: &method, path, headers, body };
        if let Err(why) = openapi::check_exchange(&sent, &answer) {
            panic!("{method} {path}, answered {} {}: {why}", answer.status, answer.text());
        }
        answer
    }

    /// Reads a subscription with the demo key.
    pub async fn get(&self, subscription: &str) -> Response {
        self.get_as(&self.api_key, subscription).await
    }

    pub async fn get_as(&self, api_key: &str, subscription: &str) -> Response {
        let path = format!("/subscriptions/{subscription}");
        self.send(Method::GET, &path, &[("X-Api-Key", api_key)], b"").await
    }

    /// Cancels a subscription with the demo key, without an idempotency key.
    pub async fn cancel(&self, subscription: &str, body: &Value) -> Response {
        self.cancel_with(subscription, &[], body).await
    }

    /// Cancels a subscription with the demo key and an idempotency key.
    pub async fn cancel_once(&self, subscription: &str, key: &str, body: &Value) -> Response {
        self.cancel_with(subscription, &[("X-Idempotency-Key", key)], body).await
    }

    pub async fn cancel_with(&self, subscription: &str, headers: &[(&str, &str)], body: &Value) -> Response {
        let api_key = self.api_key.clone();
        let mut all = vec![("X-Api-Key", api_key.as_str())];
        all.extend(headers);
        self.cancel_as(subscription, &all, body.to_string().as_bytes()).await
    }

    /// Cancels with exactly these headers, and adds a content type if they have none.
    pub async fn cancel_as(&self, subscription: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut all = headers.to_vec();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            all.push(("Content-Type", "application/json"));
        }
        self.send(Method::POST, &format!("/subscriptions/{subscription}/cancel"), &all, body).await
    }

    /// Withdraws the cancellation of a subscription with the demo key, without an idempotency key.
    pub async fn withdraw(&self, subscription: &str) -> Response {
        self.withdraw_with(subscription, &[]).await
    }

    /// Withdraws the cancellation of a subscription with the demo key and an idempotency key.
    pub async fn withdraw_once(&self, subscription: &str, key: &str) -> Response {
        self.withdraw_with(subscription, &[("X-Idempotency-Key", key)]).await
    }

    pub async fn withdraw_with(&self, subscription: &str, headers: &[(&str, &str)]) -> Response {
        let mut all = vec![("X-Api-Key", self.api_key.as_str())];
        all.extend(headers);
        self.send(Method::DELETE, &format!("/subscriptions/{subscription}/cancel"), &all, b"").await
    }

    pub async fn set_clock(&self, now: &str) {
        self.move_clock(&json!({"now": now})).await;
    }

    pub async fn advance_clock(&self, duration: &str) {
        self.move_clock(&json!({"advance": duration})).await;
    }

    async fn move_clock(&self, to: &Value) {
        let moved = self.send(Method::POST, "/_local/clock", &[], to.to_string().as_bytes()).await;
        assert_eq!(moved.status, 200, "{}", moved.text());
    }

    /// Runs `execute-cancellations` once, and returns its summary.
    pub async fn execute(&self) -> Value {
        let swept = self.send(Method::POST, "/_local/execute-cancellations", &[], b"").await;
        assert_eq!(swept.status, 200, "{}", swept.text());
        swept.json()
    }

    /// Waits until a subscription of the demo tenant has an entry of this version in its history. Returns its last entries, the
    /// latest first.
    pub async fn until_recorded(&self, subscription: &str, version: u64) -> Vec<Value> {
        let wanted = format!("{version:020}");
        let is_it = |item: &HashMap<_, AttributeValue>| item["revision"].as_s().unwrap().starts_with(&wanted);
        self.until_stored(subscription, |entries| entries.iter().any(is_it)).await;
        let path = format!("/subscriptions/{subscription}/history?limit=100");
        let page = self.send(Method::GET, &path, &[("X-Api-Key", &self.api_key)], b"").await;
        assert_eq!(page.status, 200, "{}", page.text());
        let Value::Array(entries) = page.json()["items"].take() else { panic!("no items") };
        entries
    }

    /// Waits until `count` of the last events have been delivered or dropped. Returns the last events, the latest first.
    pub async fn until_delivered(&self, count: usize) -> Vec<Value> {
        let is_over = |event: &&Value| event["delivery"] != "waiting";
        self.last_events(|events| events.iter().filter(is_over).count() >= count).await
    }

    /// Waits until an event has been posted at least `attempts` times.
    pub async fn until_posted(&self, attempts: u64) {
        let attempts = |event: &Value| event["attempts"].as_u64() >= Some(attempts);
        self.last_events(|events| events.iter().any(attempts)).await;
    }

    /// Waits until the last events satisfy a condition, and returns them.
    async fn last_events(&self, are_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            loop {
                looks.tick().await;
                let mut status = self.send(Method::GET, "/_local/status", &[], b"").await.json();
                let Value::Array(events) = status["events"].take() else { panic!("{status}") };
                if are_so(&events) {
                    return events;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("condition not met in time")
    }
}
