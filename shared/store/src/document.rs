//! The stored form of a document: a map. Members that change are attributes of their own, so that a write can name one and leave
//! the others alone. All other members are compressed together, as one more member.
//!
//! A document whose members are all attributes is valid too. So other systems may write a whole document, or add members: an
//! attribute takes precedence over the compressed member of the same name. They can't change or remove a compressed member. They
//! also write a new `version`, on the condition of the one they read, and leave `pendingStatus` as it was. A cancellation is not
//! executed if the document does not name it, or names another date.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, hash_map};
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::document::{StoredDocument, StoredValue};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, IntoDeserializer, MapAccess,
    Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_dynamo::{
    AttributeValue as Stored, Item, from_attribute_value, from_item, to_attribute_value, to_item,
};
use serde_json::{Map, Value};

use super::StoreError;
use super::compression::{compress, decompress};
use super::layout::{CHANGING, COMPRESSED, DOCUMENT};

/// Largest item that DynamoDB stores, in bytes. A larger text is not compressed, so that DynamoDB refuses it: decompressed, it
/// could exceed the largest answer of Lambda.
const LARGEST: usize = 400 << 10;
/// Deepest nesting of a value, in levels. DynamoDB allows 32 levels, of which the document is one.
const DEEPEST: u32 = 30;

/// The members of a document, as attributes.
type Attributes = HashMap<String, Stored>;

/// Converts a document into an attribute.
pub(super) fn document_attribute(document: &StoredDocument) -> Result<AttributeValue, StoreError> {
    compressed(&attributes(document))
}

/// Converts a value into an attribute.
pub(super) fn stored_attribute(value: &StoredValue) -> AttributeValue {
    attribute(value).into()
}

fn attributes(document: &StoredDocument) -> Attributes {
    document.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn attribute(value: &StoredValue) -> Stored {
    match value {
        StoredValue::Null => Stored::Null(true),
        StoredValue::Bool(value) => Stored::Bool(*value),
        StoredValue::Number(number) => Stored::N(number.clone()),
        StoredValue::Text(text) => Stored::S(text.clone()),
        StoredValue::List(values) => Stored::L(values.iter().map(attribute).collect()),
        StoredValue::Map(members) => Stored::M(attributes(members)),
        StoredValue::Bytes(bytes) => Stored::B(bytes.clone()),
        StoredValue::Texts(texts) => Stored::Ss(texts.clone()),
        StoredValue::Numbers(numbers) => Stored::Ns(numbers.clone()),
        StoredValue::ByteStrings(strings) => Stored::Bs(strings.clone()),
    }
}

/// Converts attributes into a document.
pub(super) fn stored_document(attributes: &Attributes) -> StoredDocument {
    attributes.iter().map(|(name, value)| (name.clone(), stored_value(value))).collect()
}

/// Converts an attribute into a value.
pub(super) fn stored_value(attribute: &Stored) -> StoredValue {
    match attribute {
        Stored::Null(_) => StoredValue::Null,
        Stored::Bool(value) => StoredValue::Bool(*value),
        Stored::N(number) => StoredValue::Number(number.clone()),
        Stored::S(text) => StoredValue::Text(text.clone()),
        Stored::L(values) => StoredValue::List(values.iter().map(stored_value).collect()),
        Stored::M(members) => StoredValue::Map(stored_document(members)),
        Stored::B(bytes) => StoredValue::Bytes(bytes.clone()),
        Stored::Ss(texts) => StoredValue::Texts(texts.clone()),
        Stored::Ns(numbers) => StoredValue::Numbers(numbers.clone()),
        Stored::Bs(strings) => StoredValue::ByteStrings(strings.clone()),
    }
}

/// Converts the members of a document into its attribute. Members that change stay attributes. Of the others, those that JSON can
/// express exactly are compressed.
fn compressed(document: &Attributes) -> Result<AttributeValue, StoreError> {
    let mut attributes = document.clone();
    let mut rest = Map::new();
    for (name, value) in document.iter().filter(|(name, _)| !CHANGING.contains(&name.as_str())) {
        if let Some(json) = exactly(value) {
            attributes.remove(name);
            rest.insert(name.clone(), json);
        }
    }
    let text = Value::Object(rest).to_string();
    // An attribute that JSON can't express, such as a set, may have this name.
    if text == "{}" || text.len() > LARGEST || attributes.contains_key(COMPRESSED) {
        return Ok(Stored::M(document.clone()).into());
    }
    attributes.insert(COMPRESSED.to_owned(), Stored::B(compress(text.as_bytes())?));
    Ok(Stored::M(attributes).into())
}

/// Converts a value into JSON, if JSON can express it exactly. It can't express a set, or the twentieth digit of a number. A value
/// that DynamoDB would refuse is not converted either, so that DynamoDB refuses it.
fn exactly(value: &Stored) -> Option<Value> {
    let json: Value = from_attribute_value(value.clone()).ok()?;
    let again: Stored = to_attribute_value(&json).ok()?;
    (again == *value && is_storable(value, DEEPEST)).then_some(json)
}

fn is_storable(value: &Stored, levels: u32) -> bool {
    match value {
        Stored::N(number) => {
            number.parse::<f64>().is_ok_and(|number| number == 0.0 || (1e-130..1e126).contains(&number.abs()))
        }
        Stored::L(list) => levels > 0 && list.iter().all(|value| is_storable(value, levels - 1)),
        Stored::M(map) => {
            levels > 0 && map.iter().all(|(name, value)| !name.is_empty() && is_storable(value, levels - 1))
        }
        _ => true,
    }
}

/// Reads the document of a subscription's item. `None` if it is malformed.
///
/// Attributes and compressed members are read one after another, as if they were members of one object.
pub(super) fn read_document<T: DeserializeOwned>(mut attributes: Attributes) -> Option<T> {
    match attributes.remove(COMPRESSED) {
        Some(Stored::B(bytes)) => {
            let text = decompress(&bytes)?;
            let mut compressed = serde_json::Deserializer::from_slice(&text);
            let document = T::deserialize(Together { attributes, compressed: &mut compressed }).ok()?;
            compressed.end().ok()?;
            Some(document)
        }
        other => {
            attributes.extend(other.map(|value| (COMPRESSED.to_owned(), value)));
            from_item(Item::from(attributes)).ok()
        }
    }
}

/// The members of a document: attributes, and an object in JSON with the others.
struct Together<D> {
    attributes: Attributes,
    compressed: D,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Together<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.compressed.deserialize_map(TogetherVisitor { attributes: self.attributes, visitor })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct TogetherVisitor<V> {
    attributes: Attributes,
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for TogetherVisitor<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(formatter)
    }

    fn visit_map<A: MapAccess<'de>>(self, compressed: A) -> Result<V::Value, A::Error> {
        let names = self.attributes.keys().cloned().collect();
        let attributes = self.attributes.into_iter();
        self.visitor.visit_map(TogetherAccess { names, attributes, value: None, compressed })
    }
}

/// The name of a member, borrowed from the text if it has no escapes.
#[derive(Deserialize)]
struct Name<'n>(#[serde(borrow)] Cow<'n, str>);

struct TogetherAccess<A> {
    /// The names of all attributes, which take precedence.
    names: HashSet<String>,
    /// The attributes that were not read yet.
    attributes: hash_map::IntoIter<String, Stored>,
    /// The value of the attribute whose name was read.
    value: Option<Stored>,
    compressed: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for TogetherAccess<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        if let Some((name, value)) = self.attributes.next() {
            self.value = Some(value);
            return seed.deserialize(name.into_deserializer()).map(Some);
        }
        while let Some(Name(name)) = self.compressed.next_key()? {
            if !self.names.contains(name.as_ref()) {
                return seed.deserialize(name.into_deserializer()).map(Some);
            }
            self.compressed.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        match self.value.take() {
            Some(value) => {
                let attribute = serde_dynamo::Deserializer::from_attribute_value(value);
                seed.deserialize(attribute).map_err(A::Error::custom)
            }
            None => self.compressed.next_value_seed(seed),
        }
    }
}

/// Assembles the document of a subscription's item: decompresses its members into attributes. `None` if the document is missing or
/// malformed.
pub(super) fn assemble(item: &mut Item) -> Option<&Attributes> {
    let Some(Stored::M(document)) = item.get_mut(DOCUMENT) else { return None };
    if let Some(Stored::B(bytes)) = document.get(COMPRESSED) {
        let rest: Value = serde_json::from_slice(&decompress(bytes)?).ok()?;
        document.remove(COMPRESSED);
        for (name, value) in to_item::<_, Item>(rest).ok()?.into_inner() {
            document.entry(name).or_insert(value);
        }
    }
    Some(document)
}

#[cfg(test)]
mod tests {
    use proptest::collection::{hash_map, vec};
    use proptest::prelude::*;

    use super::*;

    /// Stores a document, and reads it again.
    fn again(document: &Attributes, added: Attributes) -> Option<Attributes> {
        let Stored::M(mut attributes) = compressed(document).unwrap().into() else { return None };
        attributes.extend(added);
        let mut item = Item::from(HashMap::from([(DOCUMENT.to_owned(), Stored::M(attributes))]));
        assemble(&mut item).cloned()
    }

    fn value() -> impl Strategy<Value = Stored> {
        let leaf = prop_oneof![
            ".*".prop_map(Stored::S),
            any::<f64>().prop_map(|number| Stored::N(number.to_string())),
            "-?[0-9]{1,38}(\\.[0-9]{1,20})?".prop_map(Stored::N),
            any::<bool>().prop_map(Stored::Bool),
            Just(Stored::Null(true)),
            any::<Vec<u8>>().prop_map(Stored::B),
            vec(".*", 1..3).prop_map(Stored::Ss),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Stored::L),
                hash_map(".*", inner, 0..4).prop_map(Stored::M),
            ]
        })
    }

    fn documents() -> impl Strategy<Value = Attributes> {
        hash_map(
            prop_oneof!["[a-z]{1,3}", prop::sample::select(&CHANGING[..]).prop_map(str::to_owned)],
            value(),
            0..8,
        )
    }

    proptest! {
        #[test]
        fn a_stored_document_is_read_back_exactly(document in documents()) {
            prop_assert_eq!(again(&document, HashMap::new()), Some(document));
        }

        #[test]
        fn an_attribute_survives_conversion_and_back(value in value()) {
            prop_assert_eq!(attribute(&stored_value(&value)), value);
        }

        #[test]
        fn attributes_added_by_others_override_the_compressed_ones(document in documents(), added in documents()) {
            let mut both = document.clone();
            both.extend(added.clone());
            prop_assert_eq!(again(&document, added), Some(both));
        }
    }

    proptest! {
        #[test]
        fn a_document_is_read_like_its_assembled_attributes(document in documents(), added in documents()) {
            let mut attributes = written(&document);
            attributes.extend(added);
            let mut item = Item::from(HashMap::from([(DOCUMENT.to_owned(), Stored::M(attributes.clone()))]));
            let assembled = assemble(&mut item).unwrap().clone();
            let assembled: Option<Value> = from_attribute_value(Stored::M(assembled)).ok();
            prop_assert_eq!(read_document(attributes), assembled);
        }
    }

    #[test]
    fn members_that_change_are_stored_as_attributes() {
        let document: Attributes = CHANGING
            .iter()
            .chain(&["display"])
            .map(|name| ((*name).to_owned(), Stored::S("x".to_owned())))
            .collect();
        let names = written(&document);
        assert!(CHANGING.iter().all(|name| names.contains_key(*name)));
        assert_eq!(names.len(), CHANGING.len() + 1);
    }

    fn written(document: &Attributes) -> Attributes {
        let Stored::M(attributes) = compressed(document).unwrap().into() else { panic!("no map") };
        attributes
    }

    #[test]
    fn a_value_that_the_database_refuses_is_left_uncompressed() {
        let is_left = |value: Stored| {
            written(&Attributes::from([("display".to_owned(), value)])).contains_key("display")
        };
        let of_length = |length| Stored::S("x".repeat(length));
        let json = LARGEST - r#"{"display":""}"#.len();
        assert!(!is_left(of_length(json)) && is_left(of_length(json + 1)));

        let nested = |levels| (0..levels).fold(Stored::Bool(true), |inner, _| Stored::L(vec![inner]));
        assert!(!is_left(nested(DEEPEST)) && is_left(nested(DEEPEST + 1)));

        let number = |number: f64| to_attribute_value(number).unwrap();
        assert!(!is_left(number(9e125)) && is_left(number(1e126)));
        assert!(!is_left(number(-1e-130)) && is_left(number(9e-131)));
        let named = |name: &str| Stored::M(HashMap::from([(name.to_owned(), Stored::Bool(true))]));
        assert!(!is_left(named("x")) && is_left(named("")));
    }

    #[test]
    fn a_document_written_whole_by_others_is_read_as_it_is() {
        let document = Attributes::from([("display".to_owned(), Stored::S("x".to_owned()))]);
        let mut item = Item::from(HashMap::from([(DOCUMENT.to_owned(), Stored::M(document.clone()))]));
        assert_eq!(assemble(&mut item), Some(&document));
    }

    #[test]
    fn a_compressed_value_that_is_not_an_object_is_not_a_document() {
        for bytes in [Vec::new(), compress(b"{").unwrap(), compress(b"[]").unwrap()] {
            let document = HashMap::from([(COMPRESSED.to_owned(), Stored::B(bytes))]);
            let mut item = Item::from(HashMap::from([(DOCUMENT.to_owned(), Stored::M(document))]));
            assert_eq!(assemble(&mut item), None);
        }
    }

    #[test]
    fn a_document_may_have_a_member_called_compressed() {
        for value in [Stored::S("x".to_owned()), Stored::Ss(vec!["x".to_owned()])] {
            let document = Attributes::from([
                (COMPRESSED.to_owned(), value),
                ("display".to_owned(), Stored::S("x".to_owned())),
            ]);
            assert_eq!(again(&document, HashMap::new()), Some(document));
        }
    }
}
