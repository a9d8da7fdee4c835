//! Checks that the cancellations that are due are executed, and that the pending ones can be executed on their date.

use chrono::{DateTime, Utc};
use domain::tenant::Tenant;
use store::Admin;

use super::Finding;
use crate::cancellations::{Entry, Index, Lag, Zones, contradictory, misplaced};
use crate::format::{counted, instant};
use crate::{CommandError, Session};

/// Longest delay that is not a fault, in seconds: a sweep begins every minute, and may take a few minutes.
const MOST_LAG_SECONDS: i64 = 300;

/// Checks that the cancellations that are due are executed, and that the pending ones can be.
pub(super) async fn check(session: &Session<'_>, store: &Admin) -> Vec<Finding> {
    let read =
        async { Ok::<_, CommandError>((Index::read_all(store, None).await?, Zones::read(store).await?)) };
    match read.await {
        Ok((index, zones)) => vec![
            lag(&index.lag(&zones, session.now())),
            readable(&index),
            owned(&index, &zones),
            running(&index, &zones, session.now()),
            whole(&index),
            in_place(&index, &zones, session.now()),
        ],
        Err(cause) => vec![Finding::wrong(
            "lag",
            cause.to_string(),
            "the credentials need dynamodb:Query on the index due, and dynamodb:BatchGetItem and dynamodb:Scan on the tables",
        )],
    }
}

fn lag(lag: &Lag) -> Finding {
    let due = counted(lag.due, "cancellation");
    if lag.lag_seconds > MOST_LAG_SECONDS {
        Finding::wrong(
            "lag",
            format!("{due} due, the oldest for {} s", lag.lag_seconds),
            "check the log of execute-cancellations and its queue of failed sweeps; connect cancellations run \
             executes them now",
        )
    } else {
        Finding::ok("lag", format!("{due} due"))
    }
}

fn readable(index: &Index) -> Finding {
    let items = index.entries.iter().filter(|entry| entry.details.standing.is_none()).map(Entry::key);
    let unreadable: Vec<_> = index.unreadable.iter().cloned().chain(items).collect();
    match unreadable.len() {
        0 => Finding::ok("index", format!("{} pending", counted(index.entries.len(), "cancellation"))),
        count => Finding::wrong(
            "index",
            format!("{} can't be read: {}", counted(count, "subscription"), first(&unreadable)),
            "check these items, which this service did not write; connect cancellations repair fixes their entries in the \
             index, connect subscriptions import --existing overwrite replaces them",
        ),
    }
}

fn owned(index: &Index, zones: &Zones) -> Finding {
    let missing = zones.missing(index);
    match missing.len() {
        0 => Finding::ok("tenants", "each has a time zone"),
        count => Finding::wrong(
            "tenants",
            format!("{} without a readable time zone: {}", counted(count, "tenant"), first(&missing)),
            "set it with connect tenants set-time-zone; create a missing tenant again with connect tenants create; until then, \
             none of their cancellations is executed",
        ),
    }
}

fn running(index: &Index, zones: &Zones, now: DateTime<Utc>) -> Finding {
    let paused = zones.paused();
    let is_paused = |entry: &Entry| paused.iter().any(|tenant| tenant.id == entry.due.tenant);
    let is_due = |entry: &&Entry| entry.due.effective_at <= now && is_paused(entry);
    let due = index.entries.iter().filter(is_due).count();
    let since = |tenant: &&Tenant| {
        let since = tenant.paused.as_ref().map(|pause| format!(" since {}", instant(pause.at)));
        format!("{}{}", tenant.id, since.unwrap_or_default())
    };
    let names: Vec<_> = paused.iter().map(since).collect();
    match paused.len() {
        0 => Finding::ok("paused", "no tenant"),
        count => Finding::wrong(
            "paused",
            format!(
                "{}, with {} due: {}",
                counted(count, "tenant"),
                counted(due, "cancellation"),
                first(&names)
            ),
            "none of their cancellations is executed until connect cancellations resume",
        ),
    }
}

fn whole(index: &Index) -> Finding {
    let contradictory = contradictory(index);
    let keys: Vec<_> = contradictory.iter().map(|(key, why)| format!("{key} ({why})")).collect();
    match keys.len() {
        0 => Finding::ok("pending", "document, cancellation and index agree"),
        count => Finding::wrong(
            "pending",
            format!("{} will not be executed: {}", counted(count, "cancellation"), first(&keys)),
            "another system wrote one part and not the others: choose the part that counts, with connect cancellations repair",
        ),
    }
}

fn in_place(index: &Index, zones: &Zones, now: DateTime<Utc>) -> Finding {
    match misplaced(index, zones, now).len() {
        0 => Finding::ok("instants", "each cancellation takes effect at the first instant of its date"),
        count => Finding::wrong(
            "instants",
            format!("{} not at the first instant of their date", counted(count, "cancellation")),
            "the time zone, or its rules, have changed: connect cancellations rederive moves them",
        ),
    }
}

/// Lists the first ten keys, and the number of the others.
pub(super) fn first(keys: &[String]) -> String {
    const MOST: usize = 10;
    let more = keys.len().saturating_sub(MOST);
    let keys = keys.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { keys } else { format!("{keys} and {more} more") }
}
