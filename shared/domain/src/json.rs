//! JSON from outside, read strictly.
//!
//! RFC 8259 does not define the meaning of a repeated name, and parsers differ: a request with two dates could cancel on either. So
//! a repeated name is an error here, as is everything that isn't JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::mem;

use bigdecimal::BigDecimal;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::fault::member;

/// The place at which a text is not JSON, or repeats the name of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}")]
pub struct MalformedJson {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in bytes, counted from 1; 0 if the text ends before the line has begun.
    pub column: usize,
}

/// A JSON value, and the places at which a [`Value`] can't hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Json {
    /// The value. In a text, U+FFFD replaces everything that is not Unicode.
    pub value: Value,
    /// Pointers (RFC 6901) to each text with half of a surrogate pair (`"\ud83d"`), which JSON allows and Unicode does not. If it
    /// is in the name of a member, the pointer leads to the object.
    pub invalid_texts: Vec<String>,
}

/// Reads one JSON value, which must be the whole of `text`.
///
/// # Errors
/// The text is not UTF-8, not JSON, nested deeper than 127 levels, or repeats the name of a member.
pub fn parse(text: &[u8]) -> Result<Json, MalformedJson> {
    let (text, mark) = mark_lone_surrogates(text);
    let Strict(mut value) = serde_json::from_slice(&text)
        .map_err(|error| MalformedJson { line: error.line(), column: error.column() })?;
    let mut invalid_texts = Vec::new();
    if let Some(mark) = mark {
        take_marks("", &mut value, mark, &mut invalid_texts);
    }
    Ok(Json { value, invalid_texts })
}

/// Replaces each lone half of a surrogate pair by a character that the text does not contain. Its escape has the same length.
fn mark_lone_surrogates(text: &[u8]) -> (Cow<'_, [u8]>, Option<char>) {
    let places = lone_surrogates(text);
    if places.is_empty() {
        return (Cow::Borrowed(text), None);
    }
    // Characters for private use are so rare that a text lacks at least one of them, both as it is and escaped.
    let lower = String::from_utf8_lossy(text).to_lowercase();
    let is_free = |mark: &char| !lower.contains(*mark) && !lower.contains(&hexadecimal(*mark));
    let Some(mark) = ('\u{e000}'..='\u{f8ff}').find(is_free) else {
        return (Cow::Borrowed(text), None);
    };
    let mut marked = text.to_vec();
    for place in places {
        if let Some(digits) = marked.get_mut(place + 2..place + 6) {
            digits.copy_from_slice(hexadecimal(mark).as_bytes());
        }
    }
    (Cow::Owned(marked), Some(mark))
}

fn hexadecimal(mark: char) -> String {
    format!("{:04x}", u32::from(mark))
}

/// The positions of the escapes that are a lone half of a surrogate pair.
fn lone_surrogates(text: &[u8]) -> Vec<usize> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += next;
        at += match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                places.push(at);
                6
            }
            _ => 2,
        };
    }
    places
}

fn take_marks(pointer: &str, value: &mut Value, mark: char, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains(mark) => {
            *text = text.replace(mark, "\u{fffd}");
            found.push(pointer.to_owned());
        }
        Value::Array(values) => {
            for (index, value) in values.iter_mut().enumerate() {
                take_marks(&format!("{pointer}/{index}"), value, mark, found);
            }
        }
        Value::Object(object) => {
            if object.keys().any(|name| name.contains(mark)) {
                found.push(pointer.to_owned());
            }
            for (name, value) in &mut *object {
                take_marks(&member(pointer, &name.replace(mark, "\u{fffd}")), value, mark, found);
            }
            *object = mem::take(object)
                .into_iter()
                .map(|(name, value)| (name.replace(mark, "\u{fffd}"), value))
                .collect();
        }
        _ => {}
    }
}

/// The pointer to a number of a JSON text that would not be kept exactly: neither a double nor a 64-bit integer can hold it, or it
/// is negative zero, which DynamoDB does not have.
#[must_use]
pub fn inexact_number(text: &str) -> Option<String> {
    // A double holds any 15 digits exactly, so short numbers without an exponent need no closer look.
    let mut runs = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let has_exponent = text.as_bytes().windows(2).any(|pair| matches!(pair, [b'0'..=b'9', b'e' | b'E']));
    let is_negative_zero = |part: &[u8]| matches!(part, [b' ' | b':' | b'[' | b',', b'-', b'0']);
    let may_have_negative_zero = text.as_bytes().windows(3).any(is_negative_zero);
    if !has_exponent && !may_have_negative_zero && runs.all(|run| run.len() <= 15) {
        return None;
    }
    find_inexact_number("", serde_json::from_str(text).ok()?)
}

fn find_inexact_number(pointer: &str, value: &RawValue) -> Option<String> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).ok()?;
            members.iter().find_map(|(name, value)| find_inexact_number(&member(pointer, name), value))
        }
        b'[' => {
            let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let mut values = values.iter().enumerate();
            values.find_map(|(index, value)| find_inexact_number(&format!("{pointer}/{index}"), value))
        }
        b'-' | b'0'..=b'9' => {
            let held: Value = serde_json::from_str(text).ok()?;
            let exact = |text: &str| text.parse::<BigDecimal>().ok();
            let written = exact(text)?;
            let is_negative_zero = text.starts_with('-') && written == 0;
            (is_negative_zero || written != exact(&held.to_string())?).then(|| pointer.to_owned())
        }
        _ => None,
    }
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
            // serde_json may get the last bit of a double with many digits wrong.
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
        assert_eq!(parse(text.as_bytes()).unwrap().value, serde_json::from_str::<Value>(text).unwrap());
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
    fn a_text_with_a_lone_surrogate_is_found_wherever_it_is() {
        let invalid = |text: &str| parse(text.as_bytes()).unwrap().invalid_texts;
        assert_eq!(
            invalid(r#"{"a": "cut \ud83d", "b": ["\uDE00", "\ud83d\ude00", "\\ud83d"]}"#),
            ["/a", "/b/0"]
        );
        assert_eq!(invalid(r#"{"a/b": {"\ud83d": "\ud83d\ud83d\ude00"}}"#), ["/a~1b", "/a~1b/\u{fffd}"]);
        // The text may contain characters for private use of its own.
        assert_eq!(invalid("[\"\u{e000}\", \"\\uE001\", \"\\ud800\"]"), ["/2"]);
        let read = parse(br#"["\u00fc \ud83d!"]"#).unwrap();
        assert_eq!(read.value, serde_json::json!(["\u{fc} \u{fffd}!"]));
        // Two names that differ only in half of a surrogate pair are one name.
        assert_eq!(parse(br#"{"\ud83d": 1, "\ud83e": 2}"#), parse(br#"{"\ud83d": 1, "\ud83d": 2}"#));
        assert!(parse(br#""\ud83""#).is_err() && parse(br#""\u""#).is_err() && parse(b"\\").is_err());
    }

    #[test]
    fn a_number_that_cannot_be_held_exactly_is_found() {
        for exact in [
            "123456789012345",
            "0.1",
            "-1.50",
            "18446744073709551615",
            "1e3",
            "1e22",
            "\"12345678901234567890\"",
        ] {
            assert_eq!(inexact_number(&format!("{{\"a\": [{exact}]}}")), None, "{exact}");
        }
        for inexact in [
            "89460000000000000017",
            "0.12345678901234567",
            "1e-400",
            "-9223372036854775809",
            "1.00000000000000000001",
            "-0",
            "-0.00e7",
        ] {
            assert_eq!(
                inexact_number(&format!("{{\"a\": [0, {inexact}]}}")).as_deref(),
                Some("/a/1"),
                "{inexact}"
            );
        }
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
            let read = parse(value.to_string().as_bytes()).unwrap();
            prop_assert_eq!((read.value, read.invalid_texts), (value, vec![]));
        }

        #[test]
        fn accepted_json_is_read_as_serde_json_reads_it(
            text in near_miss(values().prop_map(|value| value.to_string()))
        ) {
            match parse(text.as_bytes()) {
                Ok(read) => prop_assert_eq!(read.value, serde_json::from_str::<Value>(&text).unwrap()),
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
    fn nesting_is_limited_to_127_levels() {
        let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(nested(127).as_bytes()).is_ok());
        assert!(parse(nested(128).as_bytes()).is_err());
    }
}
