//! The body of a request to cancel: read once, checked as a whole, and every fault reported at once.
//!
//! A body with five mistakes gets five faults. No member is ignored silently: an unknown member is a fault, and so is a value of
//! the wrong type.

use std::fmt::Display;

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use strum::VariantArray;

use crate::calendar::{Calendar, UnusableDate};
use crate::cancellation::{CancelRequest, Reason, Schedule};
use crate::fault::{FaultCode, Faults, member};
use crate::json::{self, Json, MalformedJson};

/// The longest comment, in characters.
pub const MAX_COMMENT_CHARACTERS: usize = 1_000;
/// The most members that `metadata` may have.
pub const MAX_METADATA_MEMBERS: usize = 50;
/// The longest name of a member of `metadata`, in characters.
pub const MAX_METADATA_NAME_CHARACTERS: usize = 64;
/// The largest `metadata`, in bytes as it is sent.
pub const MAX_METADATA_BYTES: usize = 8 * 1024;

/// The reason for which a body is not a valid request to cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidBody {
    /// The body is malformed JSON.
    Malformed(MalformedJson),
    /// The body is JSON with these faults.
    Faulty(Faults),
}

impl CancelRequest {
    /// Reads a body.
    ///
    /// If the date is the only fault, in the tenant's `calendar`, the body is accepted here. Such a fault depends on the time, so
    /// [`decide_cancel`](crate::cancel::decide_cancel) decides about it, together with the subscription.
    ///
    /// # Errors
    /// The body is malformed JSON, or breaks a rule that does not depend on the time. In the second case, every rule that it breaks
    /// now is listed.
    pub fn from_json(body: &[u8], calendar: &Calendar) -> Result<Self, InvalidBody> {
        let Json { value, invalid_texts } = json::parse(body).map_err(InvalidBody::Malformed)?;
        let mut faults = Faults::default();
        for pointer in invalid_texts {
            faults.add(&pointer, FaultCode::InvalidText, "must be Unicode, and has half of a surrogate pair");
        }
        match read(&value, body, calendar, &mut faults) {
            Some(request) if faults.depend_on_time_alone() => Ok(request),
            _ => Err(InvalidBody::Faulty(faults)),
        }
    }
}

/// Reads the members of a body. Returns `None` if a required part is missing or faulty; then a fault says so.
fn read(value: &Value, text: &[u8], calendar: &Calendar, faults: &mut Faults) -> Option<CancelRequest> {
    let body = object("", value, faults)?;
    faults.add_unknown_members("", body, &["schedule", "reason", "comment", "metadata"]);

    let schedule = required("", body, "schedule", faults);
    let schedule = schedule.and_then(|schedule| read_schedule(schedule, calendar, faults));
    let reason = required("", body, "reason", faults);
    let reason = reason.and_then(|reason| one_of::<Reason>("/reason", reason, faults));
    let comment = optional(body, "comment").and_then(|comment| read_comment(comment, faults));
    let metadata = optional(body, "metadata").and_then(|metadata| read_metadata(metadata, text, faults));

    if reason == Some(Reason::Other) {
        match optional(body, "comment") {
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
    Some(CancelRequest { schedule: schedule?, reason: reason?, comment, metadata })
}

fn read_schedule(value: &Value, calendar: &Calendar, faults: &mut Faults) -> Option<Schedule> {
    let schedule = object("/schedule", value, faults)?;
    let kind = required("/schedule", schedule, "type", faults);
    let kind = kind.and_then(|kind| text("/schedule/type", kind, faults));
    let known: &[&str] = match kind {
        Some("CancelNextDay" | "CancelAtBeginningOfNextMonth") if optional(schedule, "date").is_some() => {
            &["type"]
        }
        // With an unknown type, the date may belong to the type that was meant.
        _ => &["type", "date"],
    };
    faults.add_unknown_members("/schedule", schedule, known);

    let schedule = match kind? {
        "CancelNextDay" => Schedule::NextDay,
        "CancelAtBeginningOfNextMonth" => Schedule::BeginningOfNextMonth,
        "CancelAtDate" => {
            let Some(date) = optional(schedule, "date") else {
                faults.add("/schedule/date", FaultCode::Required, "must be there");
                return None;
            };
            Schedule::AtDate(read_date("/schedule/date", date, faults)?)
        }
        _ => {
            let detail = "must be CancelNextDay, CancelAtBeginningOfNextMonth or CancelAtDate";
            faults.add("/schedule/type", FaultCode::UnknownValue, detail);
            return None;
        }
    };
    if let Err(unusable) = schedule.effective(calendar) {
        faults.add("/schedule/date", unusable.code(), unusable.to_string());
    }
    Some(schedule)
}

impl UnusableDate {
    fn code(&self) -> FaultCode {
        match self {
            Self::NotInFuture { .. } => FaultCode::NotInFuture,
            Self::Skipped { .. } => FaultCode::SkippedDate,
        }
    }
}

impl From<&UnusableDate> for Faults {
    /// Makes the fault of a body with such a date.
    fn from(unusable: &UnusableDate) -> Self {
        let mut faults = Self::default();
        faults.add("/schedule/date", unusable.code(), unusable.to_string());
        faults
    }
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

/// Reads the metadata as it was sent, because a number in it may have more digits than a [`Value`] can hold.
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

/// Returns the value of an optional member. Null counts as absent.
fn optional<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    object.get(name).filter(|value| !value.is_null())
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

/// Reads a text that names a variant of `T`.
fn one_of<T: VariantArray + Display + Copy>(pointer: &str, value: &Value, faults: &mut Faults) -> Option<T> {
    let text = text(pointer, value, faults)?;
    let found = T::VARIANTS.iter().copied().find(|variant| variant.to_string() == text);
    if found.is_none() {
        let known: Vec<_> = T::VARIANTS.iter().map(ToString::to_string).collect();
        let detail = format!("must be one of {}", known.join(", "));
        faults.add(pointer, FaultCode::UnknownValue, detail);
    }
    found
}

#[cfg(test)]
mod tests;
