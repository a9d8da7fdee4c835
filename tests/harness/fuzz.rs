//! The fuzzer's targets: each takes any text from outside, and panics if something does not hold that must. The fuzzer makes up
//! such texts (`tests/tools/fuzz`); the service's tests repeat those that it starts from.

use std::str::FromStr;
use std::sync::LazyLock;

use domain::api_key::Token;
use domain::calendar::Calendar;
use domain::cancel_request::{InvalidBody, MAX_METADATA_BYTES};
use domain::cancellation::CancelRequest;
use domain::identifiers::{CancellationId, KeyId, ReferenceId, SubscriptionId, SubscriptionName, TenantId};
use idempotency::Key;
use service::http::problem::Problem;
use tokio::runtime::{Builder, Runtime};

use crate::contract::Functions;
use crate::{Response, START, Service, ZONE, instant};

/// A text that is read as an API key is written as that text: there is one way to write a key.
pub fn token(text: &str) {
    // No fuzzer finds a checksum, and without one it would see nothing of what is behind it.
    let with_checksum = format!("{text}{:08x}", crc32fast::hash(text.as_bytes()));
    for text in [text, &with_checksum] {
        if let Ok(token) = text.parse::<Token>() {
            assert_eq!(token.reveal(), text);
        }
    }
}

/// A text that is read as the name of something is written as that text.
pub fn names(text: &str) {
    for read in [again::<TenantId>(text), again::<KeyId>(text), again::<ReferenceId>(text)] {
        assert!(read.is_none_or(|read| read == text));
    }
    assert!(again::<SubscriptionId>(text).is_none_or(|read| read == text.to_lowercase()));
    assert!(again::<CancellationId>(text).is_none_or(|read| again::<SubscriptionId>(&read).is_some()));
    match text.parse() {
        Ok(SubscriptionName::Reference(reference)) => assert_eq!(format!("rid_{reference}"), text),
        Ok(SubscriptionName::Id(id)) => assert_eq!(id.to_string(), text.to_lowercase()),
        Err(_) => {}
    }
    if let Ok(key) = text.parse::<Key>() {
        assert_eq!(key.as_str(), text);
    }
}

fn again<T: FromStr + ToString>(text: &str) -> Option<String> {
    text.parse().ok().map(|name: T| name.to_string())
}

/// Whether a body may name a date that has begun, which is decided with the subscription.
fn asks_for_a_date(body: &[u8]) -> bool {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body["schedule"]["type"] == "CancelAtDate"
}

/// A body is a request to cancel, or its faults fit into an answer that is not long.
pub fn cancel_request(body: &[u8]) {
    let calendar = Calendar::new(ZONE.parse().unwrap(), instant(START));
    match CancelRequest::from_json(body, &calendar) {
        Ok(request) => {
            let effective = request.schedule.effective(&calendar);
            assert!(
                effective.is_ok_and(|effective| effective.date() > calendar.today()) || asks_for_a_date(body)
            );
            assert!(request.metadata.is_none_or(|metadata| metadata.len() <= MAX_METADATA_BYTES));
        }
        Err(invalid) => {
            assert!(!matches!(&invalid, InvalidBody::Faulty(faults) if faults.listed.is_empty()));
            assert!(Problem::from(invalid).answer("id").body.len() <= 8 * 1024);
        }
    }
}

/// An event of API Gateway, as JSON, gets an answer of the contract.
pub fn event(event: &str) -> Option<Response> {
    let (runtime, _, functions) = &*RUNNING;
    runtime.block_on(functions.answer(event))
}

/// A key of the service that answers [`event`].
pub fn api_key() -> &'static str {
    &RUNNING.1.api_key
}

/// One service for all events: what one leaves behind, the next one meets.
static RUNNING: LazyLock<(Runtime, Service, Functions)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let service = runtime.block_on(Service::start());
    let functions = Functions::on(&service);
    (runtime, service, functions)
});
