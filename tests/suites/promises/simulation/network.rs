//! A network on which nothing happens by itself. Each request of the SDK waits until it is delivered to a real database, over
//! HTTP, one at a time. So the order of everything is the choice of the code that delivers, and the same choices give the same
//! run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use local::database;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc as async_mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// The messages that were sent and not delivered yet.
#[derive(Debug, Default)]
pub struct Network {
    waiting: Arc<Mutex<Vec<Message>>>,
    clients: AtomicUsize,
}

/// The end of the network at one client.
#[derive(Clone, Debug)]
struct Client {
    waiting: Arc<Mutex<Vec<Message>>>,
    number: usize,
}

/// A request to the database or the bus on its way.
#[derive(Debug)]
pub struct Message {
    /// The client that has sent it.
    pub sender: usize,
    pub operation: String,
    pub body: Value,
    reply: oneshot::Sender<Result<Reply, ConnectorError>>,
}

/// The answer of the database, or of something on the way.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Network {
    /// Returns an HTTP client with which the SDK sends into this network.
    pub fn client(&self) -> SharedHttpClient {
        let number = self.clients.fetch_add(1, Ordering::SeqCst);
        let connector = SharedHttpConnector::new(Client { waiting: self.waiting.clone(), number });
        http_client_fn(move |_, _| connector.clone())
    }

    /// Returns the number of waiting messages.
    pub fn waiting(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }

    /// Removes a waiting message and returns it.
    pub fn take(&self, index: usize) -> Message {
        self.waiting.lock().unwrap().remove(index)
    }

    /// Discards all waiting messages.
    pub fn lose_all(&self) {
        self.waiting.lock().unwrap().clear();
    }
}

impl HttpConnector for Client {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (reply, answer) = oneshot::channel();
        let target = request.headers().get("x-amz-target").unwrap();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        self.waiting.lock().unwrap().push(Message { sender: self.number, operation, body, reply });
        HttpConnectorFuture::new(async move {
            // A message that is dropped without a reply breaks the connection.
            let Reply { status, body } = answer.await.unwrap_or_else(|_| Err(broken()))?;
            Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string())))
        })
    }
}

impl Message {
    /// Answers the message, if its sender still waits.
    pub fn reply(self, reply: Reply) {
        let _ = self.reply.send(Ok(reply));
    }

    /// Breaks the connection to the sender.
    pub fn disconnect(self) {
        let _ = self.reply.send(Err(broken()));
    }
}

fn broken() -> ConnectorError {
    ConnectorError::io("the connection is broken".into())
}

/// A database in a thread of its own.
pub struct Database {
    requests: async_mpsc::UnboundedSender<(String, Value, mpsc::Sender<Reply>)>,
}

impl Database {
    /// Starts a database in memory.
    pub fn start() -> Self {
        let (requests, mut inbox) = async_mpsc::unbounded_channel::<(String, Value, mpsc::Sender<Reply>)>();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let url = format!("http://{}", listener.local_addr().unwrap());
                let stop = CancellationToken::new();
                let server = database::serve(listener, None, stop.clone()).unwrap();
                let client = reqwest::Client::new();
                while let Some((operation, body, reply)) = inbox.recv().await {
                    let _ = reply.send(ask(&client, &url, &operation, &body).await);
                }
                stop.cancel();
                drop(client);
                server.await.unwrap().unwrap();
            });
        });
        Self { requests }
    }

    /// Sends a request to the database, and blocks until it has answered. Nothing else happens meanwhile.
    pub fn ask(&self, operation: &str, body: &Value) -> Reply {
        let (reply, answer) = mpsc::channel();
        self.requests.send((operation.to_owned(), body.clone(), reply)).unwrap();
        answer.recv().unwrap()
    }

    /// Reads an item as it is stored. Returns null if there is none.
    pub fn item(&self, table: &str, key: &Value) -> Value {
        let reply =
            self.ask("GetItem", &json!({"TableName": table, "Key": {"pk": key}, "ConsistentRead": true}));
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body["Item"].clone()
    }

    /// Reads all items of a table, or of one of its indexes.
    pub fn scan(&self, table: &str, index: Option<&str>) -> Vec<Value> {
        let reply = self.ask("Scan", &json!({"TableName": table, "IndexName": index}));
        assert_eq!((reply.status, &reply.body["LastEvaluatedKey"]), (200, &Value::Null), "{}", reply.body);
        reply.body["Items"].as_array().unwrap().clone()
    }

    /// Reads up to `most` records of a table's stream, after the one with this sequence number or from the oldest on.
    pub fn stream(&self, table: &str, after: Option<&str>, most: usize) -> Vec<Value> {
        let ask = |operation: &str, body: Value| {
            let reply = self.ask(operation, &body);
            assert_eq!(reply.status, 200, "{operation}: {}", reply.body);
            reply.body
        };
        let arn = &ask("DescribeTable", json!({"TableName": table}))["Table"]["LatestStreamArn"];
        let shards = ask("DescribeStream", json!({"StreamArn": arn}));
        let mut from = json!({
            "StreamArn": arn,
            "ShardId": shards["StreamDescription"]["Shards"][0]["ShardId"],
            "ShardIteratorType": "TRIM_HORIZON",
        });
        if let Some(number) = after {
            from["ShardIteratorType"] = json!("AFTER_SEQUENCE_NUMBER");
            from["SequenceNumber"] = json!(number);
        }
        let iterator = ask("GetShardIterator", from);
        let page = ask("GetRecords", json!({"ShardIterator": iterator["ShardIterator"], "Limit": most}));
        page["Records"].as_array().unwrap().clone()
    }
}

async fn ask(client: &reqwest::Client, url: &str, operation: &str, body: &Value) -> Reply {
    let interface = match operation {
        "DescribeStream" | "GetShardIterator" | "GetRecords" => "DynamoDBStreams_20120810",
        _ => "DynamoDB_20120810",
    };
    let credential = "Credential=local/20260101/eu-north-1/dynamodb/aws4_request";
    let request = client
        .post(url)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("{interface}.{operation}"))
        .header("x-amz-date", "20260101T000000Z")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host;x-amz-date, Signature=0"),
        )
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap();
    Reply { status, body: serde_json::from_slice(&body).unwrap() }
}
