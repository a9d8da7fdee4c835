//! This machine's clock, beside the database's.

use chrono::TimeDelta;
use store::{Admin, StoreError};

use super::Finding;
use crate::Session;
use crate::format::instant;

/// Largest difference of two clocks that is not a fault: the network takes that long.
const MOST_SKEW: TimeDelta = TimeDelta::seconds(30);
/// Whether the two agree.
pub(super) async fn check(session: &Session<'_>, store: &Admin) -> Finding {
    match skew(session, store).await {
        Ok(Some(skew)) if skew.abs() <= MOST_SKEW => {
            Finding::ok("clock", format!("within {} s of the database's", skew.num_seconds().abs() + 1))
        }
        Ok(Some(skew)) => Finding::wrong(
            "clock",
            format!(
                "this machine's ({}) is {} s {} the database's",
                instant(session.now()),
                skew.num_seconds().abs(),
                if skew > TimeDelta::zero() { "ahead of" } else { "behind" }
            ),
            "set it, best by NTP: what is said to be so long from now goes by it",
        ),
        Ok(None) => Finding::unknown("clock", "the database does not say what time it is"),
        Err(cause) => Finding::unknown("clock", cause.to_string()),
    }
}

/// By how much this machine's clock is ahead of the database's; negative if it is behind, `None` if the database does not
/// say what time it is. It says so to the second, some time between the question and the answer; that much is not counted.
async fn skew(session: &Session<'_>, store: &Admin) -> Result<Option<TimeDelta>, StoreError> {
    let before = session.now();
    let there = store.time().await?;
    let after = session.now();
    Ok(there.map(|there| {
        let ahead = (before - there - TimeDelta::seconds(1)).max(TimeDelta::zero());
        let behind = (there - after).max(TimeDelta::zero());
        ahead - behind
    }))
}
