//! A change to a pending cancellation, decided from the subscription as it is now, whoever else changes it meanwhile.

use domain::change::Changed;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::stored::StoredSubscription;
use store::commit::Changing;
use store::{Admin, Patience, try_again};

use crate::CommandError;

/// How often a subscription is decided about that others change meanwhile.
const MOST_DECISIONS: u32 = 5;

/// Changes a subscription as it is decided from what it is now; nothing if that is decided.
pub(super) async fn change(
    store: &Admin,
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
