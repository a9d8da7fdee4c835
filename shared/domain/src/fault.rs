//! Faults of a body, by place: the `errors` of an answer with status 422.
//!
//! All faults of a body are listed at once, in the order of its rules, as long as the answer stays small. The others are only
//! counted.

use serde::Serialize;
use serde_json::{Map, Value};
use strum::VariantArray;

/// A fault in one part of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The place: a JSON Pointer (RFC 6901) into the body.
    pub pointer: String,
    /// The kind of fault, for programs.
    pub code: FaultCode,
    /// The description, for people.
    pub detail: String,
}

/// The kind of a fault. Stable: callers switch on these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// A required member is missing.
    Required,
    /// An unknown member.
    UnknownMember,
    /// A value of the wrong JSON type.
    WrongType,
    /// A text that is not one of those allowed.
    UnknownValue,
    /// A text that is not a date of the form `YYYY-MM-DD`.
    InvalidDate,
    /// A date that is not later than today.
    NotInFuture,
    /// A date that the tenant's time zone skips.
    SkippedDate,
    /// A text that is empty or only white space.
    Blank,
    /// A text or a name with too few or too many characters.
    InvalidLength,
    /// An object with too many members.
    TooManyMembers,
    /// A value that is too large as a whole.
    TooLarge,
    /// A text that is not Unicode: it has half of a surrogate pair.
    InvalidText,
}

/// The faults of one body, in the order of its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The faults that are reported one by one: all of them, unless the answer would become very long.
    pub listed: Vec<Fault>,
    /// Number of faults that are not listed: a body can have thousands.
    pub unlisted: usize,
    listed_bytes: usize,
}

impl Faults {
    /// The largest size of the list, in bytes of JSON. The whole answer shall stay below 8 KiB.
    const MOST_BYTES: usize = 6 * 1024;
    /// The longest name of a member that is included in a pointer, in bytes.
    const LONGEST_NAME_BYTES: usize = 128;

    pub(crate) fn add(&mut self, pointer: &str, code: FaultCode, detail: impl Into<String>) {
        let fault = Fault { pointer: pointer.to_owned(), code, detail: detail.into() };
        // The size as JSON, in which a control character takes six bytes.
        let bytes = serde_json::to_string(&fault).map_or(Self::MOST_BYTES, |json| json.len());
        if self.unlisted == 0 && self.listed_bytes + bytes <= Self::MOST_BYTES {
            self.listed_bytes += bytes;
            self.listed.push(fault);
        } else {
            self.unlisted += 1;
        }
    }

    /// Adds a fault of the member `name` of the object at `pointer`. If the name is very long, the fault
    /// points to the object.
    pub(crate) fn add_member(&mut self, pointer: &str, name: &str, code: FaultCode, detail: &str) {
        if name.len() <= Self::LONGEST_NAME_BYTES {
            self.add(&member(pointer, name), code, detail);
        } else {
            self.add(pointer, code, format!("{detail} (a member with a name of {} bytes)", name.len()));
        }
    }

    pub(crate) fn add_unknown_members(&mut self, pointer: &str, object: &Map<String, Value>, known: &[&str]) {
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            self.add_member(pointer, name, FaultCode::UnknownMember, "there is no such member");
        }
    }

    /// Returns true if the same body could be without a fault at another time.
    pub(crate) fn depend_on_time_alone(&self) -> bool {
        let of_time = |fault: &Fault| matches!(fault.code, FaultCode::NotInFuture | FaultCode::SkippedDate);
        self.unlisted == 0 && self.listed.iter().all(of_time)
    }
}

/// The pointer to the member `name` of the object at `pointer`.
pub(crate) fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
