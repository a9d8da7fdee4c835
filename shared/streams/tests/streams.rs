//! Streams of several shards, which the embedded database does not have: a server that speaks DynamoDB Streams for the test.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets what it does not expect should panic"
)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use service::endpoint::Endpoint;
use streams::{Positions, Start, Stream, StreamError, sequence_number};
use tokio::net::TcpListener;

/// A table's stream.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<Shards>>);

#[derive(Default)]
struct Shards {
    /// By id: the parent, the numbers of the records, and true if the shard has ended.
    shards: BTreeMap<String, (Option<String>, Vec<u32>, bool)>,
    /// The faults of the next requests of an operation. An empty fault lets its request pass.
    faults: BTreeMap<String, VecDeque<&'static str>>,
}

impl Table {
    fn write(&self, shard: &str, number: u32) {
        self.0.lock().unwrap().shards.get_mut(shard).unwrap().1.push(number);
    }

    fn add(&self, shard: &str, parent: Option<&str>) {
        let new = (parent.map(str::to_owned), Vec::new(), false);
        self.0.lock().unwrap().shards.insert(shard.to_owned(), new);
    }

    fn end(&self, shard: &str) {
        self.0.lock().unwrap().shards.get_mut(shard).unwrap().2 = true;
    }

    fn fail(&self, operation: &str, faults: &[&'static str]) {
        let mut table = self.0.lock().unwrap();
        table.faults.entry(operation.to_owned()).or_default().extend(faults);
    }

    async fn stream(&self, start: Start) -> Stream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/", post(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Stream::new(Endpoint::local(url), "arn:aws:dynamodb:eu-north-1:0:table/t/stream/s".to_owned(), start)
    }
}

async fn answer(State(table): State<Table>, headers: HeaderMap, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.strip_prefix("DynamoDBStreams_20120810.").unwrap();
    let mut table = table.0.lock().unwrap();
    if let Some(fault) = table.faults.get_mut(operation).and_then(VecDeque::pop_front)
        && !fault.is_empty()
    {
        return (StatusCode::BAD_REQUEST, Json(json!({"__type": fault}))).into_response();
    }
    Json(match operation {
        // One shard for each page.
        "DescribeStream" => {
            let after = request["ExclusiveStartShardId"].as_str().unwrap_or_default();
            let mut rest = table.shards.iter().filter(|(id, _)| id.as_str() > after);
            let (id, (parent, ..)) = rest.next().unwrap();
            let shard = json!({"ShardId": id, "ParentShardId": parent, "SequenceNumberRange": {}});
            let last = rest.next().map(|_| id);
            json!({"StreamDescription": {"Shards": [shard], "LastEvaluatedShardId": last}})
        }
        "GetShardIterator" => {
            let id = request["ShardId"].as_str().unwrap();
            let (_, records, _) = &table.shards[id];
            let from = match request["ShardIteratorType"].as_str().unwrap() {
                "TRIM_HORIZON" => 0,
                "LATEST" => records.len(),
                "AFTER_SEQUENCE_NUMBER" => {
                    let after: u32 = request["SequenceNumber"].as_str().unwrap().parse().unwrap();
                    records.iter().position(|number| *number > after).unwrap_or(records.len())
                }
                other => panic!("{other}"),
            };
            json!({"ShardIterator": format!("{id}/{from}")})
        }
        "GetRecords" => {
            let (id, from) = request["ShardIterator"].as_str().unwrap().split_once('/').unwrap();
            let from: usize = from.parse().unwrap();
            let (_, records, has_ended) = &table.shards[id];
            let page: Vec<_> = records.iter().skip(from).take(2).collect();
            let next = from + page.len();
            let next = (next < records.len() || !has_ended).then(|| format!("{id}/{next}"));
            let record = |number: &&u32| json!({"dynamodb": {"SequenceNumber": number.to_string()}});
            json!({"Records": page.iter().map(record).collect::<Vec<_>>(), "NextShardIterator": next})
        }
        other => panic!("{other}"),
    })
    .into_response()
}

/// Reads once. Returns the numbers of the records.
async fn read(stream: &mut Stream) -> Result<Vec<u32>, StreamError> {
    let pages = stream.read().await?;
    let records = pages.iter().flat_map(|page| &page.records);
    Ok(records.map(|record| sequence_number(record).unwrap().parse().unwrap()).collect())
}

/// Reads until three reads in a row bring nothing new.
async fn read_all(stream: &mut Stream) -> Vec<u32> {
    let mut all = Vec::new();
    let mut nothing = 0;
    while nothing < 3 {
        let more = read(stream).await.unwrap();
        nothing = if more.is_empty() { nothing + 1 } else { 0 };
        all.extend(more);
    }
    all
}

#[tokio::test]
async fn a_shard_is_read_to_its_end_before_its_children_and_new_shards_are_found() {
    let table = Table::default();
    table.add("b-parent", None);
    table.add("a-child", Some("b-parent"));
    for number in 1..=5 {
        table.write("b-parent", number);
    }
    table.write("a-child", 6);
    table.end("b-parent");
    let mut stream = table.stream(Start::Oldest).await;
    assert_eq!(read_all(&mut stream).await, [1, 2, 3, 4, 5, 6]);

    table.end("a-child");
    table.add("c-grandchild", Some("a-child"));
    table.write("c-grandchild", 7);
    assert_eq!(read_all(&mut stream).await, [7]);
}

#[tokio::test]
async fn a_failing_shard_is_read_later_and_the_others_at_once() {
    let table = Table::default();
    for (shard, number) in [("a", 1), ("b", 2), ("c", 3)] {
        table.add(shard, None);
        table.write(shard, number);
    }
    let mut stream = table.stream(Start::Oldest).await;
    // The second of three shards fails.
    table.fail("GetRecords", &["", "ExpiredTokenException"]);
    assert_eq!(read(&mut stream).await.unwrap(), [1, 3]);
    assert_eq!(read(&mut stream).await.unwrap(), [2]);

    // If listing the shards fails, a new child is found later.
    table.end("a");
    table.add("d", Some("a"));
    table.write("d", 4);
    read(&mut stream).await.unwrap();
    table.fail("DescribeStream", &["AccessDeniedException"]);
    assert!(
        matches!(read(&mut stream).await, Err(StreamError::Refused(code)) if code == "AccessDeniedException")
    );
    assert_eq!(read_all(&mut stream).await, [4]);
}

#[tokio::test]
async fn an_expired_iterator_is_replaced_by_one_after_the_last_record() {
    let table = Table::default();
    table.add("a", None);
    table.write("a", 1);
    table.write("a", 2);
    let mut stream = table.stream(Start::Oldest).await;
    assert_eq!(read_all(&mut stream).await, [1, 2]);
    table.write("a", 3);
    table.fail("GetRecords", &["ExpiredIteratorException"]);
    assert_eq!(read_all(&mut stream).await, [3]);
}

#[tokio::test]
async fn lost_records_are_reported_and_the_remaining_ones_are_read() {
    let table = Table::default();
    table.add("a", None);
    table.add("b", None);
    for number in [5, 6] {
        table.write("a", number);
    }
    let positions = Positions::from([("a".to_owned(), "1".to_owned())]);
    let mut stream = table.stream(Start::After(positions)).await;
    table.fail("GetShardIterator", &["TrimmedDataAccessException"]);
    assert!(matches!(read(&mut stream).await, Err(StreamError::Lost)));
    assert_eq!(read_all(&mut stream).await, [5, 6]);

    // A shard that is gone does not delay the others.
    table.fail("GetRecords", &["ResourceNotFoundException"]);
    assert!(matches!(read(&mut stream).await, Err(StreamError::Lost)));
    table.write("b", 7);
    assert_eq!(read_all(&mut stream).await, [7]);
}

#[tokio::test]
async fn a_read_from_now_brings_only_records_written_after_the_first_read() {
    let table = Table::default();
    table.add("a-parent", None);
    table.end("a-parent");
    table.add("b-child", Some("a-parent"));
    table.add("c", None);
    for (shard, number) in [("a-parent", 1), ("b-child", 2), ("c", 3)] {
        table.write(shard, number);
    }
    let mut stream = table.stream(Start::Now).await;
    assert_eq!(read(&mut stream).await.unwrap(), Vec::<u32>::new());
    table.write("b-child", 4);
    table.write("c", 5);
    assert_eq!(read(&mut stream).await.unwrap(), [4, 5]);
    table.end("c");
    table.add("d-child", Some("c"));
    table.write("d-child", 6);
    assert_eq!(read_all(&mut stream).await, [6]);
}

#[tokio::test]
async fn a_read_from_saved_positions_brings_later_records_and_new_shards_from_their_start() {
    let table = Table::default();
    table.add("a", None);
    table.add("b", None);
    for (shard, number) in [("a", 1), ("a", 2), ("b", 3)] {
        table.write(shard, number);
    }
    let mut stream = table.stream(Start::After(Positions::from([("a".to_owned(), "1".to_owned())]))).await;
    assert_eq!(read_all(&mut stream).await, [2, 3]);
    assert_eq!(stream.shards().collect::<Vec<_>>(), ["a", "b"]);
}
