//! The lines of a batch: from a file, or the subscriptions with a product.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use domain::identifiers::{SubscriptionId, SubscriptionName, TenantId};
use domain::json;
use domain::stored::StoredSubscription;
use domain::subscription::{Status, Subscription};
use serde_json::value::{RawValue, to_raw_value};
use store::{Admin, NextPage, Patience, try_again};

use super::TOGETHER;
use super::outcome::Refusal;
use crate::CommandError;

/// Longest line of a file, in bytes: a comment and metadata, and the spaces between them.
const LONGEST: u64 = 64 << 10;

/// The members of a request to cancel, each as JSON.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// A line of a batch.
pub(super) struct BatchLine {
    /// The number of the line in its file, counted from 1.
    pub(super) number: Option<u64>,
    /// The subscription, as the line names it.
    pub(super) text: String,
    /// The subscription and the members of the request that the line itself has; or the fault of the line.
    pub(super) asked: Result<(SubscriptionName, Members), Refusal>,
    /// The subscription, once it is read.
    pub(super) stored: Option<StoredSubscription>,
}

/// The place where the lines of a batch come from.
pub(super) enum Source {
    /// A file.
    File(PathBuf),
    /// The subscriptions with this product offering that are not cancelled.
    Product(String),
}

/// Lines, some at a time.
pub(super) enum Reader {
    File { path: PathBuf, lines: BufReader<File>, number: u64 },
    Product { product: String, next: Option<NextPage>, is_first: bool, left: Vec<BatchLine> },
}

impl Source {
    /// Begins to read. A file is read twice, so it must be one that stays.
    pub(super) fn read(&self) -> Result<Reader, CommandError> {
        Ok(match self {
            Self::File(path) => {
                let file = File::open(path).map_err(|source| unreadable(path, source))?;
                if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                    return Err(CommandError::Usage("--from must be a file: it is read twice"));
                }
                Reader::File { path: path.clone(), lines: BufReader::new(file), number: 0 }
            }
            Self::Product(product) => {
                Reader::Product { product: product.clone(), next: None, is_first: true, left: Vec::new() }
            }
        })
    }

    /// Counts the lines, and the subscriptions of the tenant that are not cancelled.
    pub(super) async fn count(&self, store: &Admin, tenant: &TenantId) -> Result<(u64, u64), CommandError> {
        let (mut lines, mut all, mut next) = (0, 0, None);
        loop {
            let page = try_again(Patience::OfCommand, || store.subscriptions(tenant, next.clone())).await?;
            for stored in page.found.iter().filter(|stored| stored.document.status != Status::Cancelled) {
                all += 1;
                lines += u64::from(matches!(self, Self::Product(_)) && self.has(&stored.document));
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        if matches!(self, Self::File(_)) {
            let mut reader = self.read()?;
            loop {
                let some = reader.next(store, tenant).await?.len();
                if some == 0 {
                    break;
                }
                lines += u64::try_from(some).unwrap_or(u64::MAX);
            }
        }
        Ok((lines, all))
    }

    /// Returns true if the subscription is one to cancel, as far as its product tells.
    pub(super) fn has(&self, subscription: &Subscription) -> bool {
        match self {
            Self::File(_) => true,
            Self::Product(product) => subscription.product_id() == Some(product),
        }
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> CommandError {
    CommandError::Read { path: path.to_owned(), source }
}

impl Reader {
    /// Returns the next lines, at most 100; none at the end.
    pub(super) async fn next(
        &mut self,
        store: &Admin,
        tenant: &TenantId,
    ) -> Result<Vec<BatchLine>, CommandError> {
        match self {
            Self::File { path, lines, number } => {
                let mut read = Vec::new();
                while read.len() < TOGETHER {
                    let mut bytes = Vec::new();
                    let length = lines.by_ref().take(LONGEST + 1).read_until(b'\n', &mut bytes);
                    if length.map_err(|source| unreadable(path, source))? == 0 {
                        break;
                    }
                    *number += 1;
                    let is_cut = u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST);
                    if is_cut && bytes.last() != Some(&b'\n') {
                        lines.skip_until(b'\n').map_err(|source| unreadable(path, source))?;
                    }
                    read.extend(line(*number, &bytes, is_cut));
                }
                Ok(read)
            }
            Self::Product { product, next, is_first, left } => {
                while left.is_empty() && (*is_first || next.is_some()) {
                    let page =
                        try_again(Patience::OfCommand, || store.subscriptions(tenant, next.clone())).await?;
                    (*is_first, *next) = (false, page.next);
                    let documents = page.found.iter().map(|stored| &stored.document);
                    let wanted = documents.filter(|document| {
                        document.status != Status::Cancelled && document.product_id() == Some(product)
                    });
                    left.extend(wanted.map(|document| named(document.subscription_id)));
                    left.extend(page.unreadable.iter().map(|key| unreadable_item(key)));
                }
                let some = left.split_off(left.len().saturating_sub(TOGETHER));
                Ok(some)
            }
        }
    }
}

/// Returns the line of a subscription that no file names.
fn named(id: SubscriptionId) -> BatchLine {
    let asked = Ok((SubscriptionName::Id(id), Members::new()));
    BatchLine { number: None, text: id.to_string(), asked, stored: None }
}

/// Returns the line of an item that can't be read. Its product is not known.
fn unreadable_item(key: &str) -> BatchLine {
    let (_, id) = key.split_once('#').unwrap_or_default();
    let asked =
        Err(Refusal::new("unreadable_subscription", "the item is malformed, so its product is not known"));
    BatchLine { number: None, text: id.to_owned(), asked, stored: None }
}

/// Reads a line of a file: the name of a subscription, or JSON with the name and members of the request. `None` if it is blank.
fn line(number: u64, bytes: &[u8], is_cut: bool) -> Option<BatchLine> {
    let refused = |text: String, detail: &str| BatchLine {
        number: Some(number),
        text,
        asked: Err(Refusal::new("invalid_line", detail)),
        stored: None,
    };
    if is_cut {
        return Some(refused(String::new(), "the line is too long"));
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return Some(refused(String::new(), "the line is not UTF-8"));
    };
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return None;
    }
    let (name, members) = if text.starts_with('{') {
        // The library would take the last one of equal members.
        let read = json::parse(text.as_bytes()).is_ok().then(|| serde_json::from_str::<Members>(text).ok());
        let Some(mut members) = read.flatten() else {
            return Some(refused(String::new(), "the line is not a JSON object, or repeats a member"));
        };
        let mut text_of = |name: &str| members.remove(name).map(|value| serde_json::from_str(value.get()));
        let name: Option<String> = match (text_of("subscriptionId"), text_of("referenceId")) {
            (Some(id), None) => id.ok(),
            (None, Some(reference)) => reference.ok().map(|reference: String| format!("rid_{reference}")),
            _ => None,
        };
        let Some(name) = name else {
            return Some(refused(String::new(), "the line has no subscriptionId or referenceId, or both"));
        };
        (name, members)
    } else {
        (text.to_owned(), Members::new())
    };
    let Ok(subscription) = name.parse() else {
        return Some(refused(
            name,
            "the line names no subscription by its UUID, or by rid_ and its reference id",
        ));
    };
    Some(BatchLine { number: Some(number), text: name, asked: Ok((subscription, members)), stored: None })
}

/// Returns the JSON of a value, as a member of a request.
pub(super) fn member(value: &serde_json::Value) -> Box<RawValue> {
    // A JSON value always has a JSON text.
    to_raw_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "a81bc81b-dead-4e5d-abff-90865d1e13b1";

    fn read(text: &str) -> Option<Result<(String, Vec<String>), String>> {
        let BatchLine { text, asked, .. } = line(1, text.as_bytes(), false)?;
        let shown = |(_, members): (SubscriptionName, Members)| {
            (text, members.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
        };
        Some(asked.map(shown).map_err(|refusal| refusal.detail))
    }

    #[test]
    fn a_line_is_a_name_or_json_with_members_of_the_request() {
        assert!(read(" \r\n").is_none());
        let named = |text: &str, name: &str, members: &[&str]| {
            let members = members.iter().map(|member| (*member).to_owned()).collect();
            assert_eq!(read(text), Some(Ok((name.to_owned(), members))), "{text}");
        };
        named(&format!("\u{feff}{ID}\r\n"), ID, &[]);
        named("rid_crm-1001", "rid_crm-1001", &[]);
        named(&format!(r#"{{"subscriptionId": "{ID}"}}"#), ID, &[]);
        let line = r#"{"referenceId": "a,b", "reason": "FRAUD", "metadata": {"n": 1.00}}"#;
        named(line, "rid_a,b", &[r#"metadata={"n": 1.00}"#, r#"reason="FRAUD""#]);
    }

    #[test]
    fn a_faulty_line_is_refused() {
        for text in [
            "crm-1001",
            "rid_a/b",
            "{",
            "[]",
            "{}",
            r#"{"subscriptionId": 1}"#,
            r#"{"referenceId": ""}"#,
            r#"{"referenceId": "a", "referenceId": "b"}"#,
            &format!(r#"{{"subscriptionId": "{ID}", "referenceId": "a"}}"#),
            r#"{"subscriptionId": null, "referenceId": "a"}"#,
        ] {
            assert!(read(text).unwrap().is_err(), "{text}");
        }
        assert!(line(1, b"\xff", false).unwrap().asked.is_err());
        assert!(line(1, b"x", true).unwrap().asked.is_err());
    }
}
