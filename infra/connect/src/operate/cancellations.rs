//! Cancellations: what is to come, what is due, what has been.

use std::time::Duration;

use ::subscriptions::cancellation::{DueCancellation, Reason};
use ::subscriptions::identifiers::{SubscriptionId, TenantId};
use ::subscriptions::service::Service;
use ::subscriptions::store::Store;
use ::subscriptions::store::due::DueEntry;
use ::subscriptions::store::scan::EntryDetails;
use ::subscriptions::store::tables::DUE_SHARDS;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use clap::Subcommand;
use execute_cancellations::Summary;
use serde::Serialize;

use super::report::{self, Report};
use super::session::{Session, counted, instant, or_nothing, table};
use super::when::duration;
use super::{CommandError, find_tenant, parse_tenant};
use crate::scheduler::invoke;

/// How long a sweep may take: as long as a function in Lambda may.
const SWEEP: Duration = Duration::from_secs(15 * 60);
/// How many subscriptions are read at once.
const READ_TOGETHER: usize = 100;

/// Commands on cancellations.
#[derive(Clone, Debug, Subcommand)]
pub enum Cancellations {
    /// List what will be cancelled, in the order in which it will be
    Due {
        /// How far to look ahead; what is due already is listed too
        #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
        within: TimeDelta,
        /// Whose cancellations; everybody's if it is not said
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
    },
    /// Execute what is due, now
    ///
    /// It does what the schedule does every minute, and may run beside it: each cancellation is executed once. Of this
    /// machine's clock and the database's, the one that is behind says what is due.
    Run,
    /// Say how late the oldest cancellation is that is due
    Lag,
    /// Count cancellations by month and reason
    ///
    /// Those that took effect, and those to come, by the date on which they do, in the time zone that their tenant has now.
    /// What had taken effect when it was imported is not counted. This reads the whole table: its cost grows with the
    /// subscriptions of all tenants.
    Report(Report),
}

pub(super) async fn run(command: Cancellations, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Cancellations::Due { within, tenant } => due(session, within, tenant).await,
        Cancellations::Run => sweep(session).await,
        Cancellations::Lag => lag(session).await,
        Cancellations::Report(report) => report::run(report, session).await,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Due {
    effective_at: DateTime<Utc>,
    /// In the tenant's calendar, as callers see it.
    date: Option<NaiveDate>,
    tenant: TenantId,
    subscription_id: SubscriptionId,
    reason: Option<Reason>,
    overdue: bool,
}

async fn due(
    session: &mut Session<'_>,
    within: TimeDelta,
    tenant: Option<TenantId>,
) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    if let Some(tenant) = &tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    // Instants are compared as text, which has four digits for a year.
    let until = now
        .checked_add_signed(within)
        .filter(|until| until.year() <= 9999)
        .ok_or(CommandError::Usage("--within reaches beyond the year 9999"))?;
    let Index { mut entries, unreadable } = read_index(&store, until).await?;
    entries.retain(|entry| tenant.as_ref().is_none_or(|tenant| *tenant == entry.tenant));
    entries.sort_by(|one, other| {
        (one.effective_at, &one.tenant, one.subscription_id).cmp(&(
            other.effective_at,
            &other.tenant,
            other.subscription_id,
        ))
    });

    let mut listed = Vec::new();
    for entries in entries.chunks(READ_TOGETHER) {
        for (entry, details) in entries.iter().zip(store.entry_details(entries).await?) {
            // The index may still name what was replaced or executed a moment ago.
            let Some(EntryDetails { reason, date }) = details else { continue };
            listed.push(Due {
                effective_at: entry.effective_at,
                date,
                tenant: entry.tenant.clone(),
                subscription_id: entry.subscription_id,
                reason,
                overdue: entry.effective_at <= now,
            });
        }
    }
    let outcome = session.complain(&unreadable);
    session.note(&format!("{} until {}", counted(listed.len(), "cancellation"), instant(until)));
    let text = || {
        let rows = listed.iter().map(|due| {
            [
                instant(due.effective_at),
                or_nothing(due.date),
                due.tenant.to_string(),
                due.subscription_id.to_string(),
                or_nothing(due.reason),
                if due.overdue { "due" } else { "to come" }.to_owned(),
            ]
        });
        table(["EFFECTIVE", "DATE THERE", "TENANT", "SUBSCRIPTION", "REASON", "STATE"], rows)
    };
    session.conclude(&listed, text, outcome)
}

async fn sweep(session: &mut Session<'_>) -> Result<(), CommandError> {
    let (store, clock) = (session.store(), session.clock.clone());
    // By a clock that is ahead, cancellations would take effect early: the earlier of the two counts.
    let there = store.time().await?.ok_or(CommandError::NoTime)?;
    if clock.now() > there {
        clock.set(there);
    }
    let now = clock.now();
    let swept = invoke(&Service { store, clock }, now, SWEEP).await;
    let summary = swept.map_err(|cause| CommandError::Incomplete(cause.to_string()))?;
    let Summary { due, executed, skipped, failed, remaining, unread_shards, malformed, .. } = summary;
    let outcome = if failed + remaining + unread_shards == 0 {
        Ok(())
    } else if failed == malformed && remaining + unread_shards == 0 {
        Err(CommandError::Incomplete(format!(
            "{failed} can't be executed; look at them: this service did not write them"
        )))
    } else {
        Err(CommandError::Incomplete(format!(
            "{failed} failed, {remaining} remain, {unread_shards} parts of the index were not read; run it again"
        )))
    };
    let text = || {
        format!("{due} due: {executed} executed, {skipped} skipped, {failed} failed, {remaining} remaining")
    };
    session.conclude(&summary, text, outcome)
}

/// How late the oldest cancellation is that is due.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lag {
    pub(super) due: usize,
    pub(super) lag_seconds: i64,
    oldest: Option<Oldest>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Oldest {
    tenant: TenantId,
    subscription_id: SubscriptionId,
    effective_at: DateTime<Utc>,
}

/// How late it is at `now`, and the keys of entries that can't be read.
pub(super) async fn measure_lag(
    store: &Store,
    now: DateTime<Utc>,
) -> Result<(Lag, Vec<String>), CommandError> {
    let Index { entries, unreadable } = read_index(store, now).await?;
    let oldest = entries.iter().min_by_key(|entry| entry.effective_at).map(|entry| Oldest {
        tenant: entry.tenant.clone(),
        subscription_id: entry.subscription_id,
        effective_at: entry.effective_at,
    });
    let lag_seconds = oldest.as_ref().map_or(0, |oldest| (now - oldest.effective_at).num_seconds());
    Ok((Lag { due: entries.len(), lag_seconds, oldest }, unreadable))
}

async fn lag(session: &mut Session<'_>) -> Result<(), CommandError> {
    let (lag, unreadable) = measure_lag(&session.store(), session.now()).await?;
    let outcome = session.complain(&unreadable);
    let text = || match &lag.oldest {
        None => "nothing is due".to_owned(),
        Some(Oldest { tenant, subscription_id, effective_at }) => format!(
            "{} due; the oldest by {} seconds: {subscription_id} of {tenant}, since {}",
            lag.due,
            lag.lag_seconds,
            instant(*effective_at)
        ),
    };
    session.conclude(&lag, text, outcome)
}

struct Index {
    entries: Vec<DueCancellation>,
    unreadable: Vec<String>,
}

/// What the index has until an instant.
async fn read_index(store: &Store, until: DateTime<Utc>) -> Result<Index, CommandError> {
    let mut index = Index { entries: Vec::new(), unreadable: Vec::new() };
    for shard in 0..DUE_SHARDS {
        let mut next = None;
        loop {
            let page = store.due(shard, until, next).await?;
            for entry in page.entries {
                match entry {
                    DueEntry::Cancellation(cancellation) => index.entries.push(cancellation),
                    DueEntry::Unreadable(key) => index.unreadable.push(key),
                }
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
    }
    Ok(index)
}
