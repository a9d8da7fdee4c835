//! A text that is read as the name of something is written as that text.

#![no_main]

use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use subscriptions::idempotency::IdempotencyKey;
use subscriptions::identifiers::{
    CancellationId, KeyId, ReferenceId, SubscriptionId, SubscriptionName, TenantId,
};

fn again<T: FromStr + ToString>(text: &str) -> Option<String> {
    text.parse().ok().map(|name: T| name.to_string())
}

fuzz_target!(|text: &str| {
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
    if let Ok(key) = text.parse::<IdempotencyKey>() {
        assert_eq!(key.as_str(), text);
    }
});
