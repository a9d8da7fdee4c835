//! Executes the cancellations that are due, whenever EventBridge Scheduler says it is time to look.
//!
//! Each is one conditional write, so it takes effect once, however often this runs and however many
//! run at once. What can't be executed now is counted, logged, and left in the index for the next
//! minute; nothing that fails holds up the rest. A sweep stops in time before its deadline.

use std::time::{Duration, SystemTime};

use aws_lambda_events::eventbridge::EventBridgeEvent;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream;
use lambda_runtime::{Error, LambdaEvent};
use metrics::{counter, histogram};
use serde::Serialize;
use subscriptions::cancellation::{DueCancellation, decide_execution};
use subscriptions::clock;
use subscriptions::service::Service;
use subscriptions::store::StoreError;
use subscriptions::store::due::{DueEntry, Executed};
use subscriptions::store::tables::DUE_SHARDS;
use subscriptions::telemetry::{
    self, CANCELLATIONS_EXECUTED, CANCELLATIONS_FAILED, CANCELLATIONS_REMAINING, CANCELLATIONS_SKIPPED,
    SWEEP_LAG, UNREAD_SHARDS,
};
use tracing::{Instrument, error, info, info_span};

/// How many shards are read at once, and how many cancellations of each are executed at once.
const SHARDS_AT_ONCE: usize = 4;
const EXECUTIONS_AT_ONCE: usize = 16;
/// How often an execution that meets another write to its item is tried.
const MOST_ATTEMPTS: u32 = 3;
/// No execution is begun this close to the deadline: longer than one operation of the store can take.
const MARGIN: Duration = Duration::from_secs(8);

/// What a sweep has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Cancellations that the index named as due.
    pub due: u64,
    /// Those that took effect now.
    pub executed: u64,
    /// Those that had taken effect before, or were withdrawn or replaced. One that takes effect by this very
    /// sweep, and whose acknowledgement is lost, is found to have taken effect before.
    pub skipped: u64,
    /// Those that could not be executed and stay in the index.
    pub failed: u64,
    /// Those that there was no time for; pages of the index that were not read are not counted.
    pub remaining: u64,
    /// Parts of the index that could not be read.
    pub unread_shards: u64,
    /// By how many seconds the oldest of them was late when the sweep began.
    pub lag_seconds: i64,
    /// Those of the failed whose item is at fault, not the database.
    #[serde(skip)]
    pub malformed: u64,
}

impl Summary {
    fn plus(self, other: Self) -> Self {
        Self {
            due: self.due + other.due,
            executed: self.executed + other.executed,
            skipped: self.skipped + other.skipped,
            failed: self.failed + other.failed,
            remaining: self.remaining + other.remaining,
            unread_shards: self.unread_shards + other.unread_shards,
            lag_seconds: self.lag_seconds.max(other.lag_seconds),
            malformed: self.malformed + other.malformed,
        }
    }

    /// Logs and counts it.
    fn report(&self) {
        info!(
            due = self.due,
            executed = self.executed,
            skipped = self.skipped,
            failed = self.failed,
            remaining = self.remaining,
            unreadShards = self.unread_shards,
            lagSeconds = self.lag_seconds,
            "swept"
        );
        counter!(CANCELLATIONS_EXECUTED).increment(self.executed);
        counter!(CANCELLATIONS_SKIPPED).increment(self.skipped);
        counter!(CANCELLATIONS_FAILED).increment(self.failed);
        counter!(CANCELLATIONS_REMAINING).increment(self.remaining);
        counter!(UNREAD_SHARDS).increment(self.unread_shards);
        // How late an index is that could not be read, nobody knows. The alarm takes silence for bad news.
        if self.unread_shards == 0 {
            // Never negative: what is due is past.
            histogram!(SWEEP_LAG)
                .record(Duration::from_secs(self.lag_seconds.try_into().unwrap_or_default()));
        }
    }
}

/// Why an invocation fails as a whole, so that Lambda tries it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// The event is not one of EventBridge Scheduler.
    #[error("this function is invoked by EventBridge Scheduler; the event is from elsewhere")]
    UnexpectedEvent,
    /// The database let nothing be read, or nothing of what was due be executed.
    #[error(
        "the database is not available: {unread_shards} parts of the index unread, {failed} executions failed"
    )]
    DatabaseUnavailable {
        /// Parts of the index that could not be read.
        unread_shards: u64,
        /// Executions that failed.
        failed: u64,
    },
}

/// Answers a scheduled event with one sweep.
///
/// What is due is decided by the clock when the sweep begins, not by the time in the event: an event
/// that comes late finds all that is due by then.
///
/// # Errors
/// The event is not a scheduled one, or nothing worked. Failures of single cancellations are counted
/// in the summary instead.
pub async fn handle(service: &Service, event: LambdaEvent<EventBridgeEvent>) -> Result<Summary, Error> {
    if event.payload.source != "aws.scheduler" {
        return Err(SweepError::UnexpectedEvent.into());
    }
    let span = info_span!(
        "sweep",
        requestId = event.context.request_id,
        traceId = telemetry::trace_id(event.context.xray_trace_id.as_deref()),
    );
    let deadline = event.context.deadline();
    // A function that is given less time than the margin shall get something done all the same.
    let margin = MARGIN.min(clock::time_until(deadline) / 4);
    let sweep = Sweep { service, now: service.clock.now(), stop: deadline - margin };
    let summary = async {
        let summary = sweep.run().await;
        summary.report();
        summary
    }
    .instrument(span)
    .await;
    // An item that is at fault will be so in a minute too; a database may not.
    let Summary { unread_shards, failed, .. } = summary;
    let nothing_read = unread_shards == u64::from(DUE_SHARDS);
    let nothing_executed = failed > summary.malformed && summary.executed + summary.skipped == 0;
    if nothing_read || nothing_executed {
        return Err(SweepError::DatabaseUnavailable { unread_shards, failed }.into());
    }
    Ok(summary)
}

/// What became of one entry of the index.
#[derive(Clone, Copy)]
enum Outcome {
    Executed,
    Skipped,
    /// The database failed.
    Failed,
    /// The item is at fault.
    Malformed,
    Remaining,
}

struct Sweep<'s> {
    service: &'s Service,
    now: DateTime<Utc>,
    stop: SystemTime,
}

impl Sweep<'_> {
    /// Sweeps the whole index.
    async fn run(&self) -> Summary {
        // Overlapping sweeps begin in different places, and no shard is always the last.
        let first = fastrand::u32(..DUE_SHARDS);
        let shards = (0..DUE_SHARDS).map(|offset| (first + offset) % DUE_SHARDS);
        let swept = stream::iter(shards).map(|shard| self.shard(shard)).buffer_unordered(SHARDS_AT_ONCE);
        swept.fold(Summary::default(), async |summary, more| summary.plus(more)).await
    }

    /// Sweeps one shard, page by page.
    async fn shard(&self, shard: u32) -> Summary {
        let mut summary = Summary::default();
        let mut next = None;
        loop {
            if self.time_is_up() {
                return summary;
            }
            let page = match self.service.store.due(shard, self.now, next).await {
                Ok(page) => page,
                Err(cause) => {
                    error!(shard, %cause, "a shard of the index could not be read");
                    summary.unread_shards += 1;
                    return summary;
                }
            };
            // The oldest come first.
            if let Some(DueEntry::Cancellation(oldest)) = page.entries.first() {
                summary.lag_seconds = summary.lag_seconds.max((self.now - oldest.effective_at).num_seconds());
            }
            let mut outcomes = stream::iter(page.entries)
                .map(|entry| self.entry(entry))
                .buffer_unordered(EXECUTIONS_AT_ONCE);
            while let Some(outcome) = outcomes.next().await {
                summary.due += 1;
                match outcome {
                    Outcome::Executed => summary.executed += 1,
                    Outcome::Skipped => summary.skipped += 1,
                    Outcome::Remaining => summary.remaining += 1,
                    Outcome::Failed => summary.failed += 1,
                    Outcome::Malformed => {
                        summary.failed += 1;
                        summary.malformed += 1;
                    }
                }
            }
            next = page.next;
            if next.is_none() {
                return summary;
            }
        }
    }

    async fn entry(&self, entry: DueEntry) -> Outcome {
        if self.time_is_up() {
            return Outcome::Remaining;
        }
        match entry {
            DueEntry::Cancellation(due) => self.execute(&due).await,
            DueEntry::Unreadable(key) => {
                error!(key, "an entry of the index can't be read");
                Outcome::Malformed
            }
        }
    }

    async fn execute(&self, due: &DueCancellation) -> Outcome {
        let Some(execution) = decide_execution(due, self.now) else {
            return Outcome::Skipped;
        };
        let (tenant, subscription) = (&due.tenant, &due.subscription_id);
        let mut attempt = 1;
        loop {
            match self.service.store.execute(due, execution).await {
                Ok(Executed::Done) => {
                    info!(%tenant, %subscription, cancellation = %due.cancellation_id, "executed");
                    return Outcome::Executed;
                }
                Ok(Executed::Before | Executed::Superseded) => return Outcome::Skipped,
                Ok(Executed::Malformed) => {
                    error!(%tenant, %subscription, "a subscription that is due is malformed");
                    return Outcome::Malformed;
                }
                Err(StoreError::Conflict) if attempt < MOST_ATTEMPTS && !self.time_is_up() => {
                    tokio::time::sleep(Duration::from_millis(50).mul_f64(0.5 + fastrand::f64())).await;
                    attempt += 1;
                }
                Err(cause) => {
                    error!(%tenant, %subscription, %cause, "a cancellation could not be executed");
                    return Outcome::Failed;
                }
            }
        }
    }

    fn time_is_up(&self) -> bool {
        clock::time_until(self.stop).is_zero()
    }
}
