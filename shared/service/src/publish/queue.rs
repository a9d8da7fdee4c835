//! The queue of writes that can't be recorded or published: Amazon SQS. A message names the item and the reason, and holds no personal data.
//! The same message may come twice.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::config::retry::RetryPartition;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_types::SdkConfig;
use serde::Serialize;
use uuid::Uuid;

/// A client of one queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    client: Client,
    url: String,
}

/// A change that can't be recorded or published.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailedEvent {
    /// The key of the item that changed.
    pub key: String,
    /// The place of the change in the stream.
    pub sequence_number: String,
    /// The id of the event, if the change could be read as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<&'static str>,
    /// The reason why the change can't be recorded or published.
    pub reason: String,
}

impl Queue {
    pub(crate) fn new(sqs: &SdkConfig, url: String) -> Self {
        let retries = RetryPartition::custom("queue").build();
        Self { client: Client::from_conf(Builder::from(sqs).retry_partition(retries).build()), url }
    }

    /// Puts a change into the queue.
    ///
    /// # Errors
    /// SQS did not take the message, for this reason.
    pub(crate) async fn send(&self, failed: &FailedEvent) -> Result<(), String> {
        // These types always have a JSON form.
        let body = serde_json::to_string(failed).unwrap_or_default();
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.map(drop).map_err(|error| match error.code() {
            Some(code) => code.to_owned(),
            None => DisplayErrorContext(&error).to_string(),
        })
    }
}
