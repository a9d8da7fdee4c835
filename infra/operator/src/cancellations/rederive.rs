//! `cancellations rederive`: moves pending cancellations to the first instant of their date, after a change of time zone.

use chrono::{DateTime, NaiveDate, Utc};
use domain::identifiers::{SubscriptionId, TenantId};
use domain::origin::Author;
use domain::repair::decide_rederivation;
use domain::standing::Standing;
use serde::Serialize;
use service::ids;

use super::change::change;
use super::index::{Entry, Index, Zones};
use crate::arguments::{Operator, find_tenant};
use crate::format::{counted, instant, table};
use crate::{CommandError, Session};

pub(super) async fn all(
    session: &mut Session<'_>,
    operator: &Operator,
    tenant: Option<TenantId>,
    dry_run: bool,
) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    // A dry run notes nothing.
    let author = Author::operator(if dry_run { None } else { Some(operator.name()?) });
    if let Some(tenant) = &tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    let zones = Zones::read(&store).await?;
    let index = Index::read_all(&store, tenant.as_ref()).await?;
    let mut moved = misplaced(&index, &zones, now);
    moved.sort_by_key(|moved| (moved.to, moved.subscription_id));
    if !dry_run {
        for Moved { tenant, subscription_id, .. } in &moved {
            change(&store, tenant, *subscription_id, |stored| {
                decide_rederivation(stored, &zones.calendar(tenant, now)?, ids::write_id(), &author)
            })
            .await?;
        }
    }
    let outcome = session.complain(&[&index.unreadable[..], &zones.missing(&index)].concat());
    let done = if dry_run { "would be moved" } else { "moved" };
    session.note(&format!("{} {done}", counted(moved.len(), "cancellation")));
    let row = |moved: &Moved| {
        [
            moved.tenant.to_string(),
            moved.subscription_id.to_string(),
            moved.date.to_string(),
            instant(moved.from),
            instant(moved.to),
        ]
    };
    let text = || table(["TENANT", "SUBSCRIPTION", "DATE", "FROM", "TO"], moved.iter().map(row));
    session.conclude(&moved, text, outcome)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Moved {
    tenant: TenantId,
    subscription_id: SubscriptionId,
    date: NaiveDate,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

/// Returns the pending cancellations whose instant is not the first instant of their date.
pub(crate) fn misplaced(index: &Index, zones: &Zones, now: DateTime<Utc>) -> Vec<Moved> {
    let misplaced = |Entry { due, details }: &Entry| {
        let date = details.date.filter(|_| details.standing == Some(Standing::Pending))?;
        let to = zones.calendar(&due.tenant, now)?.beginning_on_or_after(date).instant();
        (to != due.effective_at).then(|| Moved {
            tenant: due.tenant.clone(),
            subscription_id: due.subscription_id,
            date,
            from: due.effective_at,
            to,
        })
    };
    index.entries.iter().filter_map(misplaced).collect()
}
