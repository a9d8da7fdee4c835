//! JSON from outside, read strictly.
//!
//! RFC 8259 leaves open what a member named twice means, and parsers differ: two dates in one request
//! could cancel on either. So a repeated name is an error here, as is everything that isn't JSON.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Text that is not JSON, or repeats a member's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}")]
pub struct MalformedJson {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in bytes; 0 if the text ends before the line has begun.
    pub column: usize,
}

/// Reads one JSON value that is all of `text`.
///
/// # Errors
/// The text is not UTF-8, not JSON, nested deeper than 127 levels, or repeats the name of a member.
pub fn parse(text: &[u8]) -> Result<Value, MalformedJson> {
    serde_json::from_slice::<Strict>(text)
        .map(|Strict(value)| value)
        .map_err(|error| MalformedJson { line: error.line(), column: error.column() })
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictValue.deserialize(deserializer).map(Self)
    }
}

struct StrictValue;

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(StrictValue)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("repeated member"));
            }
            object.insert(name, members.next_value_seed(StrictValue)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::near_miss::near_miss;

    fn values() -> impl Strategy<Value = Value> + Clone {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // serde_json reads a double of many digits to the last bit but one.
            any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 8, |inner| {
            let object = btree_map(".{0,3}", inner.clone(), 0..8);
            let object = object.prop_map(|members| Value::Object(members.into_iter().collect()));
            prop_oneof![vec(inner, 0..8).prop_map(Value::Array), object]
        })
    }

    #[test]
    fn json_is_read_as_it_stands() {
        let text = r#" {"a": [1, -2, 3.5, true, null, "ü"], "b": {"c": 1e3}} "#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_fault_is_located_by_line_and_column() {
        assert_eq!(parse(b"{\n  \"a\": oops}"), Err(MalformedJson { line: 2, column: 8 }));
        assert_eq!(parse(b""), Err(MalformedJson { line: 1, column: 0 }));
        assert!(parse(b"{} {}").is_err());
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse("[".repeat(10_000).as_bytes()).is_err());
    }

    #[test]
    fn a_member_named_twice_is_refused_at_any_depth() {
        assert!(parse(br#"{"date": "2026-12-31", "date": "2027-12-31"}"#).is_err());
        assert!(parse(br#"[{"schedule": {"a": 1, "a": 1}}]"#).is_err());
        assert!(parse(br#"{"a": {"a": 1}, "b": {"a": 1}}"#).is_ok());
    }

    proptest! {
        #[test]
        fn a_value_is_read_as_it_was_written(value in values()) {
            prop_assert_eq!(parse(value.to_string().as_bytes()), Ok(value));
        }

        #[test]
        fn nothing_is_read_that_serde_json_would_read_otherwise(
            text in near_miss(values().prop_map(|value| value.to_string()))
        ) {
            match parse(text.as_bytes()) {
                Ok(value) => prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap()),
                Err(MalformedJson { line, column }) => {
                    prop_assert!(line <= text.matches('\n').count() + 1 && column <= text.len());
                }
            }
        }

        #[test]
        fn a_member_named_twice_is_refused_wherever_it_is(
            [outside, inside] in [values(), values()], name: String, times in 1..3_usize
        ) {
            let member = format!("{}:{inside}", Value::from(name));
            let object = format!("{{{}}}", vec![member; times].join(","));
            let text = format!(r#"[{outside},{{"a":[{object}]}}]"#);
            prop_assert_eq!(parse(text.as_bytes()).is_ok(), times == 1);
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(nested(127).as_bytes()).is_ok());
        assert!(parse(nested(128).as_bytes()).is_err());
    }
}
