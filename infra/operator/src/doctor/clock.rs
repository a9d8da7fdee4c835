//! Compares this machine's clock with the database's.

use chrono::TimeDelta;
use store::{Admin, StoreError};

use super::Finding;
use crate::Session;
use crate::format::instant;

/// Largest difference of the two clocks that is not a fault: a request may take this long.
const MOST_SKEW: TimeDelta = TimeDelta::seconds(30);
/// Checks that the two clocks agree.
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
            "set this machine's clock, best by NTP: every duration from now (such as 90d) is counted from it",
        ),
        Ok(None) => Finding::unknown("clock", "the database does not report its time"),
        Err(cause) => Finding::unknown("clock", cause.to_string()),
    }
}

/// Measures the skew of this machine's clock: positive if it is ahead of the database's, negative if it is behind. `None` if the
/// database does not report its time.
///
/// The database gives its time to the second, at some moment between the request and the answer. The skew is the smallest that
/// this allows.
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
