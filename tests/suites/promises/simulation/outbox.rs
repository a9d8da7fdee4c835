//! Lambda as the reader of the table's stream. It invokes the function that publishes changes, one invocation at a time, with
//! the records after those that were published.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use service::clock;
use service::publish::Publisher;
use tokio::task::JoinHandle;

use super::network::Database;

/// Position up to which the stream was published, and the invocation under way.
#[derive(Default)]
pub struct Outbox {
    /// The sequence number of the last record that was published.
    published: Option<String>,
    invocation: Option<Invocation>,
}

struct Invocation {
    /// The sequence numbers of its records.
    records: Vec<String>,
    begun: DateTime<Utc>,
    task: JoinHandle<Option<String>>,
}

impl Outbox {
    /// Invokes the function with the next records, and returns their number. Does nothing if there are none, or if the function
    /// is running.
    pub fn invoke(
        &mut self,
        database: &Database,
        publisher: Arc<Publisher>,
        most: usize,
        now: DateTime<Utc>,
    ) -> Option<usize> {
        if self.invocation.is_some() {
            return None;
        }
        let records = database.stream("subscriptions", self.published.as_deref(), most);
        if records.is_empty() {
            return None;
        }
        let numbers =
            records.iter().map(|record| record["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned());
        let numbers: Vec<_> = numbers.collect();
        let count = numbers.len();
        let task = tokio::spawn(async move {
            let event: Value = json!({"Records": records});
            let mut context = Context::default();
            context.deadline = clock::deadline_in(Duration::from_secs(3600));
            let event = LambdaEvent::new(serde_json::from_value(event).unwrap(), context);
            let answer = publish_events::handle(&publisher, event).await.unwrap();
            answer.batch_item_failures.into_iter().find_map(|failure| failure.item_identifier)
        });
        self.invocation = Some(Invocation { records: numbers, begun: now, task });
        Some(count)
    }

    /// Returns true if an invocation has returned.
    pub fn has_returned(&self) -> bool {
        self.invocation.as_ref().is_some_and(|invocation| invocation.task.is_finished())
    }

    /// Waits until the invocation returns. Returns the number of its records that were published, and the number of all its
    /// records.
    pub async fn returned(&mut self) -> (usize, usize) {
        let Invocation { records, task, .. } = self.invocation.take().unwrap();
        let published = match task.await.unwrap() {
            None => records.len(),
            Some(again) => {
                records.iter().position(|number| *number == again).expect("not one of its records")
            }
        };
        if let Some(last) = records[..published].last() {
            self.published = Some(last.clone());
        }
        (published, records.len())
    }

    /// Kills the invocation if it began before this instant. Returns true if there was one.
    pub fn kill(&mut self, before: DateTime<Utc>) -> bool {
        let killed = self.invocation.take_if(|invocation| invocation.begun < before);
        killed.is_some_and(|invocation| {
            invocation.task.abort();
            true
        })
    }
}
