//! A sweep on demand: one invocation of `execute-cancellations`, and the clock that it may go by.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use lambda_http::{Context, Error, LambdaEvent};
use serde_json::json;
use service::Service;
use service::clock::{self, Clock};
use service::sweep::Summary;
use store::{Store, StoreError};
use uuid::Uuid;

/// Why a database's clock can't be gone by.
#[derive(Debug, thiserror::Error)]
pub enum NoTime {
    /// It can't be reached.
    #[error(transparent)]
    Unreachable(#[from] StoreError),
    /// It does not say what time it is.
    #[error("the database does not say what time it is, so cancellations might take effect early")]
    Unsaid,
}

/// This clock, or one that goes by the database's if this one is ahead of that: by it, cancellations would take effect early.
///
/// # Errors
/// The database does not say what time it is.
pub async fn not_ahead(clock: &Clock, database: &Store) -> Result<Clock, NoTime> {
    let there = database.time().await?.ok_or(NoTime::Unsaid)?;
    if clock.now() <= there {
        return Ok(clock.clone());
    }
    let behind = Clock::system();
    behind.set(there);
    Ok(behind)
}

/// Invokes the function once, and gives it this much time.
///
/// # Errors
/// The invocation failed as a whole.
pub async fn invoke(service: &Service, at: DateTime<Utc>, timeout: Duration) -> Result<Summary, Error> {
    let event = json!({
        "version": "0",
        "id": Uuid::new_v4(),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "000000000000",
        "time": at.to_rfc3339_opts(SecondsFormat::Secs, true),
        "region": "local",
        "resources": ["arn:aws:scheduler:local:000000000000:schedule/default/execute-cancellations"],
        "detail": "{}",
    });
    let mut context = Context::default();
    context.request_id = Uuid::new_v4().to_string();
    context.deadline = clock::deadline_in(timeout);
    execute_cancellations::handle(service, LambdaEvent::new(serde_json::from_value(event)?, context)).await
}
