//! What EventBridge Scheduler does: invokes `execute-cancellations` at a fixed rate.

use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use execute_cancellations::Summary;
use lambda_http::{Context, Error, LambdaEvent};
use serde_json::json;
use subscriptions::clock;
use subscriptions::service::Service;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::error;
use uuid::Uuid;

/// How long an invocation may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Invokes the function at once and then every `tick`, until `stop` is cancelled; an invocation that is
/// under way then is finished.
pub async fn run(service: Arc<Service>, tick: Duration, stop: CancellationToken) {
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                if let Err(cause) = invoke(&service).await {
                    error!(%cause, "a sweep failed");
                }
            }
        }
    }
}

/// Invokes the function once, with an event as EventBridge Scheduler sends it.
///
/// # Errors
/// The invocation failed as a whole.
pub async fn invoke(service: &Service) -> Result<Summary, Error> {
    let event = json!({
        "version": "0",
        "id": Uuid::new_v4(),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "000000000000",
        "time": service.clock.now().to_rfc3339_opts(SecondsFormat::Secs, true),
        "region": "local",
        "resources": ["arn:aws:scheduler:local:000000000000:schedule/default/execute-cancellations"],
        "detail": "{}",
    });
    let mut context = Context::default();
    context.request_id = Uuid::new_v4().to_string();
    context.deadline = clock::deadline_in(TIMEOUT);
    execute_cancellations::handle(service, LambdaEvent::new(serde_json::from_value(event)?, context)).await
}
