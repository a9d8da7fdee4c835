//! `subscriptions index`: has the search indexes hold every subscription.

use domain::identifiers::TenantId;
use domain::search::SearchTerms;
use serde_json::json;
use store::search::Misindexed;
use store::{Admin, Patience, try_again};

use crate::arguments::find_tenant;
use crate::format::counted;
use crate::{CommandError, Session};

/// Most attempts for a subscription that others keep changing.
const MOST_ATTEMPTS: u32 = 5;

pub(super) async fn run(
    session: &mut Session<'_>,
    tenant: Option<TenantId>,
    dry_run: bool,
) -> Result<(), CommandError> {
    let store = session.store();
    if let Some(tenant) = &tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    let (mut indexed, mut unreadable, mut next) = (0_u64, Vec::new(), None);
    loop {
        let page = try_again(Patience::OfCommand, || store.misindexed(tenant.as_ref(), next.clone())).await?;
        for misindexed in page.found {
            if !dry_run {
                index(&store, misindexed).await?;
            }
            indexed += 1;
        }
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let outcome = session.complain(&unreadable);
    let done = if dry_run { "would be indexed" } else { "indexed" };
    session.conclude(
        &json!({"indexed": indexed}),
        || format!("{} {done}", counted(indexed, "subscription")),
        outcome,
    )
}

/// Indexes a subscription, whoever changes it meanwhile.
async fn index(store: &Admin, mut misindexed: Misindexed) -> Result<(), CommandError> {
    for _ in 0..MOST_ATTEMPTS {
        if try_again(Patience::OfCommand, || store.index(&misindexed)).await? {
            return Ok(());
        }
        let Misindexed { tenant, id, .. } = &misindexed;
        // It may have been removed.
        let Some(current) = store.subscription(tenant, *id).await? else { return Ok(()) };
        misindexed.version = current.revision.version;
        misindexed.terms = SearchTerms::of(&current.document);
    }
    let Misindexed { tenant, id, .. } = misindexed;
    Err(CommandError::Incomplete(format!("{tenant}#{id} is being changed by others; run the command again")))
}
