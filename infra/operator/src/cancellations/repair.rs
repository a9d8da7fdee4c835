//! `cancellations repair`: repairs subscriptions whose parts contradict each other, by the part that counts.

use chrono::NaiveDate;
use clap::ValueEnum;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::origin::Author;
use domain::repair::{Counts, decide_repair};
use domain::standing::{Contradiction, Standing};
use domain::stored::StoredSubscription;
use serde::Serialize;
use service::ids;
use store::{Admin, NextPage, Patience, try_again};

use super::change::change;
use super::index::{Entry, Index, Zones};
use crate::arguments::{Operator, find_tenant};
use crate::format::{counted, or_nothing, table};
use crate::terminal::Text;
use crate::{CommandError, Session};

/// The part of a subscription that counts in a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The document: a cancellation that is pending there will be executed, and no other
    Document,
    /// The cancellation that is kept: it will be executed, unless it was withdrawn or executed before
    Cancellation,
}

impl From<Part> for Counts {
    fn from(part: Part) -> Self {
        match part {
            Part::Document => Self::Document,
            Part::Cancellation => Self::Cancellation,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Repaired {
    tenant: TenantId,
    subscription_id: SubscriptionId,
    contradiction: String,
    /// The date on which the repaired subscription is cancelled; `None` if it is not.
    date: Option<NaiveDate>,
    /// True if that date has begun, so that the cancellation is executed at once.
    overdue: bool,
}

pub(super) async fn all(
    session: &mut Session<'_>,
    operator: &Operator,
    by: Part,
    tenant: Option<TenantId>,
    dry_run: bool,
    yes: bool,
) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    // A dry run notes nothing.
    let author = Author::operator(if dry_run { None } else { Some(operator.name()?) });
    if let Some(tenant) = &tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    let zones = Zones::read(&store).await?;
    let (found, unreadable) = find(&store, tenant.as_ref()).await?;
    let decide = |tenant: &TenantId, stored: StoredSubscription| {
        let calendar = zones.calendar(tenant, now)?;
        decide_repair(stored, by.into(), &calendar, ids::new(), &author)
    };
    let repaired: Vec<_> = found
        .into_iter()
        .filter_map(|(tenant, stored)| {
            let contradiction = stored.standing();
            let after = decide(&tenant, stored)?.after;
            let pending = after.pending_cancellation();
            Some(Repaired {
                subscription_id: after.document.subscription_id,
                tenant,
                contradiction: contradiction.to_string(),
                date: pending.and_then(|pending| pending.scheduled_at),
                overdue: pending.is_some_and(|pending| pending.effective_at <= now),
            })
        })
        .collect();
    if !dry_run && !repaired.is_empty() {
        let pending = repaired.iter().filter(|repaired| repaired.date.is_some()).count();
        let what = format!(
            "This repairs {}: {pending} will be cancelled on their date, the others will not be cancelled",
            counted(repaired.len(), "subscription")
        );
        session.confirm(yes, what).await?;
        for Repaired { tenant, subscription_id, .. } in &repaired {
            change(&store, tenant, *subscription_id, |stored| decide(tenant, stored)).await?;
        }
    }
    let outcome = session.complain(&unreadable);
    let done = if dry_run { "would be repaired" } else { "repaired" };
    session.note(&format!("{} {done}", counted(repaired.len(), "subscription")));
    session.conclude(&repaired, || text(&repaired), outcome)
}

/// Finds the contradictory subscriptions, with their tenants, and the keys of the items that can't be read.
async fn find(
    store: &Admin,
    tenant: Option<&TenantId>,
) -> Result<(Vec<(TenantId, StoredSubscription)>, Vec<String>), CommandError> {
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    let mut next: Option<NextPage> = None;
    loop {
        let page = try_again(Patience::OfCommand, || store.contradictory(tenant, next.clone())).await?;
        found.extend(page.found);
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() {
            return Ok((found, unreadable));
        }
    }
}

fn text(repaired: &[Repaired]) -> Text {
    let row = |repaired: &Repaired| {
        [
            repaired.tenant.to_string(),
            repaired.subscription_id.to_string(),
            or_nothing(repaired.date),
            if repaired.overdue { "at once".to_owned() } else { or_nothing(None::<&str>) },
            repaired.contradiction.clone(),
        ]
    };
    let heading = ["TENANT", "SUBSCRIPTION", "CANCELLED ON", "", "CONTRADICTION"];
    table(heading, repaired.iter().map(row))
}

/// Returns the keys of the index entries whose subscriptions are contradictory, each with its contradiction.
pub(crate) fn contradictory(index: &Index) -> Vec<(String, Contradiction)> {
    let contradictory = |entry: &Entry| match entry.details.standing {
        Some(Standing::Contradictory(contradiction)) => Some((entry.key(), contradiction)),
        _ => None,
    };
    index.entries.iter().filter_map(contradictory).collect()
}
