use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The connection between the service and its database: it counts the requests that pass, and can
/// refuse them in the database's place.
#[derive(Clone)]
pub struct Wire {
    pub url: String,
    inner: Arc<Inner>,
}

struct Inner {
    database: String,
    client: reqwest::Client,
    seen: Mutex<Vec<String>>,
    refusals: Mutex<HashMap<String, Value>>,
}

impl Wire {
    /// A wire to the database at this URL.
    pub async fn start(database: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(Inner {
            database: database.to_owned(),
            client: reqwest::Client::new(),
            seen: Mutex::default(),
            refusals: Mutex::default(),
        });
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(pass).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, inner }
    }

    /// Forgets what has passed.
    pub fn forget(&self) {
        self.inner.seen.lock().unwrap().clear();
    }

    /// The operations that have passed since, in their order.
    pub fn seen(&self) -> Vec<String> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// From now on, refuses every request of this operation with an error of this type.
    pub fn refuse(&self, operation: &str, error: &str) {
        self.refuse_with(operation, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{error}")}));
    }

    /// From now on, cancels every transaction for these reasons, one for each of its writes.
    pub fn cancel_transactions(&self, reasons: [&str; 2]) {
        let error = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        let reasons = reasons.map(|code| json!({"Code": code}));
        self.refuse_with("TransactWriteItems", json!({"__type": error, "CancellationReasons": reasons}));
    }

    fn refuse_with(&self, operation: &str, body: Value) {
        self.inner.refusals.lock().unwrap().insert(operation.to_owned(), body);
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        self.inner.refusals.lock().unwrap().clear();
    }
}

async fn pass(State(wire): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    wire.seen.lock().unwrap().push(operation.clone());

    let refusal = wire.refusals.lock().unwrap().get(&operation).cloned();
    if let Some(refusal) = refusal {
        let response = Response::builder().status(400).header("content-type", "application/x-amz-json-1.0");
        return response.body(Body::from(refusal.to_string())).unwrap();
    }
    let answer = wire.client.post(&wire.database).headers(headers).body(body).send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for name in ["content-type", "x-amz-crc32", "x-amzn-requestid"] {
        if let Some(value) = answer.headers().get(name) {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
