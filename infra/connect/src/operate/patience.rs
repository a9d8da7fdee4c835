//! Asking a database again that can't at the moment: a command may take longer than a request of a caller.

use std::time::Duration;

use ::subscriptions::store::StoreError;
use backon::{ExponentialBuilder, Retryable};

/// Does it, again and again while the database can't: later and later, ten times more at most, for a minute or two.
pub(super) async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    attempt: impl FnMut() -> F,
) -> Result<T, StoreError> {
    let patience = ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(10);
    attempt
        .retry(patience)
        .when(|error| matches!(error, StoreError::Unavailable(_) | StoreError::Conflict))
        .await
}
