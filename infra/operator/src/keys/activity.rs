//! `keys activity`: the changes that a key has requested.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::history::HistoryEntryDetails;
use domain::identifiers::{KeyId, SubscriptionId, TenantId};
use serde::Serialize;
use serde_json::{Value, json};
use store::{Admin, Patience, try_again};

use crate::arguments::find_tenant;
use crate::format::{NOTHING, counted, instant, or_nothing, table};
use crate::{CommandError, Session};

/// A change that the key has requested.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Requested {
    subscription_id: SubscriptionId,
    #[serde(flatten)]
    entry: HistoryEntryDetails,
}

pub(super) async fn run(
    session: &mut Session<'_>,
    store: &Admin,
    tenant: TenantId,
    key: KeyId,
    since: DateTime<Utc>,
) -> Result<(), CommandError> {
    let tenant = find_tenant(store, tenant).await?;
    if store.api_key(&tenant.id, &key).await?.is_none() {
        return Err(CommandError::NoKey { tenant: tenant.id, key });
    }
    let (mut found, mut unreadable, mut next) = (Vec::new(), Vec::new(), None);
    loop {
        let read = || store.activity(&tenant.id, &key, since, next.clone());
        let page = try_again(Patience::OfCommand, read).await?;
        found.extend(page.found);
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    found.sort_by_key(|(id, entry)| (entry.at, *id));
    let changes: Vec<_> = found
        .iter()
        .map(|(id, entry)| Requested { subscription_id: *id, entry: entry.details(&tenant.time_zone) })
        .collect();
    let outcome = session.complain(&unreadable);
    session.note(&summary(&key, &changes, since));
    let text = || {
        let row = |change: &Requested| {
            let Requested { subscription_id, entry } = change;
            let scheduled = entry.cancellation.as_ref().and_then(|cancellation| cancellation.scheduled_at);
            let actor = entry.requested_by.as_ref().and_then(|requester| requester.actor.as_ref());
            [
                instant(entry.at),
                name(&json!(entry.cause)),
                subscription_id.to_string(),
                or_nothing(scheduled),
                or_nothing(actor),
                or_nothing(entry.request_id.as_ref()),
            ]
        };
        table(["AT", "CAUSE", "SUBSCRIPTION", "DATE", "ACTOR", "REQUEST"], changes.iter().map(row))
    };
    session.conclude(&changes, text, outcome)
}

/// Counts the changes by their cause.
fn summary(key: &KeyId, changes: &[Requested], since: DateTime<Utc>) -> String {
    let mut causes = BTreeMap::<String, u64>::new();
    for change in changes {
        *causes.entry(name(&json!(change.entry.cause))).or_default() += 1;
    }
    let causes: Vec<_> = causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
    let causes = if causes.is_empty() { String::new() } else { format!(": {}", causes.join(", ")) };
    format!("{} by the key {key} since {}{causes}", counted(changes.len(), "change"), instant(since))
}

fn name(value: &Value) -> String {
    value.as_str().unwrap_or(NOTHING).to_owned()
}
