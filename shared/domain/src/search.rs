//! Searching: the texts by which a tenant finds its subscriptions without their ids.

use crate::identifiers::ReferenceId;
use crate::subscription::Subscription;

/// A text to search for.
#[derive(Clone, PartialEq, Eq)]
pub enum Search {
    /// A phone number, in its [normal form](Search::msisdn).
    Msisdn(String),
    /// The id of a customer.
    CustomerId(String),
    /// A reference id.
    ReferenceId(ReferenceId),
}

impl Search {
    /// Searches for the subscription with this active phone number. Its spelling does not count: the plus sign, and any spaces,
    /// hyphens, dots, slashes and brackets, are left out. `None` if nothing is left.
    #[must_use]
    pub fn msisdn(text: &str) -> Option<Self> {
        normal(text).map(Self::Msisdn)
    }

    /// Searches for the subscriptions of the customer with this id. `None` if the id is empty.
    #[must_use]
    pub fn customer_id(text: &str) -> Option<Self> {
        Some(text).filter(|text| !text.is_empty()).map(|text| Self::CustomerId(text.to_owned()))
    }

    /// Returns true if this finds the subscription.
    #[must_use]
    pub fn finds(&self, subscription: &Subscription) -> bool {
        let SearchTerms { msisdn, customer_id } = SearchTerms::of(subscription);
        match self {
            Self::Msisdn(text) => msisdn.as_ref() == Some(text),
            Self::CustomerId(text) => customer_id.as_ref() == Some(text),
            // The pointer tells, also if another system has left the reference id out of the document.
            Self::ReferenceId(reference) => {
                subscription.reference_id.as_ref().is_none_or(|current| current == reference)
            }
        }
    }
}

/// The texts under which the indexes have a subscription.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SearchTerms {
    /// The active phone number, in its [normal form](Search::msisdn).
    pub msisdn: Option<String>,
    /// The id of the customer.
    pub customer_id: Option<String>,
}

impl SearchTerms {
    /// The texts of a document.
    #[must_use]
    pub fn of(subscription: &Subscription) -> Self {
        let nested = || subscription.customer.as_ref().and_then(|customer| customer.customer_id.as_ref());
        let is_there = |id: &&String| !id.is_empty();
        let customer_id =
            subscription.customer_id.as_ref().filter(is_there).or_else(|| nested().filter(is_there));
        Self { msisdn: subscription.msisdn.as_deref().and_then(normal), customer_id: customer_id.cloned() }
    }
}

/// Returns a phone number without its punctuation; `None` if nothing is left.
fn normal(number: &str) -> Option<String> {
    let is_punctuation = |character: char| character.is_whitespace() || "+-.()/".contains(character);
    let text: String = number.chars().filter(|character| !is_punctuation(*character)).collect();
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::stored;
    use crate::subscription::{Customer, Status};

    fn subscription(msisdn: Option<&str>, customer_id: Option<&str>, nested: Option<&str>) -> Subscription {
        let customer = Customer { customer_id: nested.map(str::to_owned), name: None };
        Subscription {
            msisdn: msisdn.map(str::to_owned),
            customer_id: customer_id.map(str::to_owned),
            customer: Some(customer),
            ..stored(Status::Activated).document
        }
    }

    #[test]
    fn a_number_is_found_however_it_is_spelled() {
        let stored = subscription(Some("+46701740605"), None, None);
        for spelling in
            ["+46701740605", "46701740605", " 46701740605", "+46 (70) 174-06.05", "4670/174 06 05"]
        {
            assert!(Search::msisdn(spelling).unwrap().finds(&stored), "{spelling}");
        }
        for other in ["+4670174060", "0701740605", "+467017406055"] {
            assert!(!Search::msisdn(other).unwrap().finds(&stored), "{other}");
        }
    }

    #[test]
    fn an_empty_text_finds_nothing() {
        assert!(["", "+", " - "].iter().all(|text| Search::msisdn(text).is_none()));
        assert!(Search::customer_id("").is_none());
        assert!(SearchTerms::of(&subscription(Some("+"), Some(""), None)) == SearchTerms::default());
    }

    #[test]
    fn a_customer_is_found_by_either_member_and_only_by_the_exact_id() {
        let find = |id: &str| Search::customer_id(id).unwrap();
        assert!(find("c-1").finds(&subscription(None, Some("c-1"), None)));
        assert!(find("c-1").finds(&subscription(None, None, Some("c-1"))));
        assert!(find("c-1").finds(&subscription(None, Some(""), Some("c-1"))));
        // The member of the subscription itself takes precedence.
        assert!(!find("c-2").finds(&subscription(None, Some("c-1"), Some("c-2"))));
        assert!(!find("C-1").finds(&subscription(None, Some("c-1"), None)));
    }
}
