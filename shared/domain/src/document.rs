//! A document as the database holds it: exact numbers, sets, and members that this service does not know.

use std::collections::HashMap;

use bigdecimal::BigDecimal;
use serde::Serialize;

/// The members of a stored document, or of a part of it.
pub type StoredDocument = HashMap<String, StoredValue>;

/// The value of a member. JSON has the first six; other systems may have written the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredValue {
    /// Null, which is absent to callers.
    Null,
    /// True or false.
    Bool(bool),
    /// A decimal number, as text: it may have more digits than a double.
    Number(String),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<StoredValue>),
    /// An object.
    Map(StoredDocument),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A set of texts.
    Texts(Vec<String>),
    /// A set of numbers.
    Numbers(Vec<String>),
    /// A set of byte strings.
    ByteStrings(Vec<Vec<u8>>),
}

impl StoredValue {
    /// Returns true if two values are the same to callers. Numbers are compared by value, and null is taken as absent.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => {
                let number = |text: &String| text.parse::<BigDecimal>();
                one == other || matches!((number(one), number(other)), (Ok(one), Ok(other)) if one == other)
            }
            (Self::List(one), Self::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_same(other))
            }
            (Self::Map(one), Self::Map(other)) => is_same(one, other),
            _ => self == other,
        }
    }
}

/// Returns true if two documents are the same to callers.
#[must_use]
pub fn is_same(one: &StoredDocument, other: &StoredDocument) -> bool {
    let is_null = |value: &StoredValue| matches!(value, StoredValue::Null);
    let present = |map: &StoredDocument| map.values().filter(|value| !is_null(value)).count();
    let has_the_same = |(name, value): (&String, &StoredValue)| {
        is_null(value) || other.get(name).is_some_and(|other| value.is_same(other))
    };
    present(one) == present(other) && one.iter().all(has_the_same)
}

impl From<serde_json::Value> for StoredValue {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(decimal(&number)),
            Value::String(text) => Self::Text(text),
            Value::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Map(stored(members)),
        }
    }
}

/// The members of a JSON object, to be stored.
#[must_use]
pub fn stored(members: serde_json::Map<String, serde_json::Value>) -> StoredDocument {
    members.into_iter().map(|(name, value)| (name, value.into())).collect()
}

/// A value of this crate as a member of a document; `None` if it has no JSON form.
pub(crate) fn stored_value(value: impl Serialize) -> Option<StoredValue> {
    serde_json::to_value(value).ok().map(StoredValue::from)
}

/// A number without an exponent.
#[must_use]
pub fn decimal(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(double) if number.is_f64() => double.to_string(),
        _ => number.to_string(),
    }
}
