//! `cancellations due`: lists due and upcoming cancellations, in the order in which they take effect.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use domain::cancellation::Reason;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::standing::Standing;
use serde::Serialize;
use store::scan::EntryDetails;

use super::index::{Entry, Index};
use crate::arguments::find_tenant;
use crate::format::{counted, instant, or_nothing, table};
use crate::{CommandError, Session};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Due {
    effective_at: DateTime<Utc>,
    /// The date in the tenant's calendar, as callers see it.
    date: Option<NaiveDate>,
    tenant: TenantId,
    subscription_id: SubscriptionId,
    reason: Option<Reason>,
    overdue: bool,
    /// The reason for which the cancellation will not be executed, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    contradiction: Option<String>,
}

pub(super) async fn list(
    session: &mut Session<'_>,
    within: TimeDelta,
    tenant: Option<TenantId>,
) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    if let Some(tenant) = &tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    // The index compares instants as text, with four digits for the year.
    let until = now
        .checked_add_signed(within)
        .filter(|until| until.year() <= 9999)
        .ok_or(CommandError::Usage("--within reaches beyond the year 9999"))?;
    let Index { entries, unreadable } = Index::read(&store, until, tenant.as_ref()).await?;
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
