//! Logs of a function: one JSON object a line, on standard output, where Lambda collects them.
//!
//! Only this service's own events are written in full. Libraries are heard when they warn: at finer
//! levels they print requests and items, which hold secrets and personal data.

use std::env;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

/// What is logged: this service's events down to `level`, the libraries' from WARN.
#[must_use]
pub fn filter(level: LevelFilter) -> Targets {
    ["subscriptions", "get_subscription", "cancel_subscription", "execute_cancellations", "connect"]
        .into_iter()
        .fold(Targets::new().with_default(LevelFilter::WARN), |targets, name| {
            targets.with_target(name, level)
        })
}

/// Starts logging in a Lambda function, at the level of `AWS_LAMBDA_LOG_LEVEL` (INFO if unset).
pub fn start() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let json = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
    registry().with(json).with(filter(level.unwrap_or(LevelFilter::INFO))).init();
}
