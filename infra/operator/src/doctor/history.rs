//! Checks, for a few subscriptions, that the history has all of their changes.

use service::ids;
use store::Admin;

use super::Finding;
use super::pending::first;
use crate::format::counted;
use crate::history::faults;
use crate::{CommandError, Session};

/// Number of subscriptions whose history is verified.
const SAMPLE: u16 = 20;

pub(super) async fn check(session: &Session<'_>, store: &Admin) -> Finding {
    match verify_sample(session, store).await {
        Ok((sampled, faulty)) if faulty.is_empty() => Finding::ok(
            "history",
            format!("complete for {}, chosen at random", counted(sampled, "subscription")),
        ),
        Ok((sampled, faulty)) => Finding::wrong(
            "history",
            format!("{} of {sampled} have faults: {}", faulty.len(), first(&faulty)),
            "check that the table has its stream and publish-events runs; then, connect history repair adds what can be known",
        ),
        Err(cause) => Finding::wrong(
            "history",
            cause.to_string(),
            "the credentials need dynamodb:Query on the history, and dynamodb:Scan on the subscriptions",
        ),
    }
}

/// Returns the number of verified histories, and the keys of those with faults, each with its first fault.
async fn verify_sample(session: &Session<'_>, store: &Admin) -> Result<(usize, Vec<String>), CommandError> {
    let sample = store.sample(ids::new().write, SAMPLE).await?;
    let mut faulty = Vec::new();
    for (tenant, stored) in &sample.found {
        if let Some(fault) = faults(store, tenant, stored, session.now()).await?.first() {
            faulty.push(format!("{tenant}#{} ({fault})", stored.document.subscription_id));
        }
    }
    Ok((sample.found.len(), faulty))
}
