//! Cancellations: what is to come, what is due, what has been.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use clap::Subcommand;
use domain::calendar::{Calendar, TimeZone};
use domain::cancellation::Reason;
use domain::execute::DueCancellation;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::standing::Standing;
use serde::Serialize;
use service::Service;
use service::sweep::Summary;
use store::Store;
use store::due::DueEntry;
use store::scan::{EntryDetails, Page};
use store::tables::DUE_SHARDS;

use crate::arguments::{find_tenant, parse_tenant};
use crate::format::{counted, instant, or_nothing, table};
use crate::mend::Part;
use crate::report::{self, Report};
use crate::sweep::{invoke, not_ahead};
use crate::when::duration;
use crate::{CommandError, Session, mend};

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
    ///
    /// Of those that can be executed: `connect doctor` counts the others.
    Lag,
    /// Move pending cancellations whose date begins at another instant than when they were asked for
    ///
    /// The date that was promised stays. When it begins depends on the tenant's time zone and on its rules, and either may have
    /// changed. Until it is moved, a cancellation is executed when both its instant has come and its date has begun.
    Rederive {
        /// Whose cancellations [default: everybody's]
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
        /// List them, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make whole the subscriptions that contradict themselves
    ///
    /// Another system that writes into the table may have changed one part of a subscription and not the others: its document,
    /// the cancellation that is kept with it, its entry in the index of due dates. Nothing is executed then, and callers are told of
    /// no pending cancellation, until you say which part counts. This reads the whole table: its cost grows with the subscriptions
    /// of all tenants.
    Repair {
        /// The part that counts
        #[arg(long, value_enum)]
        by: Part,
        /// Whose subscriptions [default: everybody's]
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
        /// List them, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Count cancellations by month and reason
    ///
    /// Those that took effect, and those to come, by the date on which they do, in the time zone that their tenant has now.
    /// What had taken effect when it was imported is not counted. This reads the whole table: its cost grows with the
    /// subscriptions of all tenants.
    Report(Report),
}

impl Cancellations {
    /// Whether it changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        match self {
            Self::Due { .. } | Self::Lag | Self::Report(_) => true,
            Self::Rederive { dry_run, .. } | Self::Repair { dry_run, .. } => *dry_run,
            Self::Run => false,
        }
    }
}

pub(crate) async fn run(command: Cancellations, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Cancellations::Due { within, tenant } => due(session, within, tenant).await,
        Cancellations::Run => sweep(session).await,
        Cancellations::Lag => lag(session).await,
        Cancellations::Rederive { tenant, dry_run } => mend::rederive(session, tenant, dry_run).await,
        Cancellations::Repair { by, tenant, dry_run, yes } => {
            mend::repair(session, by, tenant, dry_run, yes).await
        }
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
    /// Why it will not be executed, if it will not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    contradiction: Option<String>,
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
    let Index { entries, unreadable } = read_index(&store, until, tenant.as_ref()).await?;
    let mut listed: Vec<_> = entries
        .into_iter()
        .map(|Entry { due, details: EntryDetails { reason, date, standing } }| Due {
            effective_at: due.effective_at,
            date,
            tenant: due.tenant,
            subscription_id: due.subscription_id,
            reason,
            overdue: due.effective_at <= now,
            contradiction: match standing {
                Some(Standing::Pending) => None,
                Some(standing) => Some(standing.to_string()),
                None => Some("it can't be read".to_owned()),
            },
        })
        .collect();
    listed.sort_by(|one, other| {
        (one.effective_at, &one.tenant, one.subscription_id).cmp(&(
            other.effective_at,
            &other.tenant,
            other.subscription_id,
        ))
    });
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
                match (&due.contradiction, due.overdue) {
                    (Some(contradiction), _) => contradiction.clone(),
                    (None, true) => "due".to_owned(),
                    (None, false) => "to come".to_owned(),
                },
            ]
        });
        table(["EFFECTIVE", "DATE THERE", "TENANT", "SUBSCRIPTION", "REASON", "STATE"], rows)
    };
    session.conclude(&listed, text, outcome)
}

async fn sweep(session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    let clock = not_ahead(&session.clock, &store).await?;
    let now = clock.now();
    let swept = invoke(&Service { store, clock }, now, SWEEP).await;
    let summary = swept.map_err(|cause| CommandError::Incomplete(cause.to_string()))?;
    let Summary { due, executed, skipped, failed, not_yet, remaining, unread_shards, malformed, .. } =
        summary;
    let outcome = if failed + remaining + unread_shards == 0 {
        Ok(())
    } else if failed == malformed && remaining + unread_shards == 0 {
        Err(CommandError::Incomplete(format!(
            "{failed} can't be executed, as they contradict themselves or can't be read; connect doctor says which"
        )))
    } else {
        Err(CommandError::Incomplete(format!(
            "{failed} failed, {remaining} remain, {unread_shards} parts of the index were not read; run it again"
        )))
    };
    let text = || {
        let waiting = if not_yet == 0 {
            String::new()
        } else {
            format!(", {not_yet} whose date has not begun in their time zone")
        };
        format!(
            "{due} due: {executed} executed, {skipped} skipped, {failed} failed, {remaining} remaining{waiting}"
        )
    };
    session.conclude(&summary, text, outcome)
}

/// How late the oldest cancellation is that is due.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lag {
    pub(crate) due: usize,
    pub(crate) lag_seconds: i64,
    oldest: Option<Oldest>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Oldest {
    tenant: TenantId,
    subscription_id: SubscriptionId,
    effective_at: DateTime<Utc>,
}

/// How late it is at `now`, of what can be executed, and the keys of entries that can't be read.
async fn measure_lag(store: &Store, now: DateTime<Utc>) -> Result<(Lag, Vec<String>), CommandError> {
    let index = read_index(store, now, None).await?;
    let zones = Zones::read(store).await?;
    Ok((index.lag(&zones, now), index.unreadable))
}

impl Index {
    /// How late it is at `now`, of what can be executed.
    pub(crate) fn lag(&self, zones: &Zones, now: DateTime<Utc>) -> Lag {
        let is_late = |entry: &&Entry| entry.due.effective_at <= now && entry.can_be_executed(zones, now);
        let late: Vec<_> = self.entries.iter().filter(is_late).collect();
        let oldest = late.iter().min_by_key(|entry| entry.due.effective_at).map(|Entry { due, .. }| Oldest {
            tenant: due.tenant.clone(),
            subscription_id: due.subscription_id,
            effective_at: due.effective_at,
        });
        let lag_seconds = oldest.as_ref().map_or(0, |oldest| (now - oldest.effective_at).num_seconds());
        Lag { due: late.len(), lag_seconds, oldest }
    }
}

impl Entry {
    /// The key of its item.
    pub(crate) fn key(&self) -> String {
        format!("{}#{}", self.due.tenant, self.due.subscription_id)
    }

    /// Whether a sweep at `now` executes it.
    fn can_be_executed(&self, zones: &Zones, now: DateTime<Utc>) -> bool {
        let has_begun = |date| {
            let calendar = zones.calendar(&self.due.tenant, now)?;
            Some(calendar.beginning_on_or_after(date).instant() <= now)
        };
        self.details.standing == Some(Standing::Pending)
            && self.details.date.and_then(has_begun).unwrap_or(false)
    }
}

/// The time zones of all tenants.
pub(crate) struct Zones {
    known: HashMap<TenantId, TimeZone>,
    unreadable: Vec<String>,
}

impl Zones {
    pub(crate) async fn read(store: &Store) -> Result<Self, CommandError> {
        let Page { found, unreadable, .. } = store.tenants().await?;
        let known = found.into_iter().map(|tenant| (tenant.id, tenant.time_zone)).collect();
        Ok(Self { known, unreadable })
    }

    /// The tenants that can't be read, and those that there are not, although the index has cancellations of theirs.
    pub(crate) fn missing(&self, index: &Index) -> Vec<String> {
        let named = index.entries.iter().map(|entry| &entry.due.tenant);
        let missing = named.filter(|tenant| !self.known.contains_key(tenant)).map(TenantId::to_string);
        missing.chain(self.unreadable.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The calendar of a tenant; none of one that there is not.
    pub(crate) fn calendar(&self, tenant: &TenantId, now: DateTime<Utc>) -> Option<Calendar> {
        self.known.get(tenant).map(|zone| Calendar::new(zone.clone(), now))
    }
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

/// What the index has, and what is stored of that.
pub(crate) struct Index {
    pub(crate) entries: Vec<Entry>,
    pub(crate) unreadable: Vec<String>,
}

/// An entry of the index that is still true.
pub(crate) struct Entry {
    pub(crate) due: DueCancellation,
    pub(crate) details: EntryDetails,
}

/// What the index has until an instant, of a tenant or of all.
pub(crate) async fn read_index(
    store: &Store,
    until: DateTime<Utc>,
    tenant: Option<&TenantId>,
) -> Result<Index, CommandError> {
    let mut named = Vec::new();
    let mut index = Index { entries: Vec::new(), unreadable: Vec::new() };
    for shard in 0..DUE_SHARDS {
        let mut next = None;
        loop {
            let page = store.due(shard, until, next).await?;
            for entry in page.entries {
                match entry {
                    DueEntry::Cancellation(due) => named.push(due),
                    DueEntry::Unreadable(key) => index.unreadable.push(key),
                }
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
    }
    named.retain(|due| tenant.is_none_or(|tenant| *tenant == due.tenant));
    for named in named.chunks(READ_TOGETHER) {
        for (due, details) in named.iter().zip(store.entry_details(named).await?) {
            // The index may still name what was replaced or executed a moment ago.
            let Some(details) = details else { continue };
            index.entries.push(Entry { due: due.clone(), details });
        }
    }
    Ok(index)
}
