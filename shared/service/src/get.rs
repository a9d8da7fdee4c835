//! Reading a subscription and its cancellation, as they are now: a caller reads its own writes.

use domain::api_key::Scope;
use domain::details::CancellationDetails;
use domain::stored::{Revision, StoredSubscription};
use store::load::Loaded;

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
    let sealed = service.store.load(&named.token, named.name.as_ref().ok(), None, false).await?;
    let loaded = sealed.open(Scope::Read, service.clock.now())?;
    find(service, named, loaded).await
}

/// Reads the latest cancellation of the subscription that a caller names, and the revision of the subscription.
///
/// # Errors
/// The caller may not read cancellations, the name is malformed, or the subscription or its cancellation does not exist. Only a
/// caller that may read learns of the others.
pub async fn get_cancellation(
    service: &Service,
    named: Named,
) -> Result<(CancellationDetails, Revision), Problem> {
    let sealed = service.store.load(&named.token, named.name.as_ref().ok(), None, true).await?;
    let mut loaded = sealed.open(Scope::ReadCancellations, service.clock.now())?;
    let tenant = loaded.tenant.take().ok_or(Problem::ApiKeyInvalid)?;
    let stored = find(service, named, loaded).await?;
    let details = stored.cancellation_details(&tenant.time_zone).ok_or(Problem::NoCancellation)?;
    Ok((details, stored.revision))
}

async fn find(service: &Service, named: Named, loaded: Loaded) -> Result<StoredSubscription, Problem> {
    let Named { token, name } = named;
    let name = name?;
    let stored = service.store.follow(token.tenant(), &name, loaded.found).await?;
    let stored = stored.ok_or(Problem::SubscriptionNotFound)?;
    log_found(&name, &stored);
    Ok(stored)
}
