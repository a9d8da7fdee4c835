//! The sweep: executes the cancellations that are due.
//!
//! Each execution is one conditional write. So a cancellation takes effect once, however many sweeps run, even at the same time. A
//! cancellation takes effect when its instant has come and its date has begun in the tenant's time zone, by the rules in force now.
//! If an execution fails, the cancellation is counted, logged, and left in the index for the next sweep. A failure does not delay
//! the other cancellations. A sweep stops before its deadline. Nothing is executed of a tenant whose cancellations are paused.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use domain::calendar::Calendar;
use domain::execute::{DueCancellation, Execution, decide_execution};
use domain::identifiers::TenantId;
use domain::origin::Author;
use domain::stored::StoredSubscription;
use futures::StreamExt;
use futures::stream;
use metrics::{counter, histogram};
use serde::Serialize;
use store::due::{DueEntry, Executed, SweptTenant};
use store::tables::DUE_SHARDS;
use store::{Admin, Store, StoreError};
use tokio::sync::Mutex;
use tracing::{debug, error, info};

use crate::clock::time_until;
use crate::ids;
use crate::telemetry::{
    CANCELLATIONS_EXECUTED, CANCELLATIONS_FAILED, CANCELLATIONS_PAUSED, CANCELLATIONS_REMAINING,
    CANCELLATIONS_SKIPPED, SWEEP_LAG, UNREAD_SHARDS,
};

/// Number of shards that are swept at the same time.
const SHARDS_AT_ONCE: usize = 4;
/// Number of cancellations of one shard that are executed at the same time.
const EXECUTIONS_AT_ONCE: usize = 16;
/// Most decisions on one execution, if other writes keep changing the subscription.
const MOST_DECISIONS: u32 = 3;
/// Time before the deadline in which no execution begins. Longer than one operation of the store can take.
const MARGIN: Duration = Duration::from_secs(8);
/// Time for which what was read of a tenant counts. So a sweep under way notices a pause within this time.
const TENANT_COUNTS: Duration = Duration::from_secs(5);

/// The summary of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Cancellations that the index named as due.
    pub due: u64,
    /// Cancellations that took effect by this sweep.
    pub executed: u64,
    /// Cancellations that had taken effect before, or were withdrawn or replaced. A cancellation that this sweep executes is
    /// counted here if the acknowledgement of its write is lost.
    pub skipped: u64,
    /// Cancellations that could not be executed and stay in the index.
    pub failed: u64,
    /// Cancellations whose date has not begun in the tenant's current time zone. They stay in the index until it begins.
    pub not_yet: u64,
    /// Cancellations that an operator has paused. They stay in the index until they are resumed.
    pub paused: u64,
    /// Cancellations of tenants that have moved to another stack, which has them too. They stay in the index.
    pub moved: u64,
    /// Cancellations left for lack of time. Pages of the index that were not read are not counted.
    pub remaining: u64,
    /// Shards of the index that could not be read.
    pub unread_shards: u64,
    /// Lateness of the oldest due cancellation when the sweep began, in seconds. Cancellations are left out if their item is at
    /// fault, their date has not begun, or they are paused.
    pub lag_seconds: i64,
    /// Failed cancellations whose item is at fault, not the database.
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
            not_yet: self.not_yet + other.not_yet,
            paused: self.paused + other.paused,
            moved: self.moved + other.moved,
            remaining: self.remaining + other.remaining,
            unread_shards: self.unread_shards + other.unread_shards,
            lag_seconds: self.lag_seconds.max(other.lag_seconds),
            malformed: self.malformed + other.malformed,
        }
    }

    /// Logs the summary, and counts it in the metrics.
    fn report(&self) {
        if self.due == 0 && self.unread_shards == 0 {
            // Only for debugging, as a sweep runs every minute. The metrics show that it ran.
            debug!("nothing was due");
        } else {
            info!(
                due = self.due,
                executed = self.executed,
                skipped = self.skipped,
                failed = self.failed,
                notYet = self.not_yet,
                paused = self.paused,
                moved = self.moved,
                remaining = self.remaining,
                unreadShards = self.unread_shards,
                lagSeconds = self.lag_seconds,
                "swept"
            );
        }
        counter!(CANCELLATIONS_EXECUTED).increment(self.executed);
        counter!(CANCELLATIONS_SKIPPED).increment(self.skipped);
        counter!(CANCELLATIONS_FAILED).increment(self.failed);
        counter!(CANCELLATIONS_PAUSED).increment(self.paused);
        counter!(CANCELLATIONS_REMAINING).increment(self.remaining);
        counter!(UNREAD_SHARDS).increment(self.unread_shards);
        // The lag of an unread shard is unknown. The alarm treats a missing value as a breach.
        if self.unread_shards == 0 {
            // Never negative: the instant of a due cancellation is past.
            histogram!(SWEEP_LAG)
                .record(Duration::from_secs(self.lag_seconds.try_into().unwrap_or_default()));
        }
    }
}

/// The failure of a sweep as a whole. The sweep is to be run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// No shard could be read, or the database failed and none of the due cancellations could be executed.
    #[error(
        "the database is not available: {unread_shards} parts of the index unread, {failed} executions failed"
    )]
    DatabaseUnavailable {
        /// Shards of the index that could not be read.
        unread_shards: u64,
        /// Executions that failed.
        failed: u64,
    },
}

/// Executes the cancellations due at `now`, for the schedule or the operator who has this run. Stops before `deadline`, by the
/// system's clock.
///
/// # Errors
/// The sweep failed as a whole. Failures of single cancellations are counted in the summary instead.
pub async fn sweep(
    store: &Store,
    author: &Author,
    now: DateTime<Utc>,
    deadline: SystemTime,
) -> Result<Summary, SweepError> {
    // With less time than the margin, a sweep still executes some cancellations.
    let margin = MARGIN.min(time_until(deadline) / 4);
    let sweep = Sweep { store, author, now, stop: deadline - margin, tenants: Mutex::default() };
    let summary = sweep.run().await;
    summary.report();
    // In a minute, a database may work again. An item at fault stays at fault.
    let Summary { unread_shards, failed, .. } = summary;
    let nothing_read = unread_shards == u64::from(DUE_SHARDS);
    let other = summary.executed + summary.skipped + summary.not_yet + summary.paused + summary.moved;
    let nothing_executed = failed > summary.malformed && other == 0;
    if nothing_read || nothing_executed {
        return Err(SweepError::DatabaseUnavailable { unread_shards, failed });
    }
    Ok(summary)
}

/// The time by the database's clock is unknown.
#[derive(Debug, thiserror::Error)]
pub enum NoTime {
    /// The database can't be reached.
    #[error(transparent)]
    Unreachable(#[from] StoreError),
    /// The database does not report its time.
    #[error("the database does not report its time, so cancellations might take effect early")]
    Unsaid,
}

/// Returns the time of a sweep on demand: `now`, or the database's time if that is earlier. With a clock ahead of the database's,
/// cancellations would take effect early.
///
/// # Errors
/// The database can't be reached, or does not report its time.
pub async fn not_ahead(now: DateTime<Utc>, database: &Admin) -> Result<DateTime<Utc>, NoTime> {
    let there = database.time().await?.ok_or(NoTime::Unsaid)?;
    Ok(now.min(there))
}

/// The outcome of one entry of the index.
#[derive(Clone, Copy)]
enum Outcome {
    Executed,
    Skipped,
    /// The database failed.
    Failed,
    /// The item is at fault.
    Malformed,
    /// The date has not begun in the tenant's current time zone.
    NotYet,
    /// The tenant's cancellations are paused.
    Paused,
    /// The tenant has moved to another stack.
    Moved,
    Remaining,
}

struct Sweep<'s> {
    store: &'s Store,
    author: &'s Author,
    now: DateTime<Utc>,
    stop: SystemTime,
    /// The tenants whose cancellations are due.
    tenants: Mutex<HashMap<TenantId, Look>>,
}

/// A tenant as a sweep has read it.
struct Look {
    /// The time that was left to the sweep then.
    left: Duration,
    /// The tenant; `None` if it did not exist.
    tenant: Option<SweptTenant>,
}

impl Look {
    /// Returns true if the sweep may rely on it with this time left.
    fn counts(&self, left: Duration) -> bool {
        self.left.saturating_sub(left) < TENANT_COUNTS
    }
}

impl Sweep<'_> {
    /// Sweeps the whole index.
    async fn run(&self) -> Summary {
        // The first shard is random, so that overlapping sweeps begin at different shards, and no shard is always the last.
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
            let page = match self.store.due(shard, self.now, next).await {
                Ok(page) => page,
                Err(cause) => {
                    error!(shard, %cause, "a shard of the index could not be read");
                    summary.unread_shards += 1;
                    return summary;
                }
            };
            let mut outcomes = stream::iter(page.entries)
                .map(|entry| self.entry(entry))
                .buffer_unordered(EXECUTIONS_AT_ONCE);
            while let Some((outcome, late)) = outcomes.next().await {
                summary.due += 1;
                if !matches!(outcome, Outcome::Malformed | Outcome::NotYet | Outcome::Paused | Outcome::Moved)
                {
                    summary.lag_seconds = summary.lag_seconds.max(late.num_seconds());
                }
                match outcome {
                    Outcome::Executed => summary.executed += 1,
                    Outcome::Skipped => summary.skipped += 1,
                    Outcome::Remaining => summary.remaining += 1,
                    Outcome::Failed => summary.failed += 1,
                    Outcome::NotYet => summary.not_yet += 1,
                    Outcome::Paused => summary.paused += 1,
                    Outcome::Moved => summary.moved += 1,
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

    /// Executes the cancellation that an entry of the index names. Returns the outcome, and the lateness of the cancellation.
    async fn entry(&self, entry: DueEntry) -> (Outcome, TimeDelta) {
        match entry {
            DueEntry::Cancellation(due) => {
                let late = self.now - due.effective_at;
                let outcome = if self.time_is_up() { Outcome::Remaining } else { self.execute(&due).await };
                (outcome, late)
            }
            DueEntry::Unreadable(key) => {
                error!(key, "an entry of the index can't be read");
                (Outcome::Malformed, TimeDelta::zero())
            }
        }
    }

    async fn execute(&self, due: &DueCancellation) -> Outcome {
        let (tenant, subscription) = (&due.tenant, &due.subscription_id);
        let zone = match self.tenant(tenant).await {
            Ok(Some(SweptTenant { has_moved: true, .. })) => return Outcome::Moved,
            Ok(Some(SweptTenant { is_paused: true, .. })) => return Outcome::Paused,
            Ok(Some(SweptTenant { time_zone, .. })) => time_zone,
            Ok(None) => {
                error!(%tenant, %subscription, "a due cancellation belongs to a tenant that does not exist");
                return Outcome::Malformed;
            }
            Err(cause) => {
                error!(%tenant, %subscription, %cause, "a cancellation could not be executed");
                return Outcome::Failed;
            }
        };
        let calendar = Calendar::new(zone, self.now);
        let mut stored: Option<Box<StoredSubscription>> = None;
        for _ in 0..MOST_DECISIONS {
            let change =
                match decide_execution(due, stored.as_deref(), &calendar, ids::write_id(), self.author) {
                    Execution::Change(change) => change,
                    Execution::NotYet => return Outcome::NotYet,
                    Execution::NotPending(standing) => {
                        let key = format!("{tenant}#{subscription}");
                        let why = standing.to_string();
                        error!(key, why, "a cancellation that is due can't be executed");
                        return Outcome::Malformed;
                    }
                };
            match self.store.execute(due, &change).await {
                Ok(Executed::Done) => {
                    info!(%tenant, %subscription, cancellation = %due.cancellation_id, "executed");
                    return Outcome::Executed;
                }
                Ok(Executed::Before | Executed::Superseded) => return Outcome::Skipped,
                // The subscription differs from the state that the index suggests. Decide again, from its current state.
                Ok(Executed::Otherwise(there)) => stored = Some(there),
                Ok(Executed::Malformed) => {
                    error!(%tenant, %subscription, "a subscription with a due cancellation is malformed");
                    return Outcome::Malformed;
                }
                Err(cause) => {
                    error!(%tenant, %subscription, %cause, "a cancellation could not be executed");
                    return Outcome::Failed;
                }
            }
        }
        error!(%tenant, %subscription, "a cancellation could not be executed: the subscription keeps changing");
        Outcome::Failed
    }

    /// Returns a tenant as it is now or was a moment ago; `None` if it does not exist.
    async fn tenant(&self, id: &TenantId) -> Result<Option<SweptTenant>, StoreError> {
        let mut tenants = self.tenants.lock().await;
        let left = time_until(self.stop);
        if let Some(look) = tenants.get(id).filter(|look| look.counts(left)) {
            return Ok(look.tenant.clone());
        }
        let tenant = self.store.swept_tenant(id).await?;
        tenants.insert(id.clone(), Look { left, tenant: tenant.clone() });
        Ok(tenant)
    }

    fn time_is_up(&self) -> bool {
        time_until(self.stop).is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_relies_on_what_it_has_read_of_a_tenant_for_five_seconds() {
        let look = Look { left: Duration::from_secs(50), tenant: None };
        assert!(look.counts(Duration::from_millis(45_001)));
        assert!(!look.counts(Duration::from_secs(45)) && !look.counts(Duration::ZERO));
    }
}
