use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

const TYPES: &str = "com.amazonaws.dynamodb.v20120810#";

/// The connection between the service and its database: it counts the requests that pass, and does to
/// them what a network and a busy database do.
#[derive(Clone)]
pub struct Wire {
    pub url: String,
    inner: Arc<Inner>,
}

struct Inner {
    database: String,
    client: reqwest::Client,
    seen: Mutex<Vec<String>>,
    faults: Mutex<HashMap<String, Fault>>,
}

/// An answer that is held back.
#[derive(Clone, Default)]
pub struct Held {
    reached: Arc<Notify>,
    released: Arc<Notify>,
}

impl Held {
    /// Waits until the database has done what was asked.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets the answer pass.
    pub fn release(&self) {
        self.released.notify_one();
    }
}

/// What happens to the requests of an operation.
#[derive(Clone)]
enum Fault {
    /// Each is refused with this status and body; the database never sees it.
    Refuse(u16, Value),
    /// Only the first is.
    RefuseFirst(u16, Value),
    /// The database does what the first asks, and its answer is lost.
    LoseFirstAnswer,
    /// The database does what the first asks, and its answer is held back until it is given up.
    HoldFirstAnswer(Held),
    /// The database is too busy for the first so many.
    LeaveUnprocessed(u32),
    /// Each gets a page of so many items.
    ShortPages(u32),
}

impl Wire {
    /// A wire to the database at this URL.
    pub async fn start(database: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(Inner {
            database: database.to_owned(),
            client: reqwest::Client::new(),
            seen: Mutex::default(),
            faults: Mutex::default(),
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
        self.set(operation, Fault::Refuse(400, json!({"__type": format!("{TYPES}{error}")})));
    }

    /// From now on, cancels every transaction for these reasons, one for each of its writes.
    pub fn cancel_transactions(&self, reasons: [&str; 2]) {
        self.set("TransactWriteItems", Fault::Refuse(400, cancelled(reasons)));
    }

    /// From now on, the database does what the next request of this operation asks, and the answer is lost.
    pub fn lose_answer(&self, operation: &str) {
        self.set(operation, Fault::LoseFirstAnswer);
    }

    /// From now on, leaves all keys of the next so many `BatchGetItem` unprocessed.
    pub fn leave_unprocessed(&self, requests: u32) {
        self.set("BatchGetItem", Fault::LeaveUnprocessed(requests));
    }

    /// From now on, a page of a query has at most so many items.
    pub fn shorten_pages(&self, items: u32) {
        self.set("Query", Fault::ShortPages(items));
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        self.inner.faults.lock().unwrap().clear();
    }

    /// From now on, something on the way answers every request of this operation with this status.
    pub fn fail(&self, operation: &str, status: u16) {
        self.set(operation, Fault::Refuse(status, json!({})));
    }

    /// Cancels the next transaction for these reasons, one for each of its writes.
    pub fn cancel_transaction(&self, reasons: [&str; 2]) {
        self.set("TransactWriteItems", Fault::RefuseFirst(400, cancelled(reasons)));
    }

    /// The database does what the next request of this operation asks; its answer is held back.
    pub fn hold_answer(&self, operation: &str) -> Held {
        let held = Held::default();
        self.set(operation, Fault::HoldFirstAnswer(held.clone()));
        held
    }

    fn set(&self, operation: &str, fault: Fault) {
        self.inner.faults.lock().unwrap().insert(operation.to_owned(), fault);
    }
}

impl Inner {
    /// The fault that meets this request; some pass by themselves.
    fn fault(&self, operation: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let fault = faults.get(operation).cloned();
        match &fault {
            Some(
                Fault::RefuseFirst(..)
                | Fault::LoseFirstAnswer
                | Fault::HoldFirstAnswer(_)
                | Fault::LeaveUnprocessed(1),
            ) => _ = faults.remove(operation),
            Some(Fault::LeaveUnprocessed(more)) => {
                faults.insert(operation.to_owned(), Fault::LeaveUnprocessed(more - 1));
            }
            _ => {}
        }
        fault
    }
}

async fn pass(State(wire): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    wire.seen.lock().unwrap().push(operation.clone());

    let mut request: Value = serde_json::from_slice(&body).unwrap();
    match wire.fault(&operation) {
        None => forward(&wire, headers, request).await,
        Some(Fault::Refuse(status, error) | Fault::RefuseFirst(status, error)) => answer(status, &error),
        Some(Fault::HoldFirstAnswer(held)) => {
            let answer = forward(&wire, headers, request).await;
            held.reached.notify_one();
            held.released.notified().await;
            answer
        }
        Some(Fault::LoseFirstAnswer) => {
            forward(&wire, headers, request).await;
            // What the service sees is a gateway between the two that gave up.
            answer(500, &json!({}))
        }
        Some(Fault::LeaveUnprocessed(_)) => {
            answer(200, &json!({"Responses": {}, "UnprocessedKeys": request["RequestItems"]}))
        }
        Some(Fault::ShortPages(items)) => {
            request["Limit"] = json!(items);
            forward(&wire, headers, request).await
        }
    }
}

async fn forward(wire: &Inner, mut headers: HeaderMap, request: Value) -> Response {
    headers.remove("content-length");
    let request = wire.client.post(&wire.database).headers(headers).body(request.to_string());
    let answer = request.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for name in ["content-type", "x-amz-crc32", "x-amzn-requestid"] {
        if let Some(value) = answer.headers().get(name) {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}

fn answer(status: u16, body: &Value) -> Response {
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    response.body(Body::from(body.to_string())).unwrap()
}

fn cancelled(reasons: [&str; 2]) -> Value {
    let reasons = reasons.map(|code| json!({"Code": code}));
    json!({"__type": format!("{TYPES}TransactionCanceledException"), "CancellationReasons": reasons})
}
