//! Reads the stream of the table, as Lambda does: all of its shards, each in its order, from a given beginning.
//!
//! A shard is a part of the stream. It ends after a few hours and then has children. The children are read after the end of their
//! parent, so the records of one item come in their order.
//!
//! *Invariant:* nothing here changes the table or its stream, and nothing is remembered outside of a [`Stream`]: the caller keeps
//! the positions.

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

/// Most records that are read from a shard at once: the batch size of the function in the template.
const PAGE: i32 = 100;

/// The position in each shard: the sequence number of its last record that was read.
pub type Positions = BTreeMap<String, String>;

/// The first records to read.
#[derive(Clone, Debug)]
pub enum Start {
    /// The oldest records that exist.
    Oldest,
    /// Records that are written after the first read.
    Now,
    /// Records after these positions. In shards without a position, the oldest.
    After(Positions),
}

/// The reason why a stream was not read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// The stream can't be read at the moment. A retry may work.
    #[error("the stream can't be read at the moment: {0}")]
    Unavailable(String),
    /// The stream can't be read, and no retry fixes that.
    #[error("the stream can't be read: {0}")]
    Refused(String),
    /// The next records of a shard are gone: the stream keeps records for 24 hours only.
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
    /// The known shards, by their ids.
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

/// The next records to read from a shard.
enum Next {
    /// The oldest records of the shard.
    Oldest,
    /// Records that are written from now on.
    Now,
    /// Records after the one with this sequence number.
    After(String),
    /// Records at this iterator, which the database returned.
    At(String),
    /// The shard has ended, and all its records are read.
    Ended,
}

impl Reading {
    fn has_ended(&self) -> bool {
        matches!(self.next, Next::Ended)
    }
}

/// A page of records of one shard.
pub struct Page {
    /// The shard.
    pub shard: String,
    /// The next records of the shard.
    pub records: Vec<Record>,
}

impl Stream {
    /// Returns the stream with this ARN.
    #[must_use]
    pub fn new(endpoint: Endpoint, arn: String, start: Start) -> Self {
        let client = Client::new(&endpoint.sdk_config());
        Self { client, arn, start, shards: BTreeMap::new(), has_begun: false }
    }

    /// Reads the next page of each shard that has one. Returns the pages that could be read, even if another shard failed. That
    /// failure shows at the next read, or has passed by then.
    ///
    /// # Errors
    /// Nothing could be read. Nothing is lost, as long as reading goes on within 24 hours.
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

    /// Returns the ids of the known shards.
    pub fn shards(&self) -> impl Iterator<Item = &String> {
        self.shards.keys()
    }

    /// Returns true if there may be unknown shards: at the beginning, and when a shard has ended whose child is unknown.
    fn may_have_more_shards(&self) -> bool {
        let parents: BTreeSet<_> = self.shards.values().filter_map(|shard| shard.parent.as_ref()).collect();
        !self.has_begun || self.shards.iter().any(|(id, shard)| shard.has_ended() && !parents.contains(id))
    }

    /// Adds the shards that are not known yet, and removes those that are gone.
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
                // A shard that has begun since the first read is new as a whole.
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

/// Handles the loss of the next records: goes on with the oldest record, or ends if the shard is gone. `None` if nothing was lost.
fn lose(next: &mut Next, code: Option<&str>) -> Option<StreamError> {
    *next = match (code, &next) {
        (Some("ResourceNotFoundException"), _) => Next::Ended,
        // A sequence number that does not belong to this stream counts as lost.
        (Some("TrimmedDataAccessException"), _) | (Some("ValidationException"), Next::After(_)) => {
            Next::Oldest
        }
        _ => return None,
    };
    Some(StreamError::Lost)
}
