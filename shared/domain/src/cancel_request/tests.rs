//! Requests to cancel: which bodies are accepted, and which faults the others have.

use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;
use crate::fault::Fault;
use crate::near_miss::near_miss;

const REASONS: [&str; 11] = [
    "BETTER_DEAL_PRICE",
    "NOT_HAPPY_MISSING_FUNCTIONS",
    "NOT_HAPPY_COVERAGE_SLA",
    "NOT_HAPPY_COMPLEX_ADMIN",
    "NOT_HAPPY_SUPPORT_ENGAGEMENT",
    "FRAUD",
    "FRAUD_ATTEMPT",
    "TEST_OR_MARKETING",
    "NO_NEED",
    "WRONG_ORDER",
    "OTHER",
];

fn calendar() -> Calendar {
    Calendar::new("Europe/Stockholm".parse().unwrap(), "2026-01-31T22:30:00Z".parse().unwrap())
}

/// Reads a body, and checks its date, at the time of `calendar()`.
fn read_text(body: &[u8]) -> Result<CancelRequest, InvalidBody> {
    let request = CancelRequest::from_json(body, &calendar())?;
    match request.schedule.effective(&calendar()) {
        Ok(_) => Ok(request),
        Err(unusable) => Err(InvalidBody::Faulty((&unusable).into())),
    }
}

fn read(body: &Value) -> Result<CancelRequest, InvalidBody> {
    read_text(body.to_string().as_bytes())
}

fn date(request: &CancelRequest) -> String {
    request.schedule.effective(&calendar()).unwrap().date().to_string()
}

fn faults(body: &Value) -> Vec<(String, FaultCode)> {
    match read(body) {
        Err(InvalidBody::Faulty(faults)) => {
            faults.listed.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn fault(body: &Value) -> (String, FaultCode) {
    let faults = faults(body);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].clone()
}

fn minimal() -> Value {
    json!({"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"})
}

fn with(pointer_member: &str, value: Value) -> Value {
    let mut body = minimal();
    body[pointer_member] = value;
    body
}

#[test]
fn schedule_and_reason_are_enough() {
    let request = read(&minimal()).unwrap();
    assert_eq!(date(&request), "2026-02-01");
    assert_eq!(request.reason, Reason::NoNeed);
    assert_eq!((request.comment, request.metadata), (None, None));
}

#[test]
fn all_optional_members_are_kept() {
    let request = read(&json!({
        "schedule": {"type": "CancelAtDate", "date": "2026-12-31"},
        "reason": "OTHER",
        "comment": "Moves abroad",
        "metadata": {"ticket": "T-1", "nested": {"a": [1, null, 2.5]}},
    }))
    .unwrap();
    assert_eq!(date(&request), "2026-12-31");
    assert_eq!(request.comment.as_deref(), Some("Moves abroad"));
    let metadata: Value = serde_json::from_str(&request.metadata.unwrap()).unwrap();
    assert_eq!(metadata, json!({"ticket": "T-1", "nested": {"a": [1, null, 2.5]}}));
}

#[test]
fn every_reason_but_other_is_accepted_without_a_comment() {
    for reason in &REASONS[..10] {
        assert!(read(&with("reason", json!(reason))).is_ok(), "{reason}");
    }
    assert_eq!(fault(&with("reason", json!("no_need"))), ("/reason".into(), FaultCode::UnknownValue));
    assert_eq!(fault(&with("reason", json!(7))), ("/reason".into(), FaultCode::WrongType));
}

#[test]
fn an_unknown_reason_is_not_repeated_in_the_fault() {
    let Err(InvalidBody::Faulty(faults)) = read(&with("reason", json!("x, expected +46701740605"))) else {
        panic!("accepted");
    };
    let detail = format!("{:?}", faults.listed[0].detail);
    assert!(detail.contains("BETTER_DEAL_PRICE") && !detail.contains("4670"), "{detail}");
}

#[test]
fn the_reason_other_needs_a_comment_with_text() {
    let mut body = with("reason", json!("OTHER"));
    assert_eq!(fault(&body), ("/comment".into(), FaultCode::Required));
    body["comment"] = json!(" \t\u{2003}\n");
    assert_eq!(fault(&body), ("/comment".into(), FaultCode::Blank));
    body["comment"] = json!("moved");
    assert!(read(&body).is_ok());
}

#[test]
fn a_comment_has_at_most_1000_characters() {
    assert!(read(&with("comment", json!("ü".repeat(1_000)))).is_ok());
    let longer = with("comment", json!("ü".repeat(1_001)));
    assert_eq!(fault(&longer), ("/comment".into(), FaultCode::InvalidLength));
    assert_eq!(fault(&with("comment", json!(7))), ("/comment".into(), FaultCode::WrongType));
}

#[test]
fn a_date_is_later_than_today_and_written_in_full() {
    let at = |date: Value| with("schedule", json!({"type": "CancelAtDate", "date": date}));
    let pointer = "/schedule/date".to_owned();
    assert!(read(&at(json!("2026-02-01"))).is_ok());
    for today_or_before in ["2026-01-31", "2025-12-31"] {
        assert_eq!(fault(&at(json!(today_or_before))), (pointer.clone(), FaultCode::NotInFuture));
    }
    for no_date in [
        "2026-2-1",
        "2027-02-29",
        "+12026-01-01",
        "-202-01-01",
        "2026-12- 1",
        "2026-12-31T00:00:00Z",
        "",
        "tomorrow",
    ] {
        assert_eq!(fault(&at(json!(no_date))), (pointer.clone(), FaultCode::InvalidDate), "{no_date}");
    }
    assert_eq!(fault(&at(json!(20_261_231))), (pointer.clone(), FaultCode::WrongType));
    let without = with("schedule", json!({"type": "CancelAtDate"}));
    assert_eq!(fault(&without), (pointer, FaultCode::Required));
}

#[test]
fn only_cancel_at_date_takes_a_date() {
    let body = with("schedule", json!({"type": "CancelNextDay", "date": "2026-12-31"}));
    assert_eq!(fault(&body), ("/schedule/date".into(), FaultCode::UnknownMember));
}

#[test]
fn null_means_that_an_optional_member_is_absent() {
    let body = json!({
        "schedule": {"type": "CancelNextDay", "date": null},
        "reason": "NO_NEED",
        "comment": null,
        "metadata": null,
    });
    assert_eq!(read(&body).unwrap(), read(&minimal()).unwrap());

    assert_eq!(fault(&with("reason", Value::Null)), ("/reason".into(), FaultCode::WrongType));
    assert_eq!(fault(&with("schedule", Value::Null)), ("/schedule".into(), FaultCode::WrongType));
    let dateless = with("schedule", json!({"type": "CancelAtDate", "date": null}));
    assert_eq!(fault(&dateless), ("/schedule/date".into(), FaultCode::Required));
    let mut other = with("reason", json!("OTHER"));
    other["comment"] = Value::Null;
    assert_eq!(fault(&other), ("/comment".into(), FaultCode::Required));
}

#[test]
fn a_lone_surrogate_is_a_fault_at_its_pointer() {
    let body = br#"{"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED", "comment": "moved \ud83d", "metadata": {"k": "\ude00"}}"#;
    let Err(InvalidBody::Faulty(faults)) = read_text(body) else { panic!("accepted") };
    let places: Vec<_> = faults.listed.iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect();
    assert_eq!(places, [("/comment", FaultCode::InvalidText), ("/metadata/k", FaultCode::InvalidText)]);
}

#[test]
fn a_date_that_has_begun_is_a_fault_of_the_body_only_beside_another_fault() {
    let today = with("schedule", json!({"type": "CancelAtDate", "date": "2026-01-31"}));
    let request = CancelRequest::from_json(today.to_string().as_bytes(), &calendar()).unwrap();
    assert_eq!(request.schedule, Schedule::AtDate("2026-01-31".parse().unwrap()));
    // Beside another fault, the date is a fault too.
    let mut body = today;
    body["reason"] = json!("NONE");
    assert_eq!(
        faults(&body),
        [
            ("/schedule/date".to_owned(), FaultCode::NotInFuture),
            ("/reason".to_owned(), FaultCode::UnknownValue),
        ]
    );
}

#[test]
fn metadata_is_an_object_within_bounds() {
    let members = |count: usize| (0..count).map(|n| (format!("k{n}"), json!(n))).collect::<Map<_, _>>();
    assert!(read(&with("metadata", Value::Object(members(50)))).is_ok());
    assert_eq!(
        fault(&with("metadata", Value::Object(members(51)))),
        ("/metadata".into(), FaultCode::TooManyMembers)
    );
    assert_eq!(fault(&with("metadata", json!([]))), ("/metadata".into(), FaultCode::WrongType));
    assert_eq!(fault(&with("metadata", json!({"": 1}))), ("/metadata/".into(), FaultCode::InvalidLength));
    let name = "n".repeat(65);
    assert_eq!(
        fault(&with("metadata", json!({name.clone(): 1}))),
        (format!("/metadata/{name}"), FaultCode::InvalidLength)
    );
    // {"k":"…"}: eight bytes beside the text.
    assert!(read(&with("metadata", json!({"k": "x".repeat(8 * 1024 - 8)}))).is_ok());
    let larger = with("metadata", json!({"k": "x".repeat(8 * 1024 - 7)}));
    assert_eq!(fault(&larger), ("/metadata".into(), FaultCode::TooLarge));
}

#[test]
fn all_faults_are_reported_at_once() {
    let body = json!({
        "schedule": {"type": "CancelAtDate", "date": "2026-01-01", "when": "now"},
        "reason": "BECAUSE",
        "comment": 5,
        "metadata": {"": 1},
        "a/b~c": true,
    });
    assert_eq!(
        faults(&body),
        [
            ("/a~1b~0c".to_owned(), FaultCode::UnknownMember),
            ("/schedule/when".to_owned(), FaultCode::UnknownMember),
            ("/schedule/date".to_owned(), FaultCode::NotInFuture),
            ("/reason".to_owned(), FaultCode::UnknownValue),
            ("/comment".to_owned(), FaultCode::WrongType),
            ("/metadata/".to_owned(), FaultCode::InvalidLength),
        ]
    );
    assert_eq!(
        faults(&json!({})),
        [("/schedule".to_owned(), FaultCode::Required), ("/reason".to_owned(), FaultCode::Required)]
    );
    assert_eq!(faults(&json!([])), [(String::new(), FaultCode::WrongType)]);
}

#[test]
fn a_body_with_thousands_of_faults_gets_a_short_list() {
    let body = (0..3_000).map(|n| (format!("\u{1}x{n}"), json!(n))).collect::<Map<_, _>>();
    match read(&Value::Object(body)) {
        Err(InvalidBody::Faulty(faults)) => {
            assert!(faults.listed.len() > 50);
            assert!(serde_json::to_string(&faults.listed).unwrap().len() < 7 * 1024);
            assert_eq!(faults.listed.len() + faults.unlisted, 3_000 + 2);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fault_with_a_very_long_name_is_listed_at_its_parent() {
    let name = "n".repeat(5_000);
    let faults = |body: &Value| faults(body);
    assert_eq!(
        faults(&with("metadata", json!({name.clone(): 1}))),
        [("/metadata".to_owned(), FaultCode::InvalidLength)]
    );
    assert_eq!(faults(&with(&name, json!(1))), [(String::new(), FaultCode::UnknownMember)]);
}

#[test]
fn metadata_is_kept_to_the_digit() {
    let metadata = r#"{ "large": 123456789012345678901234567890.10, "small": 1.0e-7 }"#;
    let body =
        format!(r#"{{"schedule": {{"type": "CancelNextDay"}}, "reason": "FRAUD", "metadata": {metadata}}}"#);
    let request = CancelRequest::from_json(body.as_bytes(), &calendar()).unwrap();
    assert_eq!(request.metadata.as_deref(), Some(metadata));
}

/// Returns true if a body is a request to cancel, by the rules as they are stated to callers.
fn obeys_every_rule(body: &Value) -> bool {
    let only = |object: &Value, names: &[&str]| {
        object.as_object().is_some_and(|object| object.keys().all(|name| names.contains(&name.as_str())))
    };
    let schedule = &body["schedule"];
    let is_schedule = match schedule["type"].as_str() {
        Some("CancelNextDay" | "CancelAtBeginningOfNextMonth") => {
            only(schedule, &["type", "date"]) && schedule["date"].is_null()
        }
        Some("CancelAtDate") => {
            // Dates written in full sort like texts. Today is 31 January in Stockholm.
            let date = schedule["date"].as_str().unwrap_or_default();
            let digits = |range| date.get(range).is_some_and(|d: &str| d.chars().all(|c| c.is_ascii_digit()));
            let is_written_in_full = date.len() == 10
                && [0..4, 5..7, 8..10].into_iter().all(digits)
                && date.chars().filter(|c| *c == '-').count() == 2;
            let exists = date.parse::<NaiveDate>().is_ok();
            only(schedule, &["type", "date"]) && is_written_in_full && exists && date > "2026-01-31"
        }
        _ => false,
    };
    let reason = body["reason"].as_str().unwrap_or_default();
    let comment = body.get("comment").filter(|comment| !comment.is_null()).map(|comment| comment.as_str());
    let is_comment = match comment {
        None => reason != "OTHER",
        Some(None) => false,
        Some(Some(text)) => {
            text.chars().count() <= 1_000 && (reason != "OTHER" || text.chars().any(|c| !c.is_whitespace()))
        }
    };
    let is_metadata = body.get("metadata").is_none_or(|metadata| {
        if metadata.is_null() {
            return true;
        }
        let names = metadata.as_object().map(|metadata| metadata.keys().map(|name| name.chars().count()));
        names.is_some_and(|names| names.len() <= 50 && names.into_iter().all(|n| (1..=64).contains(&n)))
            && metadata.to_string().len() <= 8 * 1024
    });
    only(body, &["schedule", "reason", "comment", "metadata"])
        && is_schedule
        && REASONS.contains(&reason)
        && is_comment
        && is_metadata
}

/// Returns true if a pointer (RFC 6901) leads to a part of the body, or to a missing member of an object in it.
fn leads_somewhere(pointer: &str, body: &Value) -> bool {
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    let is_escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    is_escaped && (body.pointer(pointer).is_some() || body.pointer(parent).is_some_and(Value::is_object))
}

/// Bodies in which every part is valid most of the time.
fn bodies() -> impl Strategy<Value = Value> {
    fn part(right: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
        let wrong = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(json!([])),
            Just(json!({})),
        ];
        let value = prop_oneof![30 => right, 1 => wrong];
        prop_oneof![30 => value.prop_map(Some), 1 => Just(None)].boxed()
    }
    fn object<const N: usize>(names: [&'static str; N], parts: [Option<Value>; N]) -> Map<String, Value> {
        let members = names.into_iter().zip(parts);
        members.filter_map(|(name, part)| Some((name.to_owned(), part?))).collect()
    }
    let kind = select(vec!["CancelNextDay", "CancelAtBeginningOfNextMonth", "CancelAtDate", "CancelAtDate"]);
    let date = prop_oneof![
        "20(2[6-9]|[3-9][0-9])-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
        near_miss(Just("2026-02-01".to_owned())),
    ];
    let schedule =
        (part(kind.prop_map(Value::from)), part(date.prop_map(Value::from))).prop_map(|(kind, date)| {
            let date = date.filter(|_| kind == Some(json!("CancelAtDate")));
            Value::Object(object(["type", "date"], [kind, date]))
        });
    let reason = prop_oneof![9 => select(&REASONS), 1 => Just("OTHERS")].prop_map(Value::from);
    let comment = prop_oneof![".{0,20}", "[ \\t\u{2003}]{0,3}", "ü{995,1005}"].prop_map(Value::from);
    let name = prop_oneof![9 => ".{1,12}", 1 => "(~/|\u{1}|ü){0,33}", 1 => "n{60,300}"];
    let metadata = prop_oneof![
        btree_map(name.clone(), any::<i32>().prop_map(Value::from), 0..4),
        btree_map("[a-z]{4}", Just(Value::Null), 45..55),
        btree_map("k", "x{8100,8300}".prop_map(Value::from), 1),
    ];
    let metadata = metadata.prop_map(|members| json!(members));
    let unknown = prop_oneof![30 => Just(0..1), 1 => Just(1..900)]
        .prop_flat_map(move |count| btree_map(name.clone(), Just(Value::Null), count));
    let parts = (part(schedule), part(reason), part(comment), part(metadata), unknown);
    parts.prop_map(|(schedule, reason, comment, metadata, unknown)| {
        let names = ["schedule", "reason", "comment", "metadata"];
        let mut body = object(names, [schedule, reason, comment, metadata]);
        body.extend(unknown);
        Value::Object(body)
    })
}

proptest! {
    #[test]
    fn a_body_is_accepted_exactly_if_it_obeys_every_rule(body in bodies()) {
        match read(&body) {
            Ok(request) => {
                prop_assert!(obeys_every_rule(&body), "accepted: {body}");
                prop_assert_eq!(request.comment.as_deref(), body["comment"].as_str());
                let metadata = request.metadata.map(|text| serde_json::from_str::<Value>(&text).unwrap());
                prop_assert_eq!(metadata.as_ref(), body.get("metadata").filter(|metadata| !metadata.is_null()));
            }
            Err(InvalidBody::Malformed(place)) => prop_assert!(false, "JSON up to {place}: {body}"),
            Err(InvalidBody::Faulty(faults)) => {
                prop_assert!(!obeys_every_rule(&body), "refused: {body}: {faults:?}");
                for Fault { pointer, .. } in &faults.listed {
                    prop_assert!(leads_somewhere(pointer, &body), "{pointer}: {body}");
                }
                let listed = serde_json::to_string(&faults.listed).unwrap();
                prop_assert!(listed.len() <= 7 * 1024, "{listed}");
            }
        }
    }

    #[test]
    fn a_body_with_one_character_changed_is_judged_by_its_new_text(
        text in near_miss(bodies().prop_map(|body| body.to_string()))
    ) {
        match read_text(text.as_bytes()) {
            Ok(_) => prop_assert!(obeys_every_rule(&serde_json::from_str(&text).unwrap()), "{text}"),
            Err(InvalidBody::Malformed(_)) => prop_assert!(json::parse(text.as_bytes()).is_err(), "{text}"),
            Err(InvalidBody::Faulty(_)) => {
                prop_assert!(!obeys_every_rule(&serde_json::from_str(&text).unwrap()), "{text}");
            }
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_make_the_parser_panic(body: Vec<u8>) {
        let _ = CancelRequest::from_json(&body, &calendar());
    }
}
