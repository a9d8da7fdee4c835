//! `cancellations run`: runs one sweep, by this machine's clock or the database's, whichever is behind.

use std::time::Duration;

use domain::origin::Author;
use service::clock::deadline;
use service::sweep::{Summary, not_ahead, sweep};

use crate::arguments::Operator;
use crate::{CommandError, Session};

/// Time limit of a sweep: the longest that Lambda allows a function.
const SWEEP: Duration = Duration::from_secs(15 * 60);

pub(super) async fn run(session: &mut Session<'_>, operator: &Operator) -> Result<(), CommandError> {
    let (store, author) = (session.store(), Author::operator(operator.name().ok()));
    let now = not_ahead(session.now(), &store).await?;
    let swept = sweep(&store, &author, now, deadline(SWEEP)).await;
    let summary = swept.map_err(|cause| CommandError::Incomplete(cause.to_string()))?;
    let Summary {
        due, executed, skipped, failed, not_yet, paused, remaining, unread_shards, malformed, ..
    } = summary;
    let outcome = if failed + remaining + unread_shards == 0 {
        Ok(())
    } else if failed == malformed && remaining + unread_shards == 0 {
        Err(CommandError::Incomplete(format!(
            "{failed} can't be executed, because they are contradictory or unreadable; connect doctor names them"
        )))
    } else {
        Err(CommandError::Incomplete(format!(
            "{failed} failed, {remaining} remain, {unread_shards} parts of the index were not read; run the command again"
        )))
    };
    let text = || {
        let mut text = format!(
            "{due} due: {executed} executed, {skipped} skipped, {failed} failed, {remaining} remaining"
        );
        if not_yet > 0 {
            text += &format!(", {not_yet} whose date has not begun in their time zone");
        }
        if paused > 0 {
            text += &format!(", {paused} paused");
        }
        text
    };
    session.conclude(&summary, text, outcome)
}
