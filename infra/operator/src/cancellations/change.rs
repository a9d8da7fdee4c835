//! Changes a pending cancellation. If others change the subscription at the same time, the change is decided again.

use domain::change::Changed;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::stored::StoredSubscription;
use store::commit::Changing;
use store::{Admin, Patience, try_again};

use crate::CommandError;

/// Most decisions about a subscription that others keep changing.
const MOST_DECISIONS: u32 = 5;

/// Changes a subscription by the decision about its current state. Changes nothing if the decision is `None`.
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
    Err(CommandError::Incomplete(format!("{tenant}#{id} is being changed by others; run the command again")))
}
