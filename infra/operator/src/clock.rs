//! This machine's clock, beside the database's.

use chrono::TimeDelta;
use store::{Store, StoreError};

use crate::Session;

/// By how much this machine's clock is ahead of the database's; negative if it is behind, `None` if the database does not
/// say what time it is. It says so to the second, some time between the question and the answer; that much is not counted.
pub(crate) async fn skew(session: &Session<'_>, store: &Store) -> Result<Option<TimeDelta>, StoreError> {
    let before = session.now();
    let there = store.time().await?;
    let after = session.now();
    Ok(there.map(|there| {
        let ahead = (before - there - TimeDelta::seconds(1)).max(TimeDelta::zero());
        let behind = (there - after).max(TimeDelta::zero());
        ahead - behind
    }))
}
