//! EventBridge Scheduler: invokes `execute-cancellations` at a fixed rate, and remembers the last outcomes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use lambda_http::{Context, Error, LambdaEvent};
use serde::Serialize;
use serde_json::json;
use service::Service;
use service::clock::{Clock, deadline_in};
use service::sweep::{Summary, not_ahead};
use store::Admin;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::error;
use uuid::Uuid;

/// Time limit of an invocation.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Number of executions that are remembered for the status.
const REMEMBERED: usize = 10;

/// The database of a sweep, which decides whose clock counts.
pub enum Database {
    /// The embedded database, which is part of this process: the clock of this process counts, also if it is moved.
    Embedded,
    /// A database that others use, too: nothing is executed before it is due by the database's clock.
    Shared(Admin),
}

/// Invokes the function, and remembers the last outcomes.
pub struct Scheduler {
    /// The service of the function.
    pub service: Service,
    database: Database,
    executions: Mutex<VecDeque<Execution>>,
}

/// An invocation that has ended.
#[derive(Clone, Debug, Serialize)]
pub struct Execution {
    /// Time at which the invocation began.
    pub at: DateTime<Utc>,
    /// The summary of the sweep; `None` if the invocation failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The error, if the invocation failed as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Execution {
    fn had_nothing_to_do(&self) -> bool {
        self.summary.as_ref().is_some_and(|summary| summary.due == 0)
    }
}

impl Scheduler {
    /// Creates a scheduler that invokes the function with this service.
    #[must_use]
    pub fn new(service: Service, database: Database) -> Self {
        Self { service, database, executions: Mutex::default() }
    }

    /// Invokes the function at once and then every `tick`, until `stop` is cancelled. An invocation in progress is finished.
    pub async fn run(self: Arc<Self>, tick: Duration, stop: CancellationToken) {
        let mut ticks = interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    if let Err(cause) = self.invoke().await {
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
    pub async fn invoke(&self) -> Result<Summary, Error> {
        let at = self.service.clock.now();
        let outcome = self.sweep(at).await;
        self.remember(Execution {
            at,
            summary: outcome.as_ref().ok().cloned(),
            error: outcome.as_ref().err().map(ToString::to_string),
        });
        outcome
    }

    async fn sweep(&self, at: DateTime<Utc>) -> Result<Summary, Error> {
        let clock = match &self.database {
            Database::Embedded => self.service.clock.clone(),
            Database::Shared(store) => Clock::stopped(not_ahead(self.service.clock.now(), store).await?),
        };
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
        context.deadline = deadline_in(TIMEOUT);
        let service = Service { store: self.service.store.clone(), clock };
        execute_cancellations::handle(&service, LambdaEvent::new(serde_json::from_value(event)?, context))
            .await
    }

    /// Returns the last executions, the latest first. Of several in a row that had nothing to do, only the latest is kept.
    #[must_use]
    pub fn executions(&self) -> Vec<Execution> {
        self.executions.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn remember(&self, execution: Execution) {
        let mut executions = self.executions.lock().unwrap_or_else(PoisonError::into_inner);
        let is_like_the_last = executions.front().is_some_and(Execution::had_nothing_to_do);
        if execution.had_nothing_to_do() && is_like_the_last {
            executions.pop_front();
        }
        executions.push_front(execution);
        executions.truncate(REMEMBERED);
    }
}
