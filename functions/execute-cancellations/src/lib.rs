//! Lambda's side of the sweep: the event of EventBridge Scheduler, and the deadline of the invocation.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use domain::origin::Author;
use lambda_runtime::{Error, LambdaEvent};
use service::Service;
use service::clock::invocation_deadline;
use service::sweep::{Summary, sweep};
use service::telemetry::trace_id;
use tracing::{Instrument, info_span};

/// The event is not one of EventBridge Scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this function is invoked by EventBridge Scheduler; the event is from elsewhere")]
pub struct UnexpectedEvent;

/// Answers a scheduled event with one sweep.
///
/// The clock at the beginning of the sweep decides which cancellations are due, not the time in the event. So a late event finds
/// all cancellations that are due by then.
///
/// # Errors
/// The event is not a scheduled one, or the sweep failed as a whole. Lambda then tries again.
pub async fn handle(service: &Service, event: LambdaEvent<EventBridgeEvent>) -> Result<Summary, Error> {
    if event.payload.source != "aws.scheduler" {
        return Err(UnexpectedEvent.into());
    }
    let context = event.context;
    let trace_id = trace_id(context.xray_trace_id.as_deref());
    let span = info_span!("sweep", requestId = context.request_id, traceId = trace_id);
    let deadline = invocation_deadline(context.deadline());
    let swept = sweep(&service.store, &Author::SCHEDULE, service.clock.now(), deadline);
    Ok(swept.instrument(span).await?)
}
