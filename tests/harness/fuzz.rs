//! The fuzzer's targets. Each takes any text from outside, and panics if a rule is broken. The fuzzer generates such texts
//! (`tests/tools/fuzz`). The service's tests repeat the texts that it starts from.

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

/// Checks that a text accepted as an API key is written as the same text: a key has only one spelling.
pub fn token(text: &str) {
    // The fuzzer cannot guess a checksum. Without a valid one, it would never reach the code behind that check.
    let with_checksum = format!("{text}{:08x}", crc32fast::hash(text.as_bytes()));
    for text in [text, &with_checksum] {
        if let Ok(token) = text.parse::<Token>() {
            assert_eq!(token.reveal(), text);
        }
    }
}

/// Checks that a text accepted as an id, a name or an idempotency key is written as the same text. A UUID is written in lower
/// case.
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

/// Returns true if a body names a date. The date may have begun already, which is decided with the subscription.
fn asks_for_a_date(body: &[u8]) -> bool {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body["schedule"]["type"] == "CancelAtDate"
}

/// Checks that a body is a request to cancel, or has faults that fit into an answer of at most 8 KiB.
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

/// Answers an event of API Gateway, given as JSON, and checks the answer against the contract.
pub fn event(event: &str) -> Option<Response> {
    let (runtime, _, functions) = &*RUNNING;
    runtime.block_on(functions.answer(event))
}

/// Returns an API key of the service that answers [`event`].
pub fn api_key() -> &'static str {
    &RUNNING.1.api_key
}

/// The service that answers all events. An event meets the data that earlier events left behind.
static RUNNING: LazyLock<(Runtime, Service, Functions)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let service = runtime.block_on(Service::start());
    let functions = Functions::on(&service);
    (runtime, service, functions)
});
