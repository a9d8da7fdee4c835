//! `cancellations batches`: lists the batches of a tenant, with what became of their cancellations.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::cancellation::CancellationState;
use domain::identifiers::{BatchId, TenantId};
use domain::origin::Actor;
use domain::stored::StoredSubscription;
use serde::Serialize;
use serde_with::skip_serializing_none;
use store::{NextPage, Patience, try_again};

use crate::arguments::find_tenant;
use crate::format::{instant, or_nothing, table};
use crate::{CommandError, Session};

/// A batch, and the subscriptions whose latest cancellation is of it.
#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedBatch {
    batch: BatchId,
    /// The time of its first request.
    requested_at: DateTime<Utc>,
    requested_by: Option<Actor>,
    /// The earliest and the latest date of its cancellations.
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    pending: u64,
    executed: u64,
    withdrawn: u64,
}

pub(super) async fn list(session: &mut Session<'_>, tenant: TenantId) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, tenant).await?.id;
    let (mut batches, mut unreadable) = (BTreeMap::new(), Vec::new());
    let mut next: Option<NextPage> = None;
    loop {
        let page = try_again(Patience::OfCommand, || store.subscriptions(&tenant, next.clone())).await?;
        page.found.iter().for_each(|stored| count(&mut batches, stored));
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let mut batches: Vec<_> = batches.into_values().collect();
    batches.sort_by_key(|batch| Reverse(batch.requested_at));
    let outcome = session.complain(&unreadable);
    let row = |batch: &ListedBatch| {
        [
            batch.batch.to_string(),
            instant(batch.requested_at),
            or_nothing(batch.requested_by.as_ref()),
            or_nothing(batch.from),
            or_nothing(batch.to),
            batch.pending.to_string(),
            batch.executed.to_string(),
            batch.withdrawn.to_string(),
        ]
    };
    let heading = ["BATCH", "REQUESTED", "BY", "FROM", "TO", "#PENDING", "#EXECUTED", "#WITHDRAWN"];
    session.conclude(&batches, || table(heading, batches.iter().map(row)), outcome)
}

/// Counts a subscription in the batch of its latest cancellation.
fn count(batches: &mut BTreeMap<String, ListedBatch>, stored: &StoredSubscription) {
    let Some(kept) = &stored.cancellation else { return };
    let Some(id) = &kept.requested_in else { return };
    let batch = batches.entry(id.to_string()).or_insert_with(|| ListedBatch {
        batch: id.clone(),
        requested_at: kept.requested_at,
        requested_by: kept.requested_for.clone(),
        from: None,
        to: None,
        pending: 0,
        executed: 0,
        withdrawn: 0,
    });
    batch.requested_at = batch.requested_at.min(kept.requested_at);
    batch.from = batch.from.into_iter().chain(kept.scheduled_at).min();
    batch.to = batch.to.into_iter().chain(kept.scheduled_at).max();
    match stored.cancellation_state() {
        Some(CancellationState::Pending) => batch.pending += 1,
        Some(CancellationState::Executed) => batch.executed += 1,
        Some(CancellationState::Withdrawn) => batch.withdrawn += 1,
        Some(CancellationState::Replaced) | None => {}
    }
}
