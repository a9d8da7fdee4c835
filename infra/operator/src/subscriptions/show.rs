//! `subscriptions show`: shows one stored subscription, its cancellation, and the names of the API keys that changed that.

use domain::cancellation::Cancellation;
use domain::identifiers::{KeyId, SubscriptionName, TenantId};
use domain::standing::Standing;
use domain::stored::StoredSubscription;
use domain::subscription::{Status, Subscription};
use serde::Serialize;

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
    cancellation: Option<ShownCancellation>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownCancellation {
    state: String,
    #[serde(flatten)]
    cancellation: Cancellation,
    requested_by_name: Option<String>,
    withdrawn_by_name: Option<String>,
}

pub(super) async fn run(
    session: &mut Session<'_>,
    tenant: TenantId,
    name: SubscriptionName,
) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, tenant).await?.id;
    let stored = store.named(&tenant, &name).await?;
    let Some(stored) = stored else { return Err(CommandError::NoSubscription(tenant)) };

    let state = state(&stored);
    let name_of = async |key: &Option<KeyId>| match key {
        Some(key) => Ok(store.api_key(&tenant, key).await?.and_then(|key| key.name)),
        None => Ok::<_, CommandError>(None),
    };
    let cancellation = match stored.cancellation {
        Some(cancellation) => Some(ShownCancellation {
            state,
            requested_by_name: name_of(&cancellation.requested_by).await?,
            withdrawn_by_name: name_of(&cancellation.withdrawn_by).await?,
            cancellation,
        }),
        None => None,
    };
    let shown = ShownSubscription {
        tenant,
        version: stored.revision.version,
        subscription: stored.document,
        cancellation,
    };
    session.print(&shown, || text(&shown))
}

fn state(stored: &StoredSubscription) -> String {
    match stored.standing() {
        Standing::Pending => "pending".to_owned(),
        Standing::NotPending if stored.document.status == Status::Cancelled => "took effect".to_owned(),
        Standing::NotPending => "withdrawn".to_owned(),
        contradictory @ Standing::Contradictory(_) => {
            format!("{contradictory}; fix it with connect cancellations repair")
        }
    }
}

fn text(shown: &ShownSubscription) -> Text {
    let mut lines =
        vec![format!("Tenant         {}", shown.tenant), format!("Version        {}", shown.version)];
    match &shown.cancellation {
        None => lines.push("Cancellation   none".to_owned()),
        Some(ShownCancellation { state, cancellation, requested_by_name, withdrawn_by_name }) => {
            let by = |key: &Option<KeyId>, name: &Option<String>| match (key, name) {
                (Some(key), Some(name)) => format!("key {key} ({name})"),
                (Some(key), None) => format!("key {key}"),
                (None, _) => "an import".to_owned(),
            };
            let requested_by = by(&cancellation.requested_by, requested_by_name);
            lines.extend([
                format!("Cancellation   {}: {state}", cancellation.cancellation_id),
                format!("  effective    {}", instant(cancellation.effective_at)),
                format!("  reason       {}", or_nothing(cancellation.reason)),
                format!("  comment      {}", or_nothing(cancellation.comment.as_ref())),
                format!("  metadata     {}", or_nothing(cancellation.metadata.as_ref())),
                format!("  requested    {} by {requested_by}", instant(cancellation.requested_at)),
            ]);
            if let Some(at) = cancellation.withdrawn_at {
                let by = by(&cancellation.withdrawn_by, withdrawn_by_name);
                lines.push(format!("  withdrawn    {} by {by}", instant(at)));
            }
        }
    }
    let document = terminal::pretty_json(&shown.subscription).unwrap_or_default();
    lines.into_iter().collect::<Text>().and(document)
}
