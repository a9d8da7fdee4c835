//! Lambda's side of delivering: a batch of messages of the queue, and those that the queue must give again.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent};
use service::deliver::{Deliverer, Message, deliver};
use service::telemetry::trace_id;
use tracing::{Instrument, info_span};

/// The source that a message of SQS names.
const SOURCE: &str = "aws:sqs";

/// The event is not one of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this function is invoked by a queue of SQS; the event is from elsewhere")]
pub struct UnexpectedEvent;

/// Answers a batch of messages. The answer names those that must be given again.
///
/// # Errors
/// The event is not one of a queue.
pub async fn handle(deliverer: &Deliverer, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let LambdaEvent { payload, context } = event;
    let messages = payload.records.into_iter().map(message).collect::<Result<_, _>>()?;
    let trace_id = trace_id(context.xray_trace_id.as_deref());
    let span = info_span!("deliver", requestId = context.request_id, traceId = trace_id);
    // Boxed, because the future is large: it waits for several clients.
    let again = Box::pin(deliver(deliverer, messages)).instrument(span).await;
    let mut response = SqsBatchResponse::default();
    response.set_failures(again);
    Ok(response)
}

fn message(message: SqsMessage) -> Result<Message, UnexpectedEvent> {
    let is_of_queue = message.event_source.as_deref() == Some(SOURCE);
    let id = message.message_id.filter(|_| is_of_queue).ok_or(UnexpectedEvent)?;
    Ok(Message { id, body: message.body.unwrap_or_default() })
}
