//! Lambda's reading of a queue: `deliver-webhooks` gets messages in batches, several batches at once.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lambda_http::{Context, Error, LambdaEvent};
use serde_json::json;
use service::clock::{Clock, deadline_in};
use service::deliver::Deliverer;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;
use uuid::Uuid;

use crate::queue::{Message, Queue};

/// Time limit of an invocation.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Most messages of a batch.
const BATCH: usize = 10;
/// Most batches at once.
const AT_ONCE: usize = 8;
/// Longest pause before the queue is read again. Messages that become due are not announced.
const PAUSE: Duration = Duration::from_millis(250);

/// A queue, and the function that it invokes.
pub struct QueueSource {
    deliverer: Arc<Deliverer>,
    queue: Arc<Queue>,
    clock: Clock,
}

impl QueueSource {
    /// Creates a source with the clock of the queue.
    #[must_use]
    pub fn new(deliverer: Deliverer, queue: Arc<Queue>, clock: Clock) -> Self {
        Self { deliverer: Arc::new(deliverer), queue, clock }
    }

    /// Gives messages to the function, until `stop` is cancelled. Invocations in progress are finished.
    pub async fn run(self, stop: CancellationToken) {
        let (free, invocations) = (Arc::new(Semaphore::new(AT_ONCE)), TaskTracker::new());
        while !stop.is_cancelled() {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { break };
            match self.queue.take(BATCH, self.clock.now()) {
                Ok(messages) if !messages.is_empty() => {
                    let (deliverer, queue) = (Arc::clone(&self.deliverer), Arc::clone(&self.queue));
                    let clock = self.clock.clone();
                    invocations.spawn(async move {
                        let handled = invoke(&deliverer, &messages).await;
                        conclude(&queue, &messages, handled, clock.now());
                        drop(permit);
                    });
                    continue;
                }
                Ok(_) => {}
                Err(cause) => error!(%cause, "the queue of deliveries can't be read"),
            }
            drop(permit);
            tokio::select! {
                () = stop.cancelled() => {}
                _ = timeout(PAUSE, self.queue.changed()) => {}
            }
        }
        invocations.close();
        invocations.wait().await;
    }
}

/// Invokes the function once. Returns the ids of the messages that must be given again.
async fn invoke(deliverer: &Deliverer, messages: &[Message]) -> Result<Vec<String>, Error> {
    let record = |message: &Message| {
        json!({
            "messageId": message.id,
            "receiptHandle": message.id,
            "body": message.body,
            "attributes": {},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:local:000000000000:webhooks",
            "awsRegion": "local",
        })
    };
    let event = json!({"Records": messages.iter().map(record).collect::<Vec<_>>()});
    let mut context = Context::default();
    context.request_id = Uuid::new_v4().to_string();
    context.deadline = deadline_in(TIMEOUT);
    let event = LambdaEvent::new(serde_json::from_value(event)?, context);
    let answer = deliver_webhooks::handle(deliverer, event).await?;
    Ok(answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect())
}

fn conclude(queue: &Queue, messages: &[Message], again: Result<Vec<String>, Error>, now: DateTime<Utc>) {
    let again = match again {
        Ok(again) => again,
        Err(cause) => {
            error!(%cause, "an invocation failed");
            messages.iter().map(|message| message.id.clone()).collect()
        }
    };
    for Message { id, .. } in messages {
        if let Err(cause) = queue.conclude(id, !again.contains(id), now) {
            error!(messageId = id, %cause, "a message can't be removed from the queue, and comes again after the next start");
        }
    }
}
