//! Retries: the one place that makes them, with one backoff for each kind of caller.
//!
//! The SDK itself retries requests that got no answer, and refusals that it knows to be temporary. Three cases are left to this
//! module, because only the caller of a transaction can retry them: conflicts and throttling, which DynamoDB reports as a
//! cancelled transaction, and a transaction with an earlier attempt still in progress. For an operator's command, this module
//! also retries while the database is unavailable.
//!
//! [`repeat`] is for attempts that may leave a part of the work undone, such as keys that DynamoDB has not processed.

use std::mem;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use tokio::time::sleep;

use crate::Error;

/// The kind of caller, which decides how often and for how long a request is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A caller waits: retries go on for seconds. An unavailable database is reported to the caller, because the SDK has retried
    /// already.
    OfRequest,
    /// Other cancellations wait for their turn in a sweep: retries go on for a fraction of a second.
    OfSweep,
    /// A stream waits, which delivers everything again after a failure: two retries, within a second.
    OfBus,
    /// An operator waits: retries go on for a minute or two, also if the database is unavailable.
    OfCommand,
}

/// The pause before the retry of a transaction that DynamoDB is still working on.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const WHILE_IN_PROGRESS: Duration = Duration::from_secs(5);

impl Patience {
    fn backoff(self) -> ExponentialBuilder {
        let backoff = ExponentialBuilder::default().with_jitter();
        match self {
            Self::OfRequest => backoff
                .with_min_delay(Duration::from_millis(20))
                .with_max_delay(Duration::from_millis(160))
                .with_max_times(7),
            Self::OfSweep => backoff.with_min_delay(Duration::from_millis(25)).with_max_times(2),
            Self::OfBus => backoff.with_min_delay(Duration::from_millis(100)).with_max_times(2),
            Self::OfCommand => backoff
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(Duration::from_secs(10))
                .with_max_times(10),
        }
    }

    fn is_for(self, error: &Error) -> bool {
        match error {
            Error::Conflict | Error::Throttled | Error::InProgress => true,
            Error::Unavailable(_) => self == Self::OfCommand,
            Error::Defect(_) => false,
        }
    }
}

/// Runs an attempt, and retries it while the error may pass. The pauses grow and are random, so that two writers that met do not
/// meet again.
///
/// # Errors
/// The error of the last attempt.
pub async fn try_again<T, F: Future<Output = Result<T, Error>>>(
    patience: Patience,
    attempt: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut was_in_progress = false;
    attempt
        .retry(patience.backoff())
        .when(|error| patience.is_for(error))
        .adjust(|error, pause| match error {
            // Retried once: a caller that still waits can send its request again.
            Error::InProgress => {
                pause.filter(|_| !mem::replace(&mut was_in_progress, true)).map(|_| WHILE_IN_PROGRESS)
            }
            _ => pause,
        })
        .await
}

/// Runs an attempt with the work that is left, and repeats it with the same pauses until the work is done or the patience is over.
/// Returns the work that is left in the end.
///
/// # Errors
/// The error of an attempt, after which nothing is repeated.
pub async fn repeat<S, E, F: Future<Output = Result<S, E>>>(
    patience: Patience,
    mut left: S,
    mut attempt: impl FnMut(S) -> F,
    is_done: impl Fn(&S) -> bool,
) -> Result<S, E> {
    let mut pauses = patience.backoff().build();
    loop {
        left = attempt(left).await?;
        match pauses.next() {
            Some(pause) if !is_done(&left) => sleep(pause).await,
            _ => return Ok(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_repeated_until_nothing_is_left_or_patience_is_over() {
        for (all, left) in [(1, 0), (2, 0), (8, 0), (9, 1)] {
            let attempt = |left: u32| async move { Ok::<_, Error>(left - 1) };
            assert_eq!(repeat(Patience::OfRequest, all, attempt, |left| *left == 0).await.unwrap(), left);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_that_is_still_in_progress_is_tried_once_more_after_five_seconds() {
        let begun = tokio::time::Instant::now();
        let mut attempts = 0;
        let outcome: Result<(), _> = try_again(Patience::OfRequest, || {
            attempts += 1;
            async { Err(Error::InProgress) }
        })
        .await;
        assert!(matches!(outcome, Err(Error::InProgress)));
        assert_eq!((attempts, begun.elapsed()), (2, WHILE_IN_PROGRESS));
    }
}
