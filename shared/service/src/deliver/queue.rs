//! The queue of events and deliveries: Amazon SQS.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::config::retry::RetryPartition;
use aws_sdk_sqs::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use aws_types::SdkConfig;
use chrono::{DateTime, Utc};
use domain::webhook::Delivery;

/// SQS's limit for the number of messages in one request.
const MOST_MESSAGES: usize = 10;
/// SQS's limit for a delay, in seconds.
const LONGEST_DELAY: i64 = 900;

/// A client of the queue.
#[derive(Clone, Debug)]
pub struct DeliveryQueue {
    client: Client,
    url: String,
}

impl DeliveryQueue {
    /// Builds a client of the queue at this URL.
    #[must_use]
    pub fn new(sqs: &SdkConfig, url: String) -> Self {
        let retries = RetryPartition::custom("deliveries").build();
        Self { client: Client::from_conf(Builder::from(sqs).retry_partition(retries).build()), url }
    }

    /// Puts deliveries into the queue, each delayed until its pause is over, to the nearest second, or as long as SQS can.
    ///
    /// # Errors
    /// SQS did not take all of them, for this reason. Some may be in the queue.
    pub async fn send(&self, deliveries: &[Delivery], now: DateTime<Utc>) -> Result<(), String> {
        for together in deliveries.chunks(MOST_MESSAGES) {
            let entries = together.iter().enumerate().map(|(number, delivery)| entry(number, delivery, now));
            let entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
            let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
            let sent = request.send().await.map_err(|error| match error.code() {
                Some(code) => code.to_owned(),
                None => DisplayErrorContext(&error).to_string(),
            })?;
            if let Some(failed) = sent.failed().first() {
                return Err(failed.code().to_owned());
            }
        }
        Ok(())
    }
}

fn entry(
    number: usize,
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<SendMessageBatchRequestEntry, BuildError> {
    let pause = delivery.not_before.map_or(0, |not_before| (not_before - now).num_milliseconds());
    let delay = ((pause + 500) / 1000).clamp(0, LONGEST_DELAY);
    SendMessageBatchRequestEntry::builder()
        .id(number.to_string())
        // A delivery always has a JSON form.
        .message_body(serde_json::to_string(delivery).unwrap_or_default())
        .delay_seconds(i32::try_from(delay).unwrap_or_default())
        // SQS gives the messages of quiet groups before those of a group that takes much time.
        .message_group_id(delivery.webhook_id.to_string())
        .build()
}
