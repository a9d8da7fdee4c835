//! The demo tenant and its keys: public keys on the embedded database, a secret key on any other, which may hold more than a demo.

use chrono::{DateTime, Utc};
use domain::api_key::{ApiKey, Scope, Token};
use domain::identifiers::TenantId;
use domain::tenant::Tenant;

use super::database::OpenDatabase;
use super::{Options, StartError};
use crate::database::Folder;
use crate::demo::{self, KeyError};

/// Stores the demo tenant and its keys. Returns the tenant, and the key that has all scopes.
pub(super) async fn prepare(
    options: &Options,
    database: &OpenDatabase,
    folder: Option<&Folder>,
    now: DateTime<Utc>,
) -> Result<(TenantId, String), StartError> {
    let tenant = Tenant {
        id: demo::TENANT.parse()?,
        name: "Demo Telecom".to_owned(),
        time_zone: options.time_zone.clone(),
        paused: None,
    };
    let added = database.store.add_tenant(&tenant).await.map_err(|source| database.unusable(source))?;
    if !added {
        let set = database.store.set_time_zone(&tenant.id, &tenant.time_zone).await;
        set.map_err(|source| database.unusable(source))?;
    }
    let add_key = async |token: &Token, scopes: &[Scope]| {
        let key = ApiKey::new(token, scopes, now);
        let added = database.store.add_api_key(&tenant.id, token.key_id(), &key).await;
        added.map_err(|source| database.unusable(source))?;
        // A key that an earlier version created may lack a scope that is newer.
        for scope in scopes {
            let added = database.store.add_scope(&tenant.id, token.key_id(), *scope).await;
            added.map_err(|source| database.unusable(source))?;
        }
        Ok::<_, StartError>(())
    };
    let api_key = if database.embedded.is_some() {
        for (token, scopes) in demo::KEYS {
            add_key(&token.parse().map_err(KeyError::from)?, scopes).await?;
        }
        demo::KEY.to_owned()
    } else {
        let key_file = folder.map(|folder| folder.file("demo-api-key"));
        let token = demo::secret_key(&tenant.id, key_file.as_deref())?;
        add_key(&token, &Scope::ALL).await?;
        token.reveal()
    };
    Ok((tenant.id, api_key))
}
