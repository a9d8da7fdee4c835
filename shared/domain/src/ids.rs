//! Ids for tests: no two are the same.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// Returns a new UUID at each call. Its first 12 digits are new too.
pub(crate) fn uuid() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Uuid::from_u64_pair(NEXT.fetch_add(1, Ordering::Relaxed) << 16, 0)
}
