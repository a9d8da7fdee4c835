//! The webhook that the service is started with.

use chrono::{DateTime, Utc};
use domain::identifiers::TenantId;
use domain::webhook::{Addresses, Webhook};
use service::ids;
use url::Url;

use super::StartError;
use super::database::OpenDatabase;

/// Adds a webhook of the demo tenant, unless there is one with this URL. Returns its secret.
pub(super) async fn add(
    database: &OpenDatabase,
    tenant: &TenantId,
    url: &Url,
    now: DateTime<Utc>,
) -> Result<String, StartError> {
    let known = database.store.webhooks(tenant).await.map_err(|source| database.unusable(source))?;
    let is_it = |webhook: &&Webhook| webhook.url == url.as_str() && webhook.disabled.is_none();
    if let Some(known) = known.found.iter().find(is_it) {
        return Ok(known.secret.reveal());
    }
    let webhook = Webhook {
        id: ids::webhook_id(),
        url: url.to_string(),
        events: Vec::new(),
        // A receiver on one machine is on this machine.
        addresses: Addresses::Any,
        secret: ids::webhook_secret()?,
        former: None,
        disabled: None,
        created_at: now,
    };
    database.store.add_webhook(tenant, &webhook).await.map_err(|source| database.unusable(source))?;
    Ok(webhook.secret.reveal())
}
