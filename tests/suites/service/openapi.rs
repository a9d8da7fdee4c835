//! The document of the API agrees with the code, and the harness notices an answer that deviates from the document.

use std::collections::BTreeSet;

use domain::cancel_request::{
    MAX_COMMENT_CHARACTERS, MAX_METADATA_BYTES, MAX_METADATA_MEMBERS, MAX_METADATA_NAME_CHARACTERS,
};
use domain::cancellation::{CancellationState, Reason};
use domain::fault::FaultCode;
use domain::origin::{Cause, Source};
use domain::subscription::{PortingDirection, PortingStatus, Status};
use harness::openapi::{DOCUMENT, OPERATIONS, check, check_exchange, resolve, validator};
use harness::{ACTIVATED, Response, SentRequest, Service, cancel_next_day};
use local::gateway;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use service::http::problem::{Code, MAX_BODY_BYTES};
use strum::VariantArray;

fn schema(name: &str) -> &'static Value {
    &DOCUMENT["components"]["schemas"][name]
}

fn texts(array: &Value) -> BTreeSet<String> {
    array.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn variants<T: VariantArray + Serialize>() -> BTreeSet<String> {
    T::VARIANTS.iter().map(|case| json!(case).as_str().unwrap().to_owned()).collect()
}

fn codes() -> BTreeSet<String> {
    Code::VARIANTS.iter().map(|code| code.as_str().to_owned()).collect()
}

/// Finds every value under this name, wherever it is in the document.
fn all<'v>(name: &str, value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name));
            members.values().for_each(|value| all(name, value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| all(name, value, found)),
        _ => {}
    }
}

#[test]
fn the_documented_operations_are_the_routes_of_the_gateway() {
    let documented: BTreeSet<_> = OPERATIONS.keys().cloned().collect();
    assert_eq!(documented, gateway::route_keys().collect());
}

#[test]
fn exactly_the_problems_of_the_code_are_documented() {
    assert_eq!(texts(&schema("Problem")["properties"]["code"]["enum"]), codes());

    // Each problem is an answer of some operation.
    let mut answered = BTreeSet::new();
    let mut references = Vec::new();
    all("responses", &DOCUMENT["paths"], &mut references);
    for responses in references {
        for response in responses.as_object().unwrap().values() {
            let schema = &resolve(response)["content"]["application/problem+json"]["schema"];
            if let Some(code) = schema.pointer("/properties/code/enum") {
                answered.extend(texts(code));
            }
        }
    }
    assert_eq!(answered, codes());
}

#[test]
fn every_problem_has_a_section_with_its_cause_remedy_and_retry() {
    let text = DOCUMENT["info"]["description"].as_str().unwrap();
    let sections: Vec<_> = text.split("\n### ").skip(1).collect();
    let titles = sections.iter().map(|section| section.lines().next().unwrap().to_owned());
    assert_eq!(titles.collect::<BTreeSet<_>>(), codes());
    for section in sections {
        for part in ["**Cause.** ", "**What to do.** ", "**Retry.** "] {
            assert_eq!(section.matches(part).count(), 1, "{part}: {section}");
        }
    }
}

#[test]
fn the_documented_enumerations_are_those_of_the_code() {
    assert_eq!(texts(&schema("Reason")["enum"]), variants::<Reason>());
    assert_eq!(texts(&schema("Status")["enum"]), variants::<Status>());
    assert_eq!(texts(&schema("Fault")["properties"]["code"]["enum"]), variants::<FaultCode>());
    assert_eq!(texts(&schema("Cause")["enum"]), variants::<Cause>());
    assert_eq!(texts(&schema("HistoryEntry")["properties"]["source"]["enum"]), variants::<Source>());
    let states = |of: &str| texts(&schema(of)["properties"]["state"]["enum"]);
    let mut all = variants::<CancellationState>();
    assert_eq!(states("Cancellation"), all);
    // The latest cancellation is never a replaced one.
    assert!(all.remove("REPLACED"));
    assert_eq!(states("EventCancellation"), all);
    let porting = &schema("Porting")["properties"];
    assert_eq!(texts(&porting["status"]["enum"]), variants::<PortingStatus>());
    assert_eq!(texts(&porting["direction"]["enum"]), variants::<PortingDirection>());
}

#[test]
fn the_documented_bounds_are_those_of_the_code() {
    let request = &schema("CancelRequest")["properties"];
    assert_eq!(request["comment"]["maxLength"], MAX_COMMENT_CHARACTERS);
    assert_eq!(request["metadata"]["maxProperties"], MAX_METADATA_MEMBERS);
    assert_eq!(request["metadata"]["propertyNames"]["maxLength"], MAX_METADATA_NAME_CHARACTERS);
    assert_eq!(MAX_METADATA_BYTES, 8_192);
    assert!(request["metadata"]["description"].as_str().unwrap().contains("8,192 bytes"));
    assert_eq!(MAX_BODY_BYTES, 32_768);
    let post = &DOCUMENT["paths"]["/subscriptions/{subscriptionId}/cancel"]["post"];
    assert!(post["requestBody"]["description"].as_str().unwrap().contains("32,768 bytes"));
}

#[test]
fn the_documented_examples_match_their_schemas() {
    let mut contents = Vec::new();
    all("content", &DOCUMENT, &mut contents);
    let mut checked = 0;
    for media_type in contents.iter().flat_map(|content| content.as_object().unwrap().values()) {
        let validator = validator(&media_type["schema"]);
        let named = media_type["examples"].as_object().into_iter().flat_map(|examples| examples.values());
        let values = named.map(|example| resolve(example).get("value").unwrap());
        for example in values.chain(media_type.get("example")) {
            assert_eq!(check(&validator, example), Ok(()), "{example}");
            checked += 1;
        }
    }
    assert!(checked >= codes().len(), "{checked}");
}

#[test]
fn every_field_has_a_meaning_and_an_example() {
    let mut properties = Vec::new();
    all("properties", &DOCUMENT["components"]["schemas"], &mut properties);
    let mut fields = 0;
    for (name, field) in properties.iter().flat_map(|properties| properties.as_object().unwrap()) {
        // Skips a schema that only narrows a field which is described elsewhere.
        let is_narrowing = ["const", "pattern"].iter().any(|keyword| field.get(keyword).is_some())
            && field.get("type").is_none();
        if is_narrowing {
            continue;
        }
        let described = resolve(field);
        assert!(described["description"].is_string(), "{name}: {field}");
        let is_only_one = described["enum"].as_array().is_some_and(|values| values.len() == 1);
        let is_shown = described.get("examples").is_some() || described.get("const").is_some() || is_only_one;
        let has_parts = ["properties", "oneOf", "items"].iter().any(|part| described.get(part).is_some());
        assert!(is_shown || has_parts, "{name} has no example: {field}");
        fields += 1;
    }
    assert!(fields > 80, "{fields}");
}

/// Returns the deviation that the harness finds in an answer to a read.
fn fault_of(answer: &Response) -> String {
    OPERATIONS["GET /subscriptions/{subscriptionId}"].check_answer(answer).unwrap_err()
}

#[tokio::test]
async fn an_undocumented_part_of_an_answer_is_noticed() {
    let service = Service::start().await;
    let good = service.get(ACTIVATED).await;
    let other = |change: &dyn Fn(&mut Response)| {
        let mut answer = good.clone();
        change(&mut answer);
        fault_of(&answer)
    };
    let with = |pointer: &str, name: &str, value: Value| {
        other(&|answer| {
            let mut document = answer.json();
            document.pointer_mut(pointer).unwrap()[name] = value.clone();
            answer.body = document.to_string().into_bytes();
        })
    };
    assert!(other(&|answer| answer.status = 202).contains("the status 202 is not documented"));
    assert!(with("", "puk", json!("1234")).contains("'puk' was unexpected"));
    assert!(with("/sim", "puk", json!("1234")).contains("'puk' was unexpected"));
    assert!(with("/productOffering/price", "tax", json!(1)).contains("'tax' was unexpected"));
    assert!(with("", "status", json!("LOST")).contains("LOST"));
    assert!(with("", "cancelledAt", json!("yesterday")).contains("date-time"));
    let header = |name: &str, value: &str| {
        other(&|answer| {
            answer.headers.insert(name.to_owned(), value.to_owned());
        })
    };
    assert!(header("x-debug", "1").contains("x-debug is not documented"));
    assert!(header("etag", "7").contains("etag"));
    assert!(header("content-type", "text/html").contains("text/html"));
    assert!(other(&|answer| drop(answer.headers.remove("etag"))).contains("etag is missing"));
    assert!(
        other(&|answer| drop(answer.headers.remove("cache-control"))).contains("cache-control is missing")
    );
}

#[tokio::test]
async fn an_outcome_that_contradicts_the_document_is_noticed() {
    let service = Service::start().await;
    let path = format!("/subscriptions/{ACTIVATED}/cancel");
    let good = cancel_next_day();
    let bad = json!({"schedule": {"type": "CancelSoon"}, "reason": "NO_NEED"});
    let accepted = service.cancel(ACTIVATED, &good).await;
    let refused = service.cancel(ACTIVATED, &bad).await;
    refused.assert_problem(422, "validation_failed");
    let key = ("X-Api-Key", service.api_key.as_str());
    let json = ("Content-Type", "application/json");
    let judged_with = |headers: &[(&str, &str)], body: &[u8], answer: &Response| {
        check_exchange(&SentRequest { method: &Method::POST, path: &path, headers, body }, answer)
    };
    let judged =
        |body: &Value, answer: &Response| judged_with(&[key, json], body.to_string().as_bytes(), answer);
    assert_eq!((judged(&good, &accepted), judged(&bad, &refused)), (Ok(()), Ok(())));
    assert!(judged(&bad, &accepted).unwrap_err().starts_with("done, although"));
    assert!(judged(&good, &refused).unwrap_err().starts_with("refused, although"));

    let body = good.to_string();
    let done = |headers: &[(&str, &str)], body: &[u8]| {
        judged_with(headers, body, &accepted).unwrap_err().starts_with("done, although")
    };
    assert!(done(&[json], body.as_bytes()), "without a key");
    assert!(done(&[key], body.as_bytes()), "without a content type");
    assert!(done(&[key, json, ("X-Idempotency-Key", "")], body.as_bytes()), "with an empty idempotency key");
    assert!(
        done(&[key, json], format!("{body}{}", " ".repeat(32_768)).as_bytes()),
        "with a body that is too large"
    );
}
