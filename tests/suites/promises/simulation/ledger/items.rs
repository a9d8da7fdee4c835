//! Items as the database returns them, and the parts that the rules are about.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use chrono::{DateTime, Utc};
use serde_json::Value;
use store::compression::decompress;

/// Returns the document of an item, decompressed.
pub(super) fn document(item: &Value) -> Value {
    let mut stored = item["document"].clone();
    let compressed = stored["M"].as_object_mut().unwrap().remove("compressed").unwrap();
    let mut document: Value = serde_json::from_slice(&decompressed(&compressed)).unwrap();
    document.as_object_mut().unwrap().extend(plain(&stored).as_object().unwrap().clone());
    document
}

pub(super) fn decompressed(attribute: &Value) -> Vec<u8> {
    let bytes = attribute["B"].as_str().unwrap_or_else(|| panic!("not bytes: {attribute}"));
    decompress(&BASE64_STANDARD.decode(bytes).unwrap()).unwrap()
}

/// Converts an attribute to JSON.
fn plain(attribute: &Value) -> Value {
    let (kind, value) = attribute.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => value.clone(),
        "M" => value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        _ => panic!("unexpected attribute in a document: {attribute}"),
    }
}

/// Returns the part of an item's cancellation that callers see.
pub(super) fn seen(item: &Value) -> Value {
    let pending = &item["document"]["M"]["pendingStatus"]["M"];
    serde_json::json!({"scheduledAt": pending["scheduledAt"]["S"]})
}

pub(super) fn etag(item: &Value) -> String {
    format!("\"{}-{}\"", number(&item["version"]), text(&item["writeId"]))
}

pub(super) fn updated_at(item: &Value) -> Option<DateTime<Utc>> {
    let attribute = &item["document"]["M"]["updatedAt"];
    attribute.is_object().then(|| instant(attribute))
}

pub(super) fn status(item: &Value) -> &str {
    text(&item["document"]["M"]["status"])
}

pub(super) fn text(attribute: &Value) -> &str {
    attribute["S"].as_str().unwrap_or_else(|| panic!("not a text: {attribute}"))
}

pub(super) fn number(attribute: &Value) -> u64 {
    attribute["N"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("not a number: {attribute}"))
}

pub(super) fn instant(attribute: &Value) -> DateTime<Utc> {
    text(attribute).parse().unwrap()
}
