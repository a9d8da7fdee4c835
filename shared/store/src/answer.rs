//! Answers as they are recorded under an idempotency key.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use dynamodb::Item;

use super::StoreError;
use super::compression::{compress_fast, decompress};
use super::items::{number, text};
use super::layout::{BODY, HEADERS, STATUS};

/// An HTTP answer that can be given again, byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that belong to the answer rather than to the exchange, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// A body may be personal, so an answer never prints itself whole.
impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl idempotency::Answer for Answer {
    fn to_item(&self) -> Result<Item, StoreError> {
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        Ok(Item::from([
            (STATUS.to_owned(), number(self.status)),
            (HEADERS.to_owned(), AttributeValue::M(headers)),
            (BODY.to_owned(), AttributeValue::B(Blob::new(compress_fast(self.body.as_bytes())?))),
        ]))
    }

    fn from_item(item: &Item) -> Option<Self> {
        let headers = item.get(HEADERS)?.as_m().ok()?.iter();
        let headers = headers.map(|(name, value)| Some((name.clone(), value.as_s().ok()?.clone())));
        let body = match item.get(BODY)? {
            AttributeValue::B(bytes) => String::from_utf8(decompress(bytes.as_ref())?).ok()?,
            // Earlier versions wrote the body as text.
            AttributeValue::S(body) => body.clone(),
            _ => return None,
        };
        Some(Self {
            status: item.get(STATUS)?.as_n().ok()?.parse().ok()?,
            headers: headers.collect::<Option<_>>()?,
            body,
        })
    }
}
