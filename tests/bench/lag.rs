//! The delay of the history on one machine: the time from the answer to a cancellation until its entry can be read.

use std::time::{Duration, Instant};

use chrono::{Days, NaiveDate};
use domain::stored::Revision;
use harness::{ACTIVATED, Service, cancel_at, options};
use local::up::Options;
use tempfile::tempdir;
use tokio::time::sleep;

use crate::report::{Section, Table, milliseconds, percentile};

/// Number of cancellations, each after the entry of the one before.
const CHANGES: u64 = 300;
/// Pause between two looks at the history.
const PAUSE: Duration = Duration::from_millis(1);

/// Cancels a subscription again and again, each time for another date.
pub async fn measure() -> Vec<Section> {
    let folder = tempdir().unwrap();
    let kept = Options { memory: false, data: folder.path().to_owned(), publishes: true, ..options() };
    let service = Service::start_with(kept).await;
    let store = service.store();
    let (tenant, id) = ("demo".parse().unwrap(), ACTIVATED.parse().unwrap());
    let mut delays = Vec::new();
    let last = Revision { version: u64::from(u32::MAX), write_id: None };
    for change in 1..=CHANGES {
        // At any time between two looks of the publisher.
        sleep(Duration::from_millis(fastrand::u64(..500))).await;
        let date = NaiveDate::from_ymd_opt(2100, 1, 1).unwrap() + Days::new(change);
        assert_eq!(service.cancel(ACTIVATED, &cancel_at(&date.to_string())).await.status, 200);
        let answered = Instant::now();
        loop {
            let page = store.history(&tenant, id, &last, None, 1).await.unwrap();
            if page.found.first().is_some_and(|newest| newest.revision.version == change + 1) {
                break;
            }
            sleep(PAUSE).await;
        }
        delays.push(answered.elapsed());
    }
    let mut table = Table::new(&["changes, one after the other", "p50", "p99", "longest"]);
    let at = |part| milliseconds(percentile(&delays, part));
    table.row(&[CHANGES.to_string(), at(0.5), at(0.99), at(1.0)]);
    vec![Section::new("lag", table)]
}
