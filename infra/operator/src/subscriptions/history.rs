//! `subscriptions history`: shows the changes of one subscription, with their times, causes and makers, and each gap in them.

use domain::history::{HistoryEntry, HistoryEntryDetails, verify};
use domain::identifiers::{SubscriptionId, SubscriptionName, TenantId};
use serde::Serialize;
use serde_json::{Value, json};

use super::requester::by;
use crate::arguments::find_tenant;
use crate::format::{NOTHING, counted, instant, or_nothing, table};
use crate::terminal::Text;
use crate::{CommandError, Session};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownHistory {
    tenant: TenantId,
    subscription_id: SubscriptionId,
    /// The changes that led to the subscription as it is, the newest first.
    items: Vec<HistoryEntryDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    faults: Vec<String>,
    /// Changes of states that are gone, because a table was restored or the subscription was removed.
    elsewhere: Vec<HistoryEntryDetails>,
}

pub(super) async fn run(
    session: &mut Session<'_>,
    tenant: TenantId,
    name: SubscriptionName,
    verifies: bool,
) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, tenant).await?;
    let stored = store.named(&tenant.id, &name).await?;
    let id = match (&stored, name) {
        (Some(stored), _) => stored.document.subscription_id,
        // The history outlives its subscription.
        (None, SubscriptionName::Id(id)) => id,
        (None, SubscriptionName::Reference(_)) => return Err(CommandError::NoSubscription(tenant.id)),
    };
    let entries = store.whole_history(&tenant.id, id).await?;
    let details = |entry: &HistoryEntry| entry.details(&tenant.time_zone);
    let verified = stored.as_ref().map(|stored| verify(stored, &entries));
    let (items, verification): (Vec<_>, _) = match &verified {
        None if entries.is_empty() => return Err(CommandError::NoSubscription(tenant.id)),
        None => {
            session.note("the subscription does not exist; its history stays");
            (entries.iter().map(details).collect(), None)
        }
        Some(verified) => (
            verified.line.iter().map(|entry| details(entry)).collect(),
            verifies.then(|| Verification {
                faults: verified.faults.iter().map(ToString::to_string).collect(),
                elsewhere: verified.elsewhere.iter().map(|entry| details(entry)).collect(),
            }),
        ),
    };
    let faults = verification.as_ref().map_or(0, |verification| verification.faults.len());
    let shown = ShownHistory { tenant: tenant.id, subscription_id: id, items, verification };
    let outcome = match faults {
        0 => Ok(()),
        count => Err(CommandError::Incomplete(format!("{} in the history", counted(count, "fault")))),
    };
    session.conclude(&shown, || text(&shown), outcome)
}

fn text(shown: &ShownHistory) -> Text {
    let mut text = timeline(&shown.items);
    if let Some(Verification { faults, elsewhere }) = &shown.verification {
        text = text.and("");
        if !elsewhere.is_empty() {
            text = text.and(
                "Changes of states that are gone (a restored table, or a subscription that was removed):",
            );
            text = text.and(timeline(elsewhere));
        }
        text = match (faults.as_slice(), shown.items.as_slice()) {
            ([], []) => text
                .and("ok     the history has no entry, and the subscription has not changed since it began"),
            ([], [newest, ..]) => {
                let oldest = shown.items.last().map_or(newest.version, |oldest| oldest.version);
                let (changes, newest) = (counted(shown.items.len(), "change"), newest.version);
                text.and(format!(
                    "ok     {changes} without a gap, from version {oldest} to the subscription as it is, version {newest}"
                ))
            }
            (faults, _) => text.and(faults.iter().map(|fault| format!("WRONG  {fault}")).collect::<Text>()),
        };
    }
    text
}

fn timeline(entries: &[HistoryEntryDetails]) -> Text {
    let heading = ["#VERSION", "AT", "CAUSE", "SOURCE", "BY", "REQUEST", "STATUS", "CANCELLATION"];
    table(heading, entries.iter().map(row))
}

fn row(entry: &HistoryEntryDetails) -> [String; 8] {
    let name = |value: Value| value.as_str().unwrap_or(NOTHING).to_owned();
    let cancellation = entry.cancellation.as_ref().map(|cancellation| {
        let parts = [
            cancellation.state.map(|state| name(json!(state))),
            cancellation.scheduled_at.map(|date| date.to_string()),
            cancellation.reason.map(|reason| reason.to_string()),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    });
    [
        entry.version.to_string(),
        instant(entry.at),
        name(json!(entry.cause)),
        name(json!(entry.source)),
        by(&entry.requested_by, NOTHING),
        or_nothing(entry.request_id.as_ref()),
        name(json!(entry.status)),
        or_nothing(cancellation),
    ]
}
