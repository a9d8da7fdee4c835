//! Reads the stream of the table, as Lambda does: all of its shards, each in its order, from a given beginning.
//!
//! A shard is a part of the stream. It ends after a few hours and then has children. They are read once it has been read to its
//! end, so the records of one item come in their order.
//!
//! *Invariant:* nothing here changes the table or its stream, and nothing is remembered outside of a [`Stream`]: the caller keeps
//! how far it has come.

#![warn(missing_docs)]

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::http::HttpResponse;
use aws_sdk_dynamodbstreams::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
pub use aws_sdk_dynamodbstreams::types::Record;
use aws_sdk_dynamodbstreams::types::{Shard, ShardIteratorType};
use service::endpoint::Endpoint;

pub use self::record::{as_in_an_event, as_write, sequence_number};

/// How many records are read of a shard at once: as many as the template hands to the function.
const PAGE: i32 = 100;

/// How far each shard has been read: the sequence number of its last record.
pub type Positions = BTreeMap<String, String>;

/// Where to begin.
#[derive(Clone, Debug)]
pub enum Start {
    /// With the oldest record that there is.
    Oldest,
    /// With what is written after the first read.
    Now,
    /// After these; in shards that are not among them, with the oldest.
    After(Positions),
}

/// Why a stream was not read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// It can't be at the moment.
    #[error("the stream can't be read for now: {0}")]
    Unavailable(String),
    /// It can't be, and no retry mends that.
    #[error("the stream can't be read: {0}")]
    Refused(String),
    /// What came next in a shard is gone: the stream keeps records for 24 hours only.
    #[error("records of the stream were removed before they were read")]
    Lost,
}

impl StreamError {
    fn from_sdk<E: ProvideErrorMetadata + Error + 'static>(error: SdkError<E, HttpResponse>) -> Self {
        const PASSING: [&str; 4] =
            ["InternalServerError", "LimitExceededException", "ThrottlingException", "ServiceUnavailable"];
        match error.code() {
            Some(code) if PASSING.contains(&code) => Self::Unavailable(code.to_owned()),
            Some(code) => Self::Refused(code.to_owned()),
            None => Self::Unavailable(DisplayErrorContext(&error).to_string()),
        }
    }
}

/// The stream of a table.
pub struct Stream {
    client: Client,
    arn: String,
    start: Start,
    /// Those that are known, by their ids.
    shards: BTreeMap<String, Reading>,
    has_begun: bool,
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

impl Reading {
    fn has_ended(&self) -> bool {
        matches!(self.next, Next::Ended)
    }
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
        let client = Client::new(&endpoint.sdk_config());
        Self { client, arn, start, shards: BTreeMap::new(), has_begun: false }
    }

    /// Reads on: the next page of each shard that has one. What could be read is returned, though something could not; that
    /// shows at the next read, or has passed by then.
    ///
    /// # Errors
    /// Nothing could be read. Nothing of it is lost, as long as it is read on within 24 hours.
    pub async fn read(&mut self) -> Result<Vec<Page>, StreamError> {
        if self.may_have_more_shards() {
            self.look_for_shards().await?;
        }
        let has_ended = |id: &String| self.shards.get(id).is_none_or(Reading::has_ended);
        let is_next = |shard: &Reading| !shard.has_ended() && shard.parent.as_ref().is_none_or(has_ended);
        let next = self.shards.iter().filter(|(_, shard)| is_next(shard)).map(|(id, _)| id.clone());
        let mut pages = Vec::new();
        let mut failure = None;
        for id in next.collect::<Vec<_>>() {
            match self.read_shard(&id).await {
                Ok(records) if records.is_empty() => {}
                Ok(records) => pages.push(Page { shard: id, records }),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if pages.is_empty() => Err(error),
            _ => Ok(pages),
        }
    }

    /// The shards that there are.
    pub fn shards(&self) -> impl Iterator<Item = &String> {
        self.shards.keys()
    }

    /// Whether there may be shards that are not known: at the beginning, and when one has ended whose child is not.
    fn may_have_more_shards(&self) -> bool {
        let parents: BTreeSet<_> = self.shards.values().filter_map(|shard| shard.parent.as_ref()).collect();
        !self.has_begun || self.shards.iter().any(|(id, shard)| shard.has_ended() && !parents.contains(id))
    }

    /// Takes in the shards that are not known yet, and forgets those that are gone.
    async fn look_for_shards(&mut self) -> Result<(), StreamError> {
        let mut listed: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut after = None;
        loop {
            let request = self.client.describe_stream().stream_arn(&self.arn);
            let answer = request.set_exclusive_start_shard_id(after).send().await;
            let Some(stream) = answer.map_err(StreamError::from_sdk)?.stream_description else { break };
            listed.extend(stream.shards.unwrap_or_default().into_iter().filter_map(|shard| {
                let Shard { shard_id, parent_shard_id, .. } = shard;
                Some((shard_id?, parent_shard_id))
            }));
            after = stream.last_evaluated_shard_id;
            if after.is_none() {
                break;
            }
        }
        self.shards.retain(|id, _| listed.contains_key(id));
        let parents: BTreeSet<_> = listed.values().flatten().cloned().collect();
        for (id, parent) in listed {
            let next = match &self.start {
                Start::After(positions) => positions.get(&id).cloned().map_or(Next::Oldest, Next::After),
                Start::Now if !self.has_begun && parents.contains(&id) => Next::Ended,
                Start::Now if !self.has_begun => Next::Now,
                // What has begun since is new as a whole.
                Start::Now | Start::Oldest => Next::Oldest,
            };
            self.shards.entry(id).or_insert(Reading { parent, next, last: None });
        }
        self.has_begun = true;
        Ok(())
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
                Err(error) => return Err(lose(next, error.code()).unwrap_or(StreamError::from_sdk(error))),
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
            // Iterators last for minutes only. Another one begins where the last page ended.
            Err(error) if error.code() == Some("ExpiredIteratorException") => {
                *next = match (&last, &self.start) {
                    (Some(last), _) => Next::After(last.clone()),
                    (None, Start::Now) => Next::Now,
                    (None, Start::After(positions)) => {
                        positions.get(id).cloned().map_or(Next::Oldest, Next::After)
                    }
                    (None, Start::Oldest) => Next::Oldest,
                };
                Ok(Vec::new())
            }
            Err(error) => Err(lose(next, error.code()).unwrap_or(StreamError::from_sdk(error))),
        }
    }
}

/// Goes on where there is something left, if what came next is gone.
fn lose(next: &mut Next, code: Option<&str>) -> Option<StreamError> {
    *next = match (code, &next) {
        (Some("ResourceNotFoundException"), _) => Next::Ended,
        // A sequence number that is none of this stream is as good as gone.
        (Some("TrimmedDataAccessException"), _) | (Some("ValidationException"), Next::After(_)) => {
            Next::Oldest
        }
        _ => return None,
    };
    Some(StreamError::Lost)
}
