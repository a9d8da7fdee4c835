//! How a document is stored: the members that change as attributes, so that a write can name one and leave the others
//! alone, and all others as one that is compressed.
//!
//! A document whose members are all attributes is as good: other systems may write one, or add to one. A member that is
//! an attribute counts, whatever is compressed.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_dynamo::{AttributeValue as Stored, Item, from_attribute_value, to_attribute_value, to_item};
use serde_json::{Map, Value};

use super::StoreError;
use super::compression::{compress, decompress};
use super::items::binary;
use crate::import::StoredDocument;

/// The members that a write other than an import's sets or removes.
const CHANGING: [&str; 6] =
    ["status", "updatedAt", "cancelledAt", "pendingStatus", "pendingMsisdn", "pendingProductOffering"];

/// The most that DynamoDB stores as one item, in bytes. More is not compressed, so that it is refused: what is stored
/// as attributes by others must not be more than what is stored here, nor an answer more than Lambda gives.
const LARGEST: usize = 400 << 10;

/// The attributes `document` and, if anything in it is compressed, `details`.
pub(super) fn document_attributes(
    document: &StoredDocument,
) -> Result<(AttributeValue, Option<AttributeValue>), StoreError> {
    let mut attributes = document.clone();
    let mut details = Map::new();
    for (name, value) in document.iter().filter(|(name, _)| !CHANGING.contains(&name.as_str())) {
        if let Some(json) = exactly(value) {
            attributes.remove(name);
            details.insert(name.clone(), json);
        }
    }
    if details.is_empty() {
        return Ok((Stored::M(attributes).into(), None));
    }
    let text = Value::Object(details).to_string();
    if text.len() > LARGEST {
        return Ok((Stored::M(document.clone()).into(), None));
    }
    Ok((Stored::M(attributes).into(), Some(binary(&compress(text.as_bytes())?))))
}

/// A value as JSON, if JSON can say all of it: not a set, nor the twentieth digit of a number.
fn exactly(value: &Stored) -> Option<Value> {
    let json: Value = from_attribute_value(value.clone()).ok()?;
    let again: Stored = to_attribute_value(&json).ok()?;
    (again == *value).then_some(json)
}

/// Puts the document of a subscription's item together, and forgets the `details`. `None` if it is none.
pub(super) fn assemble(item: &mut Item) -> Option<&StoredDocument> {
    let details = item.remove("details");
    let Some(Stored::M(document)) = item.get_mut("document") else { return None };
    match details {
        None => {}
        Some(Stored::B(bytes)) => {
            let details: Value = serde_json::from_slice(&decompress(&bytes)?).ok()?;
            for (name, value) in to_item::<_, Item>(details).ok()?.into_inner() {
                document.entry(name).or_insert(value);
            }
        }
        Some(_) => return None,
    }
    Some(document)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::{hash_map, vec};
    use proptest::prelude::*;

    use super::*;

    /// Stores a document, and reads it again.
    fn again(document: &StoredDocument, added: StoredDocument) -> Option<StoredDocument> {
        let (attributes, details) = document_attributes(document).unwrap();
        let Stored::M(mut attributes) = attributes.into() else { return None };
        attributes.extend(added);
        let details = details.map(|details| ("details".to_owned(), details.into()));
        let mut item = HashMap::from([("document".to_owned(), Stored::M(attributes))]);
        item.extend(details);
        let mut item = Item::from(item);
        assemble(&mut item)?;
        assert_eq!(item.len(), 1);
        match item.remove("document")? {
            Stored::M(document) => Some(document),
            _ => None,
        }
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

    fn documents() -> impl Strategy<Value = StoredDocument> {
        hash_map(
            prop_oneof!["[a-z]{1,3}", prop::sample::select(&CHANGING[..]).prop_map(str::to_owned)],
            value(),
            0..8,
        )
    }

    proptest! {
        #[test]
        fn a_document_comes_back_to_the_digit(document in documents()) {
            prop_assert_eq!(again(&document, HashMap::new()), Some(document));
        }

        #[test]
        fn what_others_have_added_counts(document in documents(), added in documents()) {
            let mut both = document.clone();
            both.extend(added.clone());
            prop_assert_eq!(again(&document, added), Some(both));
        }
    }

    #[test]
    fn what_changes_is_an_attribute() {
        let document: StoredDocument = CHANGING
            .iter()
            .chain(&["display"])
            .map(|name| ((*name).to_owned(), Stored::S("x".to_owned())))
            .collect();
        let (attributes, _) = document_attributes(&document).unwrap();
        let names = attributes.as_m().unwrap();
        assert!(CHANGING.iter().all(|name| names.contains_key(*name)) && names.len() == CHANGING.len());
    }

    #[test]
    fn more_than_an_item_holds_is_left_to_be_refused() {
        let of = |length| StoredDocument::from([("display".to_owned(), Stored::S("x".repeat(length)))]);
        let of_json = LARGEST - r#"{"display":""}"#.len();
        assert!(document_attributes(&of(of_json)).unwrap().1.is_some());
        let (attributes, details) = document_attributes(&of(of_json + 1)).unwrap();
        assert!(details.is_none() && attributes.as_m().unwrap().contains_key("display"));
    }

    #[test]
    fn details_that_are_something_else_are_no_document() {
        for details in [
            Stored::S(String::new()),
            Stored::B(Vec::new()),
            Stored::B(compress(b"{").unwrap()),
            Stored::B(compress(b"[]").unwrap()),
        ] {
            let mut item = Item::from(HashMap::from([
                ("document".to_owned(), Stored::M(HashMap::new())),
                ("details".to_owned(), details),
            ]));
            assert_eq!(assemble(&mut item), None);
        }
    }
}
