//! What has to be put right about pending cancellations: their instants, when a time zone has changed; and their parts, when
//! another system has written one of them and not the others.

use chrono::{DateTime, NaiveDate, Utc};
use clap::ValueEnum;
use domain::change::Changed;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::repair::{Counts, decide_rederivation, decide_repair};
use domain::standing::{Contradiction, Standing};
use domain::stored::StoredSubscription;
use serde::Serialize;
use service::ids;
use store::commit::Changing;
use store::{NextPage, Store};
use store::{Patience, try_again};

use crate::arguments::find_tenant;
use crate::cancellations::{Entry, Index, Zones, read_index};
use crate::format::{counted, instant, or_nothing, table};
use crate::{CommandError, Session};

/// How often a subscription is decided about that others change meanwhile.
const MOST_DECISIONS: u32 = 5;

/// Which part of a subscription counts that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The document: what it says is pending will be executed, and nothing else
    Document,
    /// The cancellation that is kept: unless it was withdrawn, it will be executed
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

/// The last instant of the last year that the index can hold.
const EVER: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Moved {
    tenant: TenantId,
    subscription_id: SubscriptionId,
    date: NaiveDate,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

/// The pending cancellations whose instant is not the first of their date.
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

/// All that the index has, however far away.
pub(crate) async fn read_all(store: &Store, tenant: Option<&TenantId>) -> Result<Index, CommandError> {
    // Instants are compared as text, which has four digits for a year.
    let until = "9999-12-31T23:59:59Z".parse().unwrap_or(EVER);
    read_index(store, until, tenant).await
}

pub(crate) async fn rederive(
    session: &mut Session<'_>,
    tenant: Option<TenantId>,
    dry_run: bool,
) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    if let Some(tenant) = &tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    let zones = Zones::read(&store).await?;
    let index = read_all(&store, tenant.as_ref()).await?;
    let mut moved = misplaced(&index, &zones, now);
    moved.sort_by_key(|moved| (moved.to, moved.subscription_id));
    if !dry_run {
        for Moved { tenant, subscription_id, .. } in &moved {
            change(&store, tenant, *subscription_id, |stored| {
                decide_rederivation(stored, &zones.calendar(tenant, now)?, ids::write_id())
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
struct Repaired {
    tenant: TenantId,
    subscription_id: SubscriptionId,
    contradiction: String,
    /// The date on which it is cancelled then.
    date: Option<NaiveDate>,
    /// Whether that has begun, so that it is executed at once.
    overdue: bool,
}

pub(crate) async fn repair(
    session: &mut Session<'_>,
    by: Part,
    tenant: Option<TenantId>,
    dry_run: bool,
    yes: bool,
) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    if let Some(tenant) = &tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    let zones = Zones::read(&store).await?;
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    let mut next: Option<NextPage> = None;
    loop {
        let page =
            try_again(Patience::OfCommand, || store.contradictory(tenant.as_ref(), next.clone())).await?;
        found.extend(page.found);
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let decide = |tenant: &TenantId, stored: StoredSubscription| {
        let calendar = zones.calendar(tenant, now)?;
        decide_repair(stored, by.into(), &calendar, ids::new())
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
            "Of {} that contradict themselves, {pending} will be cancelled on their date, the others not",
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
    session.conclude(&repaired, || table(heading, repaired.iter().map(row)), outcome)
}

/// Changes a subscription as it is decided from what it is now; nothing if that is decided.
async fn change(
    store: &Store,
    tenant: &TenantId,
    id: SubscriptionId,
    decide: impl Fn(StoredSubscription) -> Option<Changed>,
) -> Result<(), CommandError> {
    let mut stored = try_again(Patience::OfCommand, || store.subscription(tenant, id)).await?;
    for _ in 0..MOST_DECISIONS {
        let Some(Changed { change, .. }) = stored.and_then(&decide) else { return Ok(()) };
        match store.change(tenant, id, &change, Patience::OfCommand).await? {
            Changing::Done => return Ok(()),
            Changing::Met(current) => stored = current.map(|current| *current),
        }
    }
    Err(CommandError::Incomplete(format!("{tenant}#{id} is changed by others all the time; run it again")))
}

/// What is contradictory in the index, by its key.
pub(crate) fn contradictory(index: &Index) -> Vec<(String, Contradiction)> {
    let contradictory = |entry: &Entry| match entry.details.standing {
        Some(Standing::Contradictory(contradiction)) => Some((entry.key(), contradiction)),
        _ => None,
    };
    index.entries.iter().filter_map(contradictory).collect()
}
