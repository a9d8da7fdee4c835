//! `subscriptions show`: shows one stored subscription and its cancellation, with who requested it and what came of it.

use domain::cancellation::CancellationState;
use domain::details::CancellationDetails;
use domain::identifiers::{SubscriptionName, TenantId};
use domain::origin::Requester;
use domain::standing::Standing;
use domain::subscription::Subscription;
use serde::Serialize;
use store::Admin;

use super::requester::by;
use crate::arguments::find_tenant;
use crate::format::{instant, or_nothing};
use crate::terminal::{self, Text};
use crate::{CommandError, Session};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSubscription {
    tenant: TenantId,
    version: u64,
    subscription: Subscription,
    cancellation: Option<CancellationDetails>,
    /// The contradiction between the parts of the subscription, if they disagree.
    contradiction: Option<String>,
}

pub(super) async fn run(
    session: &mut Session<'_>,
    tenant: TenantId,
    name: SubscriptionName,
) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, tenant).await?;
    let stored = store.named(&tenant.id, &name).await?;
    let Some(stored) = stored else { return Err(CommandError::NoSubscription(tenant.id)) };

    let mut cancellation = stored.kept_cancellation(&tenant.time_zone);
    if let Some(details) = &mut cancellation {
        add_name(&store, &tenant.id, &mut details.requested_by).await?;
        add_name(&store, &tenant.id, &mut details.withdrawn_by).await?;
    }
    let contradiction = match stored.standing() {
        Standing::Contradictory(contradiction) => Some(contradiction.to_string()),
        Standing::NotPending | Standing::Pending => None,
    };
    let shown = ShownSubscription {
        tenant: tenant.id,
        version: stored.revision.version,
        subscription: stored.document,
        cancellation,
        contradiction,
    };
    session.print(&shown, || text(&shown))
}

/// Adds the name that an API key has now, if an earlier version of this service noted none.
async fn add_name(
    store: &Admin,
    tenant: &TenantId,
    requester: &mut Option<Requester>,
) -> Result<(), CommandError> {
    if let Some(Requester { key_id: Some(key), key_name: name @ None, .. }) = requester {
        *name = store.api_key(tenant, key).await?.and_then(|key| key.name);
    }
    Ok(())
}

fn text(shown: &ShownSubscription) -> Text {
    let mut lines =
        vec![format!("Tenant         {}", shown.tenant), format!("Version        {}", shown.version)];
    match &shown.cancellation {
        None => lines.push("Cancellation   none".to_owned()),
        Some(details) => {
            let metadata = details.metadata.as_ref().map(|metadata| metadata.0.get());
            lines.extend([
                format!("Cancellation   {}: {}", details.cancellation_id, state(details)),
                format!("  effective    {}", instant(details.effective_at)),
                format!("  reason       {}", or_nothing(details.reason)),
                format!("  comment      {}", or_nothing(details.comment.as_ref().map(|comment| &comment.0))),
                format!("  metadata     {}", or_nothing(metadata)),
                format!(
                    "  requested    {} by {}",
                    instant(details.requested_at),
                    by(&details.requested_by, "an import")
                ),
            ]);
            if let Some(at) = details.withdrawn_at {
                lines.push(format!(
                    "  withdrawn    {} by {}",
                    instant(at),
                    by(&details.withdrawn_by, "an operator")
                ));
            }
            lines.extend(details.executed_at.map(|at| format!("  executed     {}", instant(at))));
        }
    }
    if let Some(contradiction) = &shown.contradiction {
        lines.push(format!("Contradiction  {contradiction}; fix it with connect cancellations repair"));
    }
    let document = terminal::pretty_json(&shown.subscription).unwrap_or_default();
    lines.into_iter().collect::<Text>().and(document)
}

fn state(details: &CancellationDetails) -> &'static str {
    match details.state {
        Some(CancellationState::Pending) => "pending",
        Some(CancellationState::Executed) => "executed",
        Some(CancellationState::Withdrawn) => "withdrawn",
        Some(CancellationState::Replaced) => "replaced",
        None => "unclear",
    }
}
