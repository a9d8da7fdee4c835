use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

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

/// What happens to the requests of an operation.
#[derive(Clone)]
enum Fault {
    /// Each is refused with this body; the database never sees it.
    Refuse(Value),
    /// The database does what the first asks, and its answer is lost.
    LoseFirstAnswer,
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
        self.refuse_with(operation, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{error}")}));
    }

    /// From now on, cancels every transaction for these reasons, one for each of its writes.
    pub fn cancel_transactions(&self, reasons: [&str; 2]) {
        let error = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        let reasons = reasons.map(|code| json!({"Code": code}));
        self.refuse_with("TransactWriteItems", json!({"__type": error, "CancellationReasons": reasons}));
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

    fn refuse_with(&self, operation: &str, body: Value) {
        self.set(operation, Fault::Refuse(body));
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
            Some(Fault::LoseFirstAnswer | Fault::LeaveUnprocessed(1)) => _ = faults.remove(operation),
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
        Some(Fault::Refuse(error)) => answer(400, &error),
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
