//! Reading the stream of a table: all of its shards, each in its order, from where one wants to begin.
//!
//! A shard is a part of the stream. It ends after a few hours and has children then, which are read once it has been read to
//! its end; so what becomes of one item is read in its order.

use std::collections::BTreeMap;
use std::error::Error;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::http::HttpResponse;
use aws_sdk_dynamodbstreams::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodbstreams::types::{Record, Shard, ShardIteratorType, StreamRecord};
use chrono::DateTime;
use serde_dynamo::{AttributeValue, Item};
use serde_json::{Value, json};
use subscriptions::endpoint::Endpoint;
use subscriptions::store::stream::Write;

/// How many records are read of a shard at once: as many as the template hands to the function.
const PAGE: i32 = 100;

/// How far each shard has been read: the sequence number of its last record.
pub type Positions = BTreeMap<String, String>;

/// Where to begin.
#[derive(Clone, Debug)]
pub enum Start {
    /// With the oldest record that there is.
    Oldest,
    /// With what is written from now on.
    Now,
    /// After these; in shards that are not among them, with the oldest.
    After(Positions),
}

/// A stream that can't be read at the moment.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StreamError(String);

impl StreamError {
    fn from_sdk<E: ProvideErrorMetadata + Error + 'static>(error: SdkError<E, HttpResponse>) -> Self {
        Self(match error.code() {
            Some(code) => format!("the stream can't be read: {code}"),
            None => format!("the stream can't be read: {}", DisplayErrorContext(&error)),
        })
    }
}

/// The stream of a table.
pub struct Stream {
    client: Client,
    arn: String,
    start: Start,
    /// Those that are known, by their ids.
    shards: BTreeMap<String, Reading>,
}

/// A shard that is being read.
struct Reading {
    parent: Option<String>,
    next: Next,
    /// The sequence number of the last record.
    last: Option<String>,
}

/// Where a shard is read on.
enum Next {
    /// With its oldest record.
    Oldest,
    /// With what is written from now on.
    Now,
    /// After the record of this sequence number.
    After(String),
    /// At this iterator, which the database gave for it.
    At(String),
    /// Nowhere: it has ended.
    Ended,
}

/// What has been read of a shard.
pub struct Page {
    /// The shard.
    pub shard: String,
    /// Its next records.
    pub records: Vec<Record>,
}

impl Stream {
    /// The stream of this ARN.
    #[must_use]
    pub fn new(endpoint: Endpoint, arn: String, start: Start) -> Self {
        Self { client: Client::new(&endpoint.sdk_config()), arn, start, shards: BTreeMap::new() }
    }

    /// Reads on: the next page of each shard that has one.
    ///
    /// # Errors
    /// The stream can't be read. Nothing of it is lost, as long as it is read on within 24 hours.
    pub async fn read(&mut self) -> Result<Vec<Page>, StreamError> {
        if self.shards.values().all(|shard| matches!(shard.next, Next::Ended)) {
            self.look_for_shards().await?;
        }
        let has_ended =
            |id: &String| self.shards.get(id).is_none_or(|shard| matches!(shard.next, Next::Ended));
        let ready = self.shards.iter().filter(|(_, shard)| {
            !matches!(shard.next, Next::Ended) && shard.parent.as_ref().is_none_or(has_ended)
        });
        let mut pages = Vec::new();
        let mut some_ended = false;
        for id in ready.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let records = self.read_shard(&id).await?;
            some_ended |= self.shards.get(&id).is_some_and(|shard| matches!(shard.next, Next::Ended));
            if !records.is_empty() {
                pages.push(Page { shard: id, records });
            }
        }
        if some_ended {
            self.look_for_shards().await?;
        }
        Ok(pages)
    }

    /// Takes in the shards that are not known yet.
    async fn look_for_shards(&mut self) -> Result<(), StreamError> {
        let mut after = None;
        loop {
            let request = self.client.describe_stream().stream_arn(&self.arn);
            let answer = request.set_exclusive_start_shard_id(after).send().await;
            let Some(stream) = answer.map_err(StreamError::from_sdk)?.stream_description else {
                return Ok(());
            };
            let is_first = self.shards.is_empty();
            for shard in stream.shards.unwrap_or_default() {
                let Shard { shard_id: Some(id), parent_shard_id: parent, .. } = shard else { continue };
                let next = match &self.start {
                    Start::After(positions) => positions.get(&id).cloned().map_or(Next::Oldest, Next::After),
                    Start::Now if is_first => Next::Now,
                    // What has begun since is new as a whole.
                    Start::Now | Start::Oldest => Next::Oldest,
                };
                let reading = Reading { parent, next, last: None };
                self.shards.entry(id).or_insert(reading);
            }
            after = stream.last_evaluated_shard_id;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn read_shard(&mut self, id: &str) -> Result<Vec<Record>, StreamError> {
        let Some(Reading { next, last, .. }) = self.shards.get_mut(id) else { return Ok(Vec::new()) };
        let (kind, after) = match next {
            Next::Ended | Next::At(_) => (None, None),
            Next::Oldest => (Some(ShardIteratorType::TrimHorizon), None),
            Next::Now => (Some(ShardIteratorType::Latest), None),
            Next::After(last) => (Some(ShardIteratorType::AfterSequenceNumber), Some(last.clone())),
        };
        if let Some(kind) = kind {
            let request = self.client.get_shard_iterator().stream_arn(&self.arn).shard_id(id);
            let request = request.shard_iterator_type(kind).set_sequence_number(after);
            match request.send().await {
                Ok(answer) => *next = answer.shard_iterator.map_or(Next::Ended, Next::At),
                Err(error) => {
                    // What came after it is gone, or it is of another stream: there is nothing left to miss.
                    if matches!(next, Next::After(_)) && is_lost(error.code()) {
                        *next = Next::Oldest;
                    }
                    return Err(StreamError::from_sdk(error));
                }
            }
        }
        let Next::At(iterator) = next else { return Ok(Vec::new()) };
        match self.client.get_records().shard_iterator(iterator.clone()).limit(PAGE).send().await {
            Ok(answer) => {
                *next = answer.next_shard_iterator.map_or(Next::Ended, Next::At);
                let records = answer.records.unwrap_or_default();
                if let Some(number) = records.iter().rev().find_map(sequence_number) {
                    *last = Some(number.to_owned());
                }
                Ok(records)
            }
            Err(error) => {
                // Iterators last for minutes only.
                if error.code() == Some("ExpiredIteratorException") {
                    *next = match (&last, &self.start) {
                        (Some(last), _) => Next::After(last.clone()),
                        (None, Start::Now) => Next::Now,
                        (None, Start::After(positions)) if positions.contains_key(id) => {
                            Next::After(positions.get(id).cloned().unwrap_or_default())
                        }
                        (None, _) => Next::Oldest,
                    };
                }
                if is_lost(error.code()) {
                    *next = Next::Oldest;
                }
                Err(StreamError::from_sdk(error))
            }
        }
    }
}

/// Whether an error says that what was asked for is no longer there.
fn is_lost(code: Option<&str>) -> bool {
    matches!(code, Some("TrimmedDataAccessException" | "ResourceNotFoundException" | "ValidationException"))
}

/// Where in its shard a record is.
#[must_use]
pub fn sequence_number(record: &Record) -> Option<&str> {
    record.dynamodb.as_ref()?.sequence_number.as_deref()
}

/// What a record tells.
#[must_use]
pub fn as_write(record: Record) -> Write {
    let change = record.dynamodb.unwrap_or_else(|| StreamRecord::builder().build());
    let item = |image: Option<_>| image.map(Item::from).unwrap_or_default();
    let at = change.approximate_creation_date_time.and_then(|at| DateTime::from_timestamp(at.secs(), 0));
    Write {
        keys: item(change.keys),
        before: item(change.old_image),
        after: item(change.new_image),
        at: at.unwrap_or_default(),
    }
}

/// A record as Lambda hands it to a function.
#[must_use]
pub fn as_in_an_event(record: Record, stream_arn: &str) -> Value {
    let change = record.dynamodb.unwrap_or_else(|| StreamRecord::builder().build());
    let item = |image: Option<_>| -> Value {
        let image: Item = image.map(Item::from).unwrap_or_default();
        image
            .into_inner()
            .into_iter()
            .map(|(name, value): (String, AttributeValue)| (name, json!(value)))
            .collect()
    };
    let mut dynamodb = json!({
        "ApproximateCreationDateTime": change.approximate_creation_date_time.map(|at| at.as_secs_f64()),
        "Keys": item(change.keys),
        "SequenceNumber": change.sequence_number,
        "SizeBytes": change.size_bytes.unwrap_or_default(),
        "StreamViewType": change.stream_view_type.map(|kind| kind.as_str().to_owned()),
    });
    // An item that is not there is left out, as Lambda does.
    for (name, image) in [("NewImage", change.new_image), ("OldImage", change.old_image)] {
        if let (Some(image), Value::Object(members)) = (image, &mut dynamodb) {
            members.insert(name.to_owned(), item(Some(image)));
        }
    }
    json!({
        "eventID": record.event_id,
        "eventName": record.event_name.map(|name| name.as_str().to_owned()),
        "eventVersion": record.event_version,
        "eventSource": record.event_source,
        "awsRegion": record.aws_region,
        "dynamodb": dynamodb,
        "eventSourceARN": stream_arn,
    })
}
