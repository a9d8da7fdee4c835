//! What an operation asks of DynamoDB: the requests, counted at the wire, and the capacity units they consume.
//!
//! An emulator's own account of units differs from one emulator to the next (it is shown as well), so they are counted by
//! DynamoDB's documentation, from the items themselves: a consistent read takes a unit for each started 4 KiB of an item, half
//! of that if it is eventually consistent, and one if there is no item; a write takes a unit for each started KiB of the item
//! before or after, whichever is larger, whether its condition holds or not, and twice that in a transaction; and an index
//! takes a unit for each entry that is added, changed or removed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use dynoxide::types::{Item, item_size};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A proxy in front of the database.
pub struct Meter {
    pub url: String,
    inner: Arc<Inner>,
}

struct Inner {
    database: String,
    client: reqwest::Client,
    used: Mutex<Used>,
}

/// What was asked of DynamoDB.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// The requests, by operation, in their order.
    pub requests: Vec<String>,
    /// Read units.
    pub read: f64,
    /// Write units.
    pub write: f64,
    /// The units by the emulator's account.
    pub by_emulator: f64,
}

impl Used {
    /// What was used beyond something else.
    pub fn without(mut self, other: &Self) -> Self {
        self.requests.drain(..other.requests.len());
        self.read -= other.read;
        self.write -= other.write;
        self.by_emulator -= other.by_emulator;
        self
    }
}

impl Meter {
    pub async fn start(database: &str) -> Self {
        let inner = Arc::new(Inner {
            database: database.to_owned(),
            client: reqwest::Client::new(),
            used: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(pass).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, inner }
    }

    /// What was used since this was asked last.
    pub fn take(&self) -> Used {
        std::mem::take(&mut *self.inner.used.lock().unwrap())
    }
}

async fn pass(State(meter): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap().to_owned();
    let operation = target.rsplit('.').next().unwrap();
    let mut request: Value = serde_json::from_slice(&body).unwrap();
    request["ReturnConsumedCapacity"] = json!("TOTAL");

    let writes = writes(operation, &request);
    let before = meter.read(&headers, &writes).await;
    let (status, answer) = meter.ask(&headers, operation, &request).await;
    let after = meter.read(&headers, &writes).await;

    let answered: Value = serde_json::from_slice(&answer).unwrap();
    let mut used = meter.used.lock().unwrap();
    used.requests.push(operation.to_owned());
    used.by_emulator += emulated(&answered["ConsumedCapacity"]);
    used.read += read_units(operation, &request, &answered);
    for (write, (before, after)) in writes.iter().zip(before.iter().zip(&after)) {
        used.write += write.units(before.as_ref(), after.as_ref());
    }
    (status, [("content-type", "application/x-amz-json-1.0")], answer).into_response()
}

impl Inner {
    /// Asks the database, with the headers of the request that came: the emulator wants a signature, and doesn't check it.
    async fn ask(&self, headers: &HeaderMap, operation: &str, request: &Value) -> (StatusCode, Bytes) {
        let mut headers = headers.clone();
        headers.remove("content-length");
        headers.insert("x-amz-target", format!("DynamoDB_20120810.{operation}").parse().unwrap());
        let sent = self.client.post(&self.database).headers(headers).body(request.to_string());
        let answer = sent.send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    }

    /// The items that are written, as they are now.
    async fn read(&self, headers: &HeaderMap, writes: &[Write]) -> Vec<Option<Item>> {
        let mut items = Vec::new();
        for write in writes {
            let request = json!({"TableName": write.table, "Key": {"pk": write.key}, "ConsistentRead": true});
            let (_, answer) = self.ask(headers, "GetItem", &request).await;
            items.push(item(&serde_json::from_slice::<Value>(&answer).unwrap()["Item"]));
        }
        items
    }
}

/// A write that a request asks for.
struct Write {
    table: String,
    key: Value,
    /// What a put would write.
    new: Option<Item>,
    in_transaction: bool,
}

fn writes(operation: &str, request: &Value) -> Vec<Write> {
    let write = |asked: &Value, in_transaction| Write {
        table: asked["TableName"].as_str().unwrap().to_owned(),
        key: asked.get("Key").unwrap_or(&asked["Item"])["pk"].clone(),
        new: item(&asked["Item"]),
        in_transaction,
    };
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => vec![write(request, false)],
        "TransactWriteItems" => {
            let all = request["TransactItems"].as_array().unwrap().iter();
            all.map(|asked| write(asked.as_object().unwrap().values().next().unwrap(), true)).collect()
        }
        "GetItem" | "BatchGetItem" | "Query" => Vec::new(),
        other => panic!("the meter knows nothing of {other}"),
    }
}

impl Write {
    fn units(&self, before: Option<&Item>, after: Option<&Item>) -> f64 {
        let sizes = [before, after, self.new.as_ref()].map(|item| item.map_or(0, item_size));
        let own = started(sizes.into_iter().max().unwrap_or(0), 1024);
        let in_index = match (before.and_then(index_entry), after.and_then(index_entry)) {
            (None, None) => 0.0,
            (Some(before), Some(after)) if before == after => 0.0,
            // The old entry is removed and a new one is added, unless they are in the same place.
            (Some(before), Some(after)) if before[..2] != after[..2] => 2.0,
            _ => 1.0,
        };
        own * if self.in_transaction { 2.0 } else { 1.0 } + in_index
    }
}

/// What the index `due` has of an item.
fn index_entry(item: &Item) -> Option<Vec<Option<&dynoxide::AttributeValue>>> {
    let names = ["dueShard", "dueAt", "pk", "cancellationId"];
    (item.contains_key("dueShard") && item.contains_key("dueAt"))
        .then(|| names.iter().map(|name| item.get(*name)).collect())
}

fn read_units(operation: &str, request: &Value, answer: &Value) -> f64 {
    let factor = |asked: &Value| if asked["ConsistentRead"] == json!(true) { 1.0 } else { 0.5 };
    let size = |found: &Value| item(found).as_ref().map_or(0, item_size);
    let list = |found: &Value| found.as_array().cloned().unwrap_or_default();
    match operation {
        "GetItem" => factor(request) * started(size(&answer["Item"]), 4096),
        "BatchGetItem" => {
            let tables = request["RequestItems"].as_object().unwrap();
            let units = tables.iter().map(|(table, asked)| {
                let found = list(&answer["Responses"][table]);
                let missing = list(&asked["Keys"]).len() - found.len();
                let units = found.iter().map(|found| started(size(found), 4096)).sum::<f64>();
                factor(asked) * (units + missing as f64)
            });
            units.sum()
        }
        // A query pays for the sum of what it finds.
        "Query" => factor(request) * started(list(&answer["Items"]).iter().map(size).sum(), 4096),
        _ => 0.0,
    }
}

/// How many units of so many bytes an item of this size has begun: at least one.
fn started(size: usize, unit: usize) -> f64 {
    size.div_ceil(unit).max(1) as f64
}

fn item(value: &Value) -> Option<Item> {
    serde_json::from_value::<HashMap<_, _>>(value.clone()).ok()
}

/// The sum of what the emulator says of each table.
fn emulated(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(emulated).sum(),
        consumed => consumed["CapacityUnits"].as_f64().unwrap_or(0.0),
    }
}
