//! `cancellations lag`: shows how late the oldest cancellation is that is due and can be executed.

use chrono::{DateTime, Utc};
use domain::identifiers::{SubscriptionId, TenantId};
use serde::Serialize;
use store::Admin;

use super::index::{Entry, Index, Zones};
use crate::format::instant;
use crate::{CommandError, Session};

pub(super) async fn say(session: &mut Session<'_>) -> Result<(), CommandError> {
    let (lag, unreadable) = measure_lag(&session.store(), session.now()).await?;
    let outcome = session.complain(&unreadable);
    let text = || match &lag.oldest {
        None => "nothing is due".to_owned(),
        Some(Oldest { tenant, subscription_id, effective_at }) => format!(
            "{} due; the oldest is {} seconds late: {subscription_id} of {tenant}, due since {}",
            lag.due,
            lag.lag_seconds,
            instant(*effective_at)
        ),
    };
    session.conclude(&lag, text, outcome)
}

/// The cancellations that are due and can be executed: their number, the oldest, and its delay.
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

/// Measures the lag at `now`. Also returns the keys of the entries that can't be read.
async fn measure_lag(store: &Admin, now: DateTime<Utc>) -> Result<(Lag, Vec<String>), CommandError> {
    let index = Index::read(store, now, None).await?;
    let zones = Zones::read(store).await?;
    Ok((index.lag(&zones, now), index.unreadable))
}

impl Index {
    /// Computes the lag at `now`, from the cancellations that can be executed.
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
