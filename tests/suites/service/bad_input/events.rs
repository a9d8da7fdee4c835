//! Random events of API Gateway, given to the functions as Lambda runs them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use harness::{ACTIVATED, BLOCKED, CANCELLED, PENDING, event, fuzz};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// A member of an event, and its new value. `None` leaves the member out.
type Change = (&'static str, Option<Value>);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let text = || any::<String>().prop_map(Value::from);
    let change = prop_oneof![
        4 => header(),
        4 => body().prop_map(|body| ("/body", body)),
        2 => subscription().prop_map(|id| ("/pathParameters/subscriptionId", id)),
        1 => query().prop_map(|query| ("/rawQueryString", query)),
        1 => any::<bool>().prop_map(|base64| ("/isBase64Encoded", json!(base64))),
        1 => text().prop_map(|path| ("/rawPath", path)),
        1 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}".prop_map(|method| ("/requestContext/http/method", json!(method))),
        1 => text().prop_map(|host| ("/requestContext/domainName", host)),
        1 => text().prop_map(|stage| ("/requestContext/stage", stage)),
        1 => vec(any::<String>(), 0..3).prop_map(|cookies| ("/cookies", json!(cookies))),
        1 => Just(("/pathParameters", Value::Null)),
    ];
    let change = (change, prop::option::weighted(0.95, Just(())))
        .prop_map(|((member, value), kept)| (member, kept.map(|()| value)));
    vec(change, 0..5)
}

fn header() -> impl Strategy<Value = (&'static str, Value)> {
    let key = fuzz::api_key();
    let value = |right: &'static [&'static str]| {
        prop_oneof![
            3 => select(right).prop_map(str::to_owned),
            3 => near_miss(select(right).prop_map(str::to_owned)),
            1 => "[\\t -~ü]{0,300}",
            1 => "[ -~]{9000}",
        ]
    };
    let keys = prop_oneof![
        near_miss(Just(key.to_owned())),
        "ck_[a-z0-9-]{1,40}_[A-Za-z0-9]{1,40}_[0-9a-f]{72}",
        ".{0,99}"
    ];
    prop_oneof![
        1 => keys.prop_map(|key| ("/headers/x-api-key", key)),
        1 => value(&["a", "b", "8c5e5b0e-4f0f-4c37-9a35-1c8e7d0f5b1a"])
            .prop_map(|key| ("/headers/x-idempotency-key", key)),
        1 => value(&["a", "b"]).prop_map(|key| ("/headers/idempotency-key", key)),
        2 => value(&["application/json", "application/json; charset=utf-8", "text/plain"])
            .prop_map(|kind| ("/headers/content-type", kind)),
        6 => value(&["*", "W/\"1\", *", "\"1\""]).prop_map(|tags| ("/headers/if-none-match", tags)),
        1 => value(&["a1b2c3d4e5.execute-api.eu-north-1.amazonaws.com", "[::1]:80"])
            .prop_map(|host| ("/headers/host", host)),
        1 => value(&["https"]).prop_map(|scheme| ("/headers/x-forwarded-proto", scheme)),
        1 => value(&["Root=1-697e8c1a-0f3b2a1c4d5e6f708192a3b4"])
            .prop_map(|trace| ("/headers/x-amzn-trace-id", trace)),
        1 => value(&["a=1; b=2"]).prop_map(|cookies| ("/headers/cookie", cookies)),
    ]
    // A header with a control character is refused before there is an event.
    .prop_map(|(name, value)| {
        (name, Value::from(value.replace(|c: char| c.is_ascii_control() && c != '\t', "")))
    })
}

fn subscription() -> impl Strategy<Value = Value> {
    let known =
        || select(vec![ACTIVATED, PENDING, BLOCKED, CANCELLED, "rid_crm-1001"]).prop_map(str::to_owned);
    prop_oneof![4 => known(), 2 => near_miss(known()), 2 => "rid_(nobody-[a-z0-9]{1,40}|.{0,300})", 1 => any::<String>()]
        .prop_map(Value::from)
}

fn query() -> impl Strategy<Value = Value> {
    let queries = prop_oneof!["[a-z]=[a-z%<>#\" ü]{0,9}", any::<String>(), "x{70000}"];
    queries.prop_map(Value::from)
}

fn body() -> impl Strategy<Value = Value> {
    let right = || {
        let schedule = prop_oneof![
            Just(json!({"type": "CancelNextDay"})),
            "2026-(0[1-9]|1[0-2])-[0-3][0-9]".prop_map(|date| json!({"type": "CancelAtDate", "date": date})),
        ];
        let metadata =
            prop_oneof![Just(json!({})), any::<BTreeMap<String, i64>>().prop_map(|members| json!(members))];
        let reason = select(vec!["NO_NEED", "OTHER"]);
        (schedule, reason, any::<String>(), metadata).prop_map(|(schedule, reason, comment, metadata)| {
            json!({"schedule": schedule, "reason": reason, "comment": comment, "metadata": metadata})
                .to_string()
        })
    };
    let long =
        (select(vec!["[", " ", "{\"a\":", "\"\u{1}", "9", "ü", "{\"\u{1}\":0,"]), 20_480..40_960_usize)
            .prop_map(|(part, bytes)| part.repeat(bytes / part.len()));
    let in_base64 = prop_oneof![right().prop_map(String::into_bytes), any::<Vec<u8>>()]
        .prop_map(|bytes| BASE64_STANDARD.encode(bytes));
    prop_oneof![4 => right(), 4 => near_miss(right()), 5 => long, 2 => in_base64, 1 => any::<String>()]
        .prop_map(Value::from)
}

/// Returns texts in which one character is replaced, left out or added.
fn near_miss(right: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let other = proptest::option::of(prop_oneof![" |~", any::<char>().prop_map(String::from)]);
    (right, any::<Index>(), other, any::<bool>()).prop_map(|(text, at, other, keep)| {
        let mut parts: Vec<_> = text.chars().map(String::from).collect();
        let at = at.index(parts.len() + 1);
        parts.splice(at..(at + usize::from(!keep)).min(parts.len()), other);
        parts.concat()
    })
}

fn changed(mut event: Value, changes: Vec<Change>) -> Value {
    for (member, value) in changes {
        let (parent, name) = member.rsplit_once('/').unwrap();
        // An earlier change may have left out the parent.
        if let Some(Value::Object(parent)) = event.pointer_mut(parent) {
            match value {
                Some(value) => parent.insert(name.to_owned(), value),
                None => parent.remove(name),
            };
        }
    }
    event
}

/// Number of answers with each status. A suite in which everything is refused for one reason would show little.
static ANSWERED: Mutex<BTreeMap<u16, u32>> = Mutex::new(BTreeMap::new());

fn events() -> impl Strategy<Value = Value> {
    let names = select(vec!["get-subscription", "cancel-subscription", "cancel-subscription"]);
    (names, changes()).prop_map(|(name, changes)| {
        let mut event = event(&format!("{name}/ok"));
        // Most events have no idempotency key. With one, they would be refused because it belongs to another request.
        event["headers"].as_object_mut().unwrap().remove("x-idempotency-key");
        changed(event, changes)
    })
}

#[test]
fn any_event_gets_an_answer_of_the_contract() {
    // With fewer cases, one of these statuses is sometimes missing.
    let config = ProptestConfig::with_cases(ProptestConfig::default().cases.max(1_000));
    proptest!(config, |(event in events())| {
        if let Some(answer) = fuzz::event(&event.to_string()) {
            *ANSWERED.lock().unwrap().entry(answer.status).or_default() += 1;
        }
    });
    let answered = ANSWERED.lock().unwrap();
    for status in [200, 304, 400, 401, 404, 409, 413, 415, 422] {
        assert!(answered.contains_key(&status), "{status} is missing: {answered:?}");
    }
}
