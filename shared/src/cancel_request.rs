//! The body of a request to cancel: read once, checked whole, and every fault reported at once.
//!
//! A caller that sends five mistakes learns of five. Nothing that was sent is dropped in silence:
//! a member this page doesn't know is a fault too, and so is a value of another type.

use chrono::NaiveDate;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::calendar::{Calendar, EffectiveDate, UnusableDate};
use crate::cancellation::{CancelRequest, Reason, Schedule};
use crate::fault::{FaultCode, Faults, member};
use crate::json::{self, MalformedJson};

/// The longest comment, in characters.
pub const MAX_COMMENT_CHARACTERS: usize = 1_000;
/// The most members that `metadata` may have.
pub const MAX_METADATA_MEMBERS: usize = 50;
/// The longest name of a member of `metadata`, in characters.
pub const MAX_METADATA_NAME_CHARACTERS: usize = 64;
/// The largest `metadata`, in bytes as it is sent.
pub const MAX_METADATA_BYTES: usize = 8 * 1024;

/// Why a body is no request to cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidBody {
    /// It is not JSON.
    Malformed(MalformedJson),
    /// It is JSON, and wrong in these places.
    Faulty(Faults),
}

impl CancelRequest {
    /// Reads a body against the tenant's calendar.
    ///
    /// # Errors
    /// The body is not JSON, or breaks a rule; all the rules it breaks are listed.
    pub fn from_json(body: &[u8], calendar: &Calendar) -> Result<Self, InvalidBody> {
        let value = json::parse(body).map_err(InvalidBody::Malformed)?;
        let mut faults = Faults::default();
        match read(&value, body, calendar, &mut faults) {
            Some(request) if faults.is_empty() => Ok(request),
            _ => Err(InvalidBody::Faulty(faults)),
        }
    }
}

/// `None` where a required part is missing or faulty, and then there is a fault that says so.
fn read(value: &Value, text: &[u8], calendar: &Calendar, faults: &mut Faults) -> Option<CancelRequest> {
    let body = object("", value, faults)?;
    faults.add_unknown_members("", body, &["schedule", "reason", "comment", "metadata"]);

    let schedule = required("", body, "schedule", faults);
    let effective = schedule.and_then(|schedule| read_schedule(schedule, calendar, faults));
    let reason = required("", body, "reason", faults);
    let reason = reason.and_then(|reason| one_of::<Reason>("/reason", reason, faults));
    let comment = body.get("comment").and_then(|comment| read_comment(comment, faults));
    let metadata = body.get("metadata").and_then(|metadata| read_metadata(metadata, text, faults));

    if reason == Some(Reason::Other) {
        match body.get("comment") {
            None => faults.add("/comment", FaultCode::Required, "the reason OTHER needs a comment"),
            Some(Value::String(text)) if text.trim().is_empty() => {
                faults.add(
                    "/comment",
                    FaultCode::Blank,
                    "the reason OTHER needs a comment that says something",
                );
            }
            Some(_) => {}
        }
    }
    Some(CancelRequest { effective: effective?, reason: reason?, comment, metadata })
}

fn read_schedule(value: &Value, calendar: &Calendar, faults: &mut Faults) -> Option<EffectiveDate> {
    let schedule = object("/schedule", value, faults)?;
    let kind = required("/schedule", schedule, "type", faults);
    let kind = kind.and_then(|kind| text("/schedule/type", kind, faults));
    let known: &[&str] = match kind {
        Some("CancelNextDay" | "CancelAtBeginningOfNextMonth") => &["type"],
        // With an unknown type, a date may well have been meant.
        _ => &["type", "date"],
    };
    faults.add_unknown_members("/schedule", schedule, known);

    let schedule = match kind? {
        "CancelNextDay" => Schedule::NextDay,
        "CancelAtBeginningOfNextMonth" => Schedule::BeginningOfNextMonth,
        "CancelAtDate" => {
            let date = required("/schedule", schedule, "date", faults)?;
            Schedule::AtDate(read_date("/schedule/date", date, faults)?)
        }
        _ => {
            let detail = "must be CancelNextDay, CancelAtBeginningOfNextMonth or CancelAtDate";
            faults.add("/schedule/type", FaultCode::UnknownValue, detail);
            return None;
        }
    };
    schedule
        .effective(calendar)
        .inspect_err(|unusable| {
            let code = match unusable {
                UnusableDate::NotInFuture { .. } => FaultCode::NotInFuture,
                UnusableDate::Skipped { .. } => FaultCode::SkippedDate,
            };
            faults.add("/schedule/date", code, unusable.to_string());
        })
        .ok()
}

fn read_date(pointer: &str, value: &Value, faults: &mut Faults) -> Option<NaiveDate> {
    let date = text(pointer, value, faults)?;
    // chrono alone would also read `2026-1-5`, `+12026-01-05`, `-202-01-05` and `2026-01- 5`.
    let is_written_in_full = date.len() == 10
        && date.bytes().zip(1..).all(|(byte, nth)| match nth {
            5 | 8 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let date = if is_written_in_full { date.parse().ok() } else { None };
    if date.is_none() {
        faults.add(pointer, FaultCode::InvalidDate, "must be a date of the form YYYY-MM-DD");
    }
    date
}

fn read_comment(value: &Value, faults: &mut Faults) -> Option<String> {
    let comment = text("/comment", value, faults)?;
    if comment.chars().count() > MAX_COMMENT_CHARACTERS {
        let detail = format!("must have at most {MAX_COMMENT_CHARACTERS} characters");
        faults.add("/comment", FaultCode::InvalidLength, detail);
    }
    Some(comment.to_owned())
}

/// The metadata as it was sent, since a number in it may have more digits than a [`Value`] can hold.
fn read_metadata(value: &Value, body: &[u8], faults: &mut Faults) -> Option<String> {
    #[derive(Deserialize)]
    struct AsSent<'b> {
        #[serde(borrow)]
        metadata: &'b RawValue,
    }
    let metadata = object("/metadata", value, faults)?;
    if metadata.len() > MAX_METADATA_MEMBERS {
        let detail = format!("must have at most {MAX_METADATA_MEMBERS} members");
        faults.add("/metadata", FaultCode::TooManyMembers, detail);
    }
    for name in metadata.keys() {
        if !(1..=MAX_METADATA_NAME_CHARACTERS).contains(&name.chars().count()) {
            let detail = format!("a name must have 1 to {MAX_METADATA_NAME_CHARACTERS} characters");
            faults.add_member("/metadata", name, FaultCode::InvalidLength, &detail);
        }
    }
    let AsSent { metadata: text } = serde_json::from_slice(body).ok()?;
    if text.get().len() > MAX_METADATA_BYTES {
        let detail = format!("must have at most {MAX_METADATA_BYTES} bytes as it is sent");
        faults.add("/metadata", FaultCode::TooLarge, detail);
    }
    Some(text.get().to_owned())
}

fn required<'v>(
    pointer: &str,
    object: &'v Map<String, Value>,
    name: &str,
    faults: &mut Faults,
) -> Option<&'v Value> {
    let value = object.get(name);
    if value.is_none() {
        faults.add(&member(pointer, name), FaultCode::Required, "must be there");
    }
    value
}

fn object<'v>(pointer: &str, value: &'v Value, faults: &mut Faults) -> Option<&'v Map<String, Value>> {
    let object = value.as_object();
    if object.is_none() {
        faults.add(pointer, FaultCode::WrongType, "must be an object");
    }
    object
}

fn text<'v>(pointer: &str, value: &'v Value, faults: &mut Faults) -> Option<&'v str> {
    let text = value.as_str();
    if text.is_none() {
        faults.add(pointer, FaultCode::WrongType, "must be a string");
    }
    text
}

/// A text that names a variant of `T`; which these are, `T`'s own deserializer knows best.
fn one_of<T: DeserializeOwned>(pointer: &str, value: &Value, faults: &mut Faults) -> Option<T> {
    text(pointer, value, faults)?;
    T::deserialize(value)
        .inspect_err(|error| {
            // serde: "unknown variant `X`, expected one of `A`, `B`": what was sent need not be echoed.
            let message = error.to_string();
            let expected =
                message.split_once(", expected ").map_or("one of those allowed", |(_, known)| known);
            faults.add(pointer, FaultCode::UnknownValue, format!("must be {}", expected.replace('`', "")));
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn calendar() -> Calendar {
        Calendar::new(Tz::Europe__Stockholm, "2026-01-31T22:30:00Z".parse().unwrap())
    }

    fn read(body: &Value) -> Result<CancelRequest, InvalidBody> {
        CancelRequest::from_json(body.to_string().as_bytes(), &calendar())
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
        assert_eq!(request.effective.date().to_string(), "2026-02-01");
        assert_eq!(request.reason, Reason::NoNeed);
        assert_eq!((request.comment, request.metadata), (None, None));
    }

    #[test]
    fn everything_that_may_be_sent_is_kept() {
        let request = read(&json!({
            "schedule": {"type": "CancelAtDate", "date": "2026-12-31"},
            "reason": "OTHER",
            "comment": "Moves abroad",
            "metadata": {"ticket": "T-1", "nested": {"a": [1, null, 2.5]}},
        }))
        .unwrap();
        assert_eq!(request.effective.date().to_string(), "2026-12-31");
        assert_eq!(request.comment.as_deref(), Some("Moves abroad"));
        let metadata: Value = serde_json::from_str(&request.metadata.unwrap()).unwrap();
        assert_eq!(metadata, json!({"ticket": "T-1", "nested": {"a": [1, null, 2.5]}}));
    }

    #[test]
    fn each_of_the_eleven_reasons_is_known() {
        for reason in [
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
        ] {
            assert!(read(&with("reason", json!(reason))).is_ok(), "{reason}");
        }
        assert_eq!(fault(&with("reason", json!("no_need"))), ("/reason".into(), FaultCode::UnknownValue));
        assert_eq!(fault(&with("reason", json!(7))), ("/reason".into(), FaultCode::WrongType));
    }

    #[test]
    fn other_needs_a_comment_that_says_something() {
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
        assert_eq!(fault(&with("comment", Value::Null)), ("/comment".into(), FaultCode::WrongType));
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
    fn only_a_chosen_date_has_a_date() {
        let body = with("schedule", json!({"type": "CancelNextDay", "date": "2026-12-31"}));
        assert_eq!(fault(&body), ("/schedule/date".into(), FaultCode::UnknownMember));
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
    fn a_fault_is_listed_however_long_its_name() {
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
        let body = format!(
            r#"{{"schedule": {{"type": "CancelNextDay"}}, "reason": "FRAUD", "metadata": {metadata}}}"#
        );
        let request = CancelRequest::from_json(body.as_bytes(), &calendar()).unwrap();
        assert_eq!(request.metadata.as_deref(), Some(metadata));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = CancelRequest::from_json(&body, &calendar());
        }

        #[test]
        fn no_json_of_the_right_shape_makes_it_panic(kind: String, date: String, reason: String, comment: String) {
            let body = json!({"schedule": {"type": kind, "date": date}, "reason": reason, "comment": comment});
            prop_assert!(read(&body).is_err());
        }
    }
}
