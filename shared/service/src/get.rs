//! Reading a subscription, as it is now: a caller reads its own writes.

use domain::api_key::Scope;
use domain::stored::StoredSubscription;

use crate::Service;
use crate::http::problem::Problem;
use crate::http::request::Named;
use crate::telemetry::log_found;

/// Reads the subscription that a caller names.
///
/// # Errors
/// The caller may not read subscriptions, the name is malformed, or the subscription does not exist. Only a caller that may read
/// learns of the last two.
pub async fn get(service: &Service, named: Named) -> Result<StoredSubscription, Problem> {
    let Named { token, name } = named;
    let sealed = service.store.load(&token, name.as_ref().ok(), None, false).await?;
    let loaded = sealed.open(Scope::Read, service.clock.now())?;
    let name = name?;
    let stored = service.store.follow(token.tenant(), &name, loaded.found).await?;
    let stored = stored.ok_or(Problem::SubscriptionNotFound)?;
    log_found(&name, &stored);
    Ok(stored)
}
