//! Telemetry of a function: logs and metrics, as JSON lines on standard output, which Lambda collects.
//!
//! This service's own log events are written from the configured level on, those of libraries from WARN on. At finer levels,
//! libraries print requests and items, which hold secrets and personal data.
//!
//! Metrics are counted where things happen, and written when the invocation ends, before Lambda freezes the process. They are in
//! CloudWatch's embedded metric format, so counting makes no request and can't fail. If telemetry was not started, as in the
//! service on one machine, counting does nothing.

use std::env;
use std::io::{self, Write};

use domain::identifiers::SubscriptionName;
use domain::stored::StoredSubscription;
use metrics::Unit;
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing::field::display;
use tracing::level_filters::LevelFilter;
use tracing::{Span, error};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

/// The namespace of the metrics in CloudWatch. Each has the dimension `FunctionName`.
pub const NAMESPACE: &str = "ConnectSubscriptions";

/// Requests that were answered, by `Outcome`: `ok`, `replayed`, or the code of a problem.
pub const REQUESTS: &str = "Requests";
/// Cancellations that became pending, by `Reason`.
pub const CANCELLATIONS_SCHEDULED: &str = "CancellationsScheduled";
/// Pending cancellations that were withdrawn.
pub const CANCELLATIONS_WITHDRAWN: &str = "CancellationsWithdrawn";
/// Cancellations that took effect.
pub const CANCELLATIONS_EXECUTED: &str = "CancellationsExecuted";
/// Cancellations that the index named, and that had taken effect before, or were withdrawn or replaced.
pub const CANCELLATIONS_SKIPPED: &str = "CancellationsSkipped";
/// Cancellations that could not be executed and are tried again by the next sweep.
pub const CANCELLATIONS_FAILED: &str = "CancellationsFailed";
/// Due cancellations that an operator has paused.
pub const CANCELLATIONS_PAUSED: &str = "CancellationsPaused";
/// Cancellations that a sweep had no time for.
pub const CANCELLATIONS_REMAINING: &str = "CancellationsRemaining";
/// Shards of the index that could not be read.
pub const UNREAD_SHARDS: &str = "UnreadShards";
/// Lateness of the oldest due cancellation when a sweep began, in seconds; 0 if none was due. A sweep that could not read the whole
/// index does not report it.
pub const SWEEP_LAG: &str = "SweepLag";

/// Events that the bus has taken, by `Type`.
pub const EVENTS_PUBLISHED: &str = "EventsPublished";
/// Changes that can't be recorded or published, and were put into a queue. A change that is tried again with others may be counted again.
pub const EVENTS_FAILED: &str = "EventsFailed";

/// Entries that were added to the history.
pub const HISTORY_ENTRIES_ADDED: &str = "HistoryEntriesAdded";

/// Attempts to post an event to a webhook, by `Outcome`.
pub const DELIVERIES: &str = "Deliveries";
/// Age of a delivery that goes on because the receiver has not accepted the event, in seconds.
pub const DELIVERY_AGE: &str = "DeliveryAge";
/// Messages of the queue that must be given again, because they could not be handled.
pub const MESSAGES_GIVEN_AGAIN: &str = "MessagesGivenAgain";
/// Answers of 410, by which webhooks are disabled.
pub const WEBHOOKS_DISABLED: &str = "WebhooksDisabled";

/// The dimension of [`REQUESTS`] and [`DELIVERIES`].
pub const OUTCOME: &str = "Outcome";
/// The dimension of [`CANCELLATIONS_SCHEDULED`].
pub const REASON: &str = "Reason";
/// The dimension of [`EVENTS_PUBLISHED`].
pub const TYPE: &str = "Type";

/// All metrics, with their units.
pub const METRICS: [(&str, Unit); 17] = [
    (REQUESTS, Unit::Count),
    (CANCELLATIONS_SCHEDULED, Unit::Count),
    (CANCELLATIONS_WITHDRAWN, Unit::Count),
    (CANCELLATIONS_EXECUTED, Unit::Count),
    (CANCELLATIONS_SKIPPED, Unit::Count),
    (CANCELLATIONS_FAILED, Unit::Count),
    (CANCELLATIONS_PAUSED, Unit::Count),
    (CANCELLATIONS_REMAINING, Unit::Count),
    (UNREAD_SHARDS, Unit::Count),
    (SWEEP_LAG, Unit::Seconds),
    (EVENTS_PUBLISHED, Unit::Count),
    (EVENTS_FAILED, Unit::Count),
    (HISTORY_ENTRIES_ADDED, Unit::Count),
    (DELIVERIES, Unit::Count),
    (DELIVERY_AGE, Unit::Seconds),
    (MESSAGES_GIVEN_AGAIN, Unit::Count),
    (WEBHOOKS_DISABLED, Unit::Count),
];

/// Returns the log filter: this service's own events from `level` on, those of libraries from WARN on.
#[must_use]
pub fn filter(level: LevelFilter) -> Targets {
    [
        "domain",
        "dynamodb",
        "idempotency",
        "store",
        "service",
        "streams",
        "get_subscription",
        "cancel_subscription",
        "execute_cancellations",
        "publish_events",
        "deliver_webhooks",
        "operator",
        "local",
        "connect",
    ]
    .into_iter()
    .fold(Targets::new().with_default(LevelFilter::WARN), |targets, name| targets.with_target(name, level))
}

/// The telemetry of a function, started once when the function starts.
#[derive(Clone, Copy)]
pub struct Telemetry(&'static Collector);

impl Telemetry {
    /// Starts logging at the level of `AWS_LAMBDA_LOG_LEVEL` (INFO if unset), and counting under the name in
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    ///
    /// # Errors
    /// Telemetry was started before.
    pub fn start() -> Result<Self, metrics_cloudwatch_embedded::Error> {
        let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
        let json = fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_target(false);
        registry().with(json).with(filter(level.unwrap_or(LevelFilter::INFO))).init();

        let function = env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "unknown".to_owned());
        let collector =
            Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("FunctionName", function).init()?;
        for (name, unit) in METRICS {
            // The collector keeps a unit by the name of the metric, whatever its kind.
            metrics::describe_counter!(name, unit, "");
        }
        Ok(Self(collector))
    }

    /// Runs an invocation, and writes what it has counted.
    pub async fn invocation<T>(self, invocation: impl Future<Output = T>) -> T {
        let outcome = invocation.await;
        // Written at once: the collector writes many small pieces.
        let mut lines = Vec::with_capacity(1024);
        if let Err(cause) = self.0.flush(&mut lines).and_then(|()| io::stdout().write_all(&lines)) {
            error!(%cause, "the metrics could not be written");
        }
        outcome
    }
}

/// Adds the subscription to the log, if it was found by its reference id.
pub fn log_found(name: &SubscriptionName, stored: &StoredSubscription) {
    if let SubscriptionName::Reference(_) = name {
        Span::current().record("subscription", display(stored.document.subscription_id));
    }
}

/// Returns the id under which X-Ray shows an invocation, from the trace header that Lambda gives it
/// (`Root=1-5759e988-bd862e3fe1be46a994272793;Parent=…;Sampled=1`); `None` if X-Ray does not record it.
#[must_use]
pub fn trace_id(header: Option<&str>) -> Option<&str> {
    let mut parts = header?.split(';').map(str::trim);
    let root = parts.clone().find_map(|part| part.strip_prefix("Root="));
    root.filter(|_| parts.any(|part| part == "Sampled=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_the_root_of_the_header_of_a_trace_that_is_recorded() {
        let root = "1-5759e988-bd862e3fe1be46a994272793";
        let header = format!("Root={root};Parent=53995c3f42cd8ad8;Sampled=1");
        assert_eq!(trace_id(Some(&header)), Some(root));
        assert_eq!(trace_id(Some("Sampled=1;Self=1-2-3; Root=1-a-b")), Some("1-a-b"));
        assert_eq!(trace_id(Some(&header.replace("Sampled=1", "Sampled=0"))), None);
        assert_eq!(trace_id(Some("Root=1-a-b")), None);
        assert_eq!(trace_id(Some("Sampled=1")), None);
        assert_eq!(trace_id(None), None);
    }
}
