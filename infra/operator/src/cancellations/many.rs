//! Many cancellations by one command: scheduling them, and withdrawing them. Each goes through the same decision and the same
//! commit as the request of a caller.
//!
//! The cancellations of a command are a batch, which has a name. A line is done if the subscription has a cancellation of the batch,
//! in any state, or if its idempotency key is taken, which is made of the batch and the subscription. So the same command with the
//! same batch continues one that was interrupted.

mod lines;
mod outcome;
mod results;
mod schedule;
mod tally;
mod withdraw;

use domain::identifiers::BatchId;

pub(super) use self::schedule::schedule;
pub use self::schedule::{ScheduleMany, ScheduleWhen};
pub use self::withdraw::WithdrawMany;
pub(super) use self::withdraw::withdraw;

/// Number of subscriptions that are read in one request.
const TOGETHER: usize = 100;
/// Number of cancellations that are written at once.
const AT_ONCE: usize = 32;

fn parse_batch(text: &str) -> Result<BatchId, &'static str> {
    text.parse()
        .map_err(|_| "write 1 to 64 letters, digits, hyphens, underscores and dots, not beginning with a dot")
}
