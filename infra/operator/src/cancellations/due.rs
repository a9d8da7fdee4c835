//! `cancellations due`: lists due and upcoming cancellations, in the order in which they take effect.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use clap::Args;
use domain::cancellation::Reason;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::standing::Standing;
use serde::Serialize;
use store::scan::EntryDetails;

use super::index::{Entry, Index, Zones};
use crate::arguments::{find_tenant, parse_date, parse_tenant};
use crate::format::{counted, instant, or_nothing, print_csv, table};
use crate::when::duration;
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
    /// True if the cancellations of the tenant are paused.
    paused: bool,
    /// The reason for which the cancellation will not be executed, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    contradiction: Option<String>,
}

/// Arguments of `cancellations due`.
#[derive(Clone, Debug, Args)]
pub struct ListDue {
    /// Time to look ahead; cancellations that are due already are listed too
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration, conflicts_with_all = ["from", "to"])]
    within: TimeDelta,
    /// The first date, in each tenant's calendar [default: no limit]
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    from: Option<NaiveDate>,
    /// The last date, in each tenant's calendar [default: no limit]
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    to: Option<NaiveDate>,
    /// Only cancellations of this tenant [default: all tenants]
    #[arg(long, value_parser = parse_tenant)]
    tenant: Option<TenantId>,
    /// Only count them, by date and reason
    #[arg(long)]
    summary: bool,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// The number of cancellations on one date for one reason.
#[derive(Serialize)]
struct DueCount {
    date: Option<NaiveDate>,
    reason: Option<Reason>,
    count: u64,
}

pub(super) async fn list(session: &mut Session<'_>, arguments: ListDue) -> Result<(), CommandError> {
    let ListDue { within, from, to, tenant, summary, csv } = arguments;
    let (store, now) = (session.store(), session.now());
    if from.zip(to).is_some_and(|(from, to)| to < from) {
        return Err(CommandError::Usage("--from is later than --to"));
    }
    if let Some(tenant) = &tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    let (index, range) = if from.is_some() || to.is_some() {
        let dates = [from.map(|from| format!(" from {from}")), to.map(|to| format!(" to {to}"))];
        (Index::read_all(&store, tenant.as_ref()).await?, dates.into_iter().flatten().collect())
    } else {
        // The index compares instants as text, with four digits for the year.
        let until = now
            .checked_add_signed(within)
            .filter(|until| until.year() <= 9999)
            .ok_or(CommandError::Usage("--within reaches beyond the year 9999"))?;
        (Index::read(&store, until, tenant.as_ref()).await?, format!(" until {}", instant(until)))
    };
    let (Index { entries, unreadable }, zones) = (index, Zones::read(&store).await?);
    let in_range = |date: Option<NaiveDate>| match date {
        Some(date) => from.is_none_or(|from| from <= date) && to.is_none_or(|to| date <= to),
        None => from.is_none() && to.is_none(),
    };
    let mut listed: Vec<_> = entries
        .into_iter()
        .filter(|entry| in_range(entry.details.date))
        .map(|Entry { due, details: EntryDetails { reason, date, standing } }| Due {
            effective_at: due.effective_at,
            date,
            paused: zones.is_paused(&due.tenant),
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
    session.note(&format!("{}{range}", counted(listed.len(), "cancellation")));
    if summary {
        let counts = count(&listed);
        let rows = || counts.iter().map(DueCount::row);
        let heading = ["DATE THERE", "REASON", "#COUNT"];
        if csv {
            return outcome.and(print_csv(session, ["date", "reason", "count"], rows()));
        }
        return session.conclude(&counts, || table(heading, rows()), outcome);
    }
    let rows = || listed.iter().map(Due::row);
    if csv {
        let heading = ["effectiveAt", "date", "tenant", "subscriptionId", "reason", "state"];
        return outcome.and(print_csv(session, heading, rows()));
    }
    let heading = ["EFFECTIVE", "DATE THERE", "TENANT", "SUBSCRIPTION", "REASON", "STATE"];
    session.conclude(&listed, || table(heading, rows()), outcome)
}

impl Due {
    fn row(&self) -> [String; 6] {
        [
            instant(self.effective_at),
            or_nothing(self.date),
            self.tenant.to_string(),
            self.subscription_id.to_string(),
            or_nothing(self.reason),
            match (&self.contradiction, self.paused, self.overdue) {
                (Some(contradiction), ..) => contradiction.clone(),
                (None, true, _) => "paused".to_owned(),
                (None, false, true) => "due".to_owned(),
                (None, false, false) => "to come".to_owned(),
            },
        ]
    }
}

impl DueCount {
    fn row(&self) -> [String; 3] {
        [or_nothing(self.date), or_nothing(self.reason), self.count.to_string()]
    }
}

/// Counts cancellations by date and reason, in their order.
fn count(listed: &[Due]) -> Vec<DueCount> {
    let mut counts = BTreeMap::<(Option<NaiveDate>, String), DueCount>::new();
    for Due { date, reason, .. } in listed {
        let new = DueCount { date: *date, reason: *reason, count: 0 };
        counts.entry((*date, or_nothing(*reason))).or_insert(new).count += 1;
    }
    counts.into_values().collect()
}
