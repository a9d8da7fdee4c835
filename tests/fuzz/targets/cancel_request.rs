//! A body is a request to cancel, or its faults fit into an answer that is not long.

#![no_main]

use chrono_tz::Tz;
use libfuzzer_sys::fuzz_target;
use subscriptions::calendar::Calendar;
use subscriptions::cancel_request::{InvalidBody, MAX_METADATA_BYTES};
use subscriptions::cancellation::CancelRequest;
use subscriptions::http::problem::Problem;

fuzz_target!(|body: &[u8]| {
    let calendar = Calendar::new(Tz::Europe__Stockholm, "2026-01-31T22:30:00Z".parse().unwrap());
    match CancelRequest::from_json(body, &calendar) {
        Ok(request) => {
            assert!(request.effective.date() > calendar.today());
            assert!(request.metadata.is_none_or(|metadata| metadata.len() <= MAX_METADATA_BYTES));
        }
        Err(invalid) => {
            assert!(!matches!(&invalid, InvalidBody::Faulty(faults) if faults.listed.is_empty()));
            assert!(Problem::from(invalid).answer("id").body.len() <= 8 * 1024);
        }
    }
});
