//! Lambda's side of publishing: a batch of the table's stream, and the record from which Lambda must give it again.

use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use lambda_runtime::{Error, LambdaEvent};
use service::clock::invocation_deadline;
use service::publish::{Publisher, Record, publish};
use service::telemetry::trace_id;
use store::stream::Write;
use tracing::{Instrument, info_span};

/// The source that a record of a DynamoDB stream names.
const SOURCE: &str = "aws:dynamodb";

/// The event is not one of a DynamoDB stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this function is invoked by the stream of a DynamoDB table; the event is from elsewhere")]
pub struct UnexpectedEvent;

/// Answers a batch of the stream. The answer is empty if the whole batch is published. Otherwise it names the first record that
/// must be given again, with all after it.
///
/// # Errors
/// The event is not one of a stream.
pub async fn handle(
    publisher: &Publisher,
    event: LambdaEvent<Event>,
) -> Result<DynamoDbEventResponse, Error> {
    let LambdaEvent { payload, context } = event;
    let records = payload.records.into_iter().map(record).collect::<Result<_, _>>()?;
    let trace_id = trace_id(context.xray_trace_id.as_deref());
    let span = info_span!("publish", requestId = context.request_id, traceId = trace_id);
    let again = publish(publisher, records, invocation_deadline(context.deadline())).instrument(span).await;
    let mut response = DynamoDbEventResponse::default();
    response.batch_item_failures = again.into_iter().map(failure).collect();
    Ok(response)
}

fn record(record: EventRecord) -> Result<Record, UnexpectedEvent> {
    let change = record.change;
    let sequence_number = change.sequence_number.filter(|_| record.event_source.as_deref() == Some(SOURCE));
    let write = Write {
        keys: change.keys,
        before: change.old_image,
        after: change.new_image,
        at: change.approximate_creation_date_time,
    };
    Ok(Record { sequence_number: sequence_number.ok_or(UnexpectedEvent)?, write })
}

fn failure(sequence_number: String) -> DynamoDbBatchItemFailure {
    let mut failure = DynamoDbBatchItemFailure::default();
    failure.item_identifier = Some(sequence_number);
    failure
}
