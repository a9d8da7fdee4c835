//! `history repair`: adds missing entries, from the stream of the table or from the subscription itself.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::history::{HistoryEntry, HistoryFault, last_entry, verify};
use domain::identifiers::TenantId;
use domain::stored::StoredSubscription;
use serde::Serialize;
use store::history::Recorded;
use store::{Admin, NextPage, Patience, try_again};
use streams::{Start, Stream, StreamError, as_write};
use tokio::time::sleep;

use crate::arguments::find_tenant;
use crate::format::table;
use crate::terminal::Text;
use crate::{CommandError, Session};

/// Time within which the entry of a change may still be on its way.
const ON_ITS_WAY: TimeDelta = TimeDelta::minutes(5);

/// Empty reads of the stream after which it counts as read to its end.
const EMPTY_READS: u32 = 20;
/// Pause after an empty read.
const PAUSE: Duration = Duration::from_millis(200);
/// Most failed reads of the stream.
const MOST_FAILURES: u32 = 10;
/// Pause after a failed read.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// A subscription whose history has faults, under its key.
type Faulty = BTreeMap<String, (TenantId, StoredSubscription)>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RepairedHistory {
    key: String,
    /// The number of entries that were added.
    added: usize,
    /// The faults that are left.
    faults: Vec<String>,
}

pub(super) async fn all(
    session: &mut Session<'_>,
    tenant: Option<TenantId>,
    dry_run: bool,
) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    if let Some(tenant) = &tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    let (faulty, unreadable) = find(&store, tenant.as_ref(), now).await?;
    let mut added = BTreeMap::new();
    if !dry_run && !faulty.is_empty() {
        from_stream(session, &store, &faulty, &mut added).await?;
        from_subscriptions(&store, &faulty, now, &mut added).await?;
    }
    let mut repaired = Vec::new();
    for (key, (tenant, stored)) in faulty {
        let faults = faults(&store, &tenant, &stored, now).await?;
        let faults = faults.iter().map(ToString::to_string).collect();
        repaired.push(RepairedHistory { added: added.get(&key).copied().unwrap_or_default(), key, faults });
    }
    let left = repaired.iter().filter(|repaired| !repaired.faults.is_empty()).count();
    let outcome = session.complain(&unreadable).and(match left {
        0 => Ok(()),
        count => {
            let what = if count == 1 { "history has faults" } else { "histories have faults" };
            Err(CommandError::Incomplete(format!("{count} {what}")))
        }
    });
    session.note(&format!("entries added: {}", added.values().sum::<usize>()));
    session.conclude(&repaired, || text(&repaired), outcome)
}

/// Returns the faults of a history, without that of an entry that may still be on its way.
pub(crate) async fn faults(
    store: &Admin,
    tenant: &TenantId,
    stored: &StoredSubscription,
    now: DateTime<Utc>,
) -> Result<Vec<HistoryFault>, CommandError> {
    let entries = store.whole_history(tenant, stored.document.subscription_id).await?;
    let mut faults = verify(stored, &entries).faults;
    let changed_at = HistoryEntry::of_present(stored, now).at;
    // A time that another clock or a document made up may lie far ahead.
    if (now - changed_at).abs() < ON_ITS_WAY {
        faults.retain(|fault| !fault.misses(&stored.revision));
    }
    Ok(faults)
}

/// Finds the subscriptions whose history has faults, and the keys of the items that can't be read.
async fn find(
    store: &Admin,
    tenant: Option<&TenantId>,
    now: DateTime<Utc>,
) -> Result<(Faulty, Vec<String>), CommandError> {
    let (mut faulty, mut unreadable) = (Faulty::new(), Vec::new());
    let mut next: Option<NextPage> = None;
    loop {
        let page = try_again(Patience::OfCommand, || store.all_subscriptions(tenant, next.clone())).await?;
        unreadable.extend(page.unreadable);
        for (tenant, stored) in page.found {
            if !faults(store, &tenant, &stored, now).await?.is_empty() {
                let key = format!("{tenant}#{}", stored.document.subscription_id);
                faulty.insert(key, (tenant, stored));
            }
        }
        next = page.next;
        if next.is_none() {
            return Ok((faulty, unreadable));
        }
    }
}

/// Adds the entries of the changes that are still in the stream.
async fn from_stream(
    session: &Session<'_>,
    store: &Admin,
    faulty: &Faulty,
    added: &mut BTreeMap<String, usize>,
) -> Result<(), CommandError> {
    let Some(arn) = store.stream_arn().await? else { return Ok(()) };
    let mut stream = Stream::new(session.endpoint.clone(), arn, Start::Oldest);
    // An empty read may mean that a shard has ended and its children come next. Or the database has only passed over a part of a
    // shard. A day has some six generations of shards.
    let (mut empty_reads, mut failures) = (0, 0);
    while empty_reads < EMPTY_READS {
        let pages = match stream.read().await {
            Ok(pages) => pages,
            // The oldest records are gone. The others can be read.
            Err(StreamError::Lost) => Vec::new(),
            Err(StreamError::Unavailable(_)) if failures < MOST_FAILURES => {
                failures += 1;
                sleep(PAUSE_AFTER_FAILURE).await;
                continue;
            }
            Err(cause) => return Err(cause.into()),
        };
        if pages.is_empty() {
            empty_reads += 1;
            sleep(PAUSE).await;
        } else {
            empty_reads = 0;
        }
        for record in pages.into_iter().flat_map(|page| page.records) {
            let write = as_write(record);
            let key = write.key().to_owned();
            if faulty.contains_key(&key) {
                for entry in write.change().history {
                    add(store, &key, &entry, added).await?;
                }
            }
        }
    }
    Ok(())
}

/// Adds the entries of the last changes, as far as the subscriptions say what made them.
async fn from_subscriptions(
    store: &Admin,
    faulty: &Faulty,
    now: DateTime<Utc>,
    added: &mut BTreeMap<String, usize>,
) -> Result<(), CommandError> {
    for (key, (tenant, stored)) in faulty {
        let entries = store.whole_history(tenant, stored.document.subscription_id).await?;
        let faults = verify(stored, &entries).faults;
        if faults.iter().any(|fault| fault.misses(&stored.revision)) {
            let entry = last_entry(stored, &entries, now);
            add(store, key, &entry, added).await?;
        }
    }
    Ok(())
}

async fn add(
    store: &Admin,
    key: &str,
    entry: &HistoryEntry,
    added: &mut BTreeMap<String, usize>,
) -> Result<(), CommandError> {
    match try_again(Patience::OfCommand, || store.record(key, entry)).await? {
        Recorded::Added => *added.entry(key.to_owned()).or_default() += 1,
        Recorded::Present => {}
        // The fault is listed at the end.
        Recorded::Refused => {}
    }
    Ok(())
}

fn text(repaired: &[RepairedHistory]) -> Text {
    let row = |RepairedHistory { key, added, faults }: &RepairedHistory| {
        let faults = if faults.is_empty() { "none".to_owned() } else { faults.join("; ") };
        [key.clone(), added.to_string(), faults]
    };
    table(["SUBSCRIPTION", "#ADDED", "STILL WRONG"], repaired.iter().map(row))
}
