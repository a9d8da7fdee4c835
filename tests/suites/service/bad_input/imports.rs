//! Random documents of subscriptions, checked for an import.

use domain::calendar::Calendar;
use domain::import::NewSubscription;
use harness::{START, ZONE, instant};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use service::ids;

const DOCUMENTS: &str = include_str!("../../../../infra/local/src/demo.ndjson");

fn documents() -> Vec<Value> {
    DOCUMENTS.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the places of all values in a document, as JSON Pointers.
fn places(at: &str, value: &Value) -> Vec<String> {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(nth, value)| (nth.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    let inside = members.into_iter().flat_map(|(name, value)| places(&format!("{at}/{name}"), value));
    [at.to_owned()].into_iter().chain(inside).collect()
}

proptest! {
    #[test]
    fn a_document_is_imported_or_refused_without_its_values_in_the_message(
        document in any::<Index>(), place in any::<Index>(), secret in "q[0-9]{15}",
        kind in 0..6, number: i64, date in "[+-]?[0-9]{1,6}-[0-9]{2}-[0-9]{2}(T[0-9:.]{8,12}Z)?",
    ) {
        let mut document = document.get(&documents()).clone();
        let place = place.get(&places("", &document)).clone();
        let what = match kind {
            0 => json!(secret),
            1 => json!({secret.clone(): secret.clone()}),
            2 => json!([secret.clone()]),
            3 => json!(number),
            4 => json!(date),
            _ => Value::Null,
        };
        *document.pointer_mut(&place).unwrap() = what;
        let now = instant(START);
        let calendar = Calendar::new(ZONE.parse().unwrap(), now);
        match NewSubscription::from_json(document.clone(), &calendar, now, ids::new()) {
            Ok(new) => {
                let again = serde_json::to_value(new.subscription()).unwrap();
                prop_assert!(NewSubscription::from_json(again, &calendar, now, ids::new()).is_ok(), "{document}");
            }
            Err(why) => prop_assert!(!why.to_string().contains(&secret), "{why}: {document}"),
        }
    }
}
