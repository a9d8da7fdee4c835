//! Checks, for a few subscriptions, that the search indexes have them by their number and their customer.

use service::ids;
use store::Admin;

use super::Finding;
use super::pending::first;
use crate::format::counted;

/// Number of subscriptions that are looked at.
const SAMPLE: u16 = 100;

pub(super) async fn check(store: &Admin) -> Finding {
    match store.sample_misindexed(ids::new().write, SAMPLE).await {
        Ok((sampled, misindexed)) if misindexed.is_empty() => Finding::ok(
            "search",
            format!("the indexes are right for {}, chosen at random", counted(sampled, "subscription")),
        ),
        Ok((sampled, misindexed)) => {
            let keys: Vec<_> = misindexed.iter().map(|it| format!("{}#{}", it.tenant, it.id)).collect();
            Finding::wrong(
                "search",
                format!(
                    "{} of {sampled} are not found by number or customer: {}",
                    misindexed.len(),
                    first(&keys)
                ),
                "run connect subscriptions index",
            )
        }
        Err(cause) => Finding::wrong(
            "search",
            cause.to_string(),
            "the credentials need dynamodb:Scan on the subscriptions",
        ),
    }
}
