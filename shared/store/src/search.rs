//! Searching: the indexes by which subscriptions are found without their ids.
//!
//! Each index is sparse and has only keys, so a write that changes neither number nor customer costs nothing in it. The attributes
//! hold hashes: they are short and of one length, whatever the text, and no list of numbers can be read from an index. Hashes may
//! collide, and an index may be a moment older than its table. So each subscription that is found is read and compared.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::identifiers::{SubscriptionId, TenantId, WriteId};
use domain::search::{Search, SearchTerms};
use domain::stored::StoredSubscription;
use dynamodb::{Item, refusal};
use sha2::{Digest, Sha256};

use super::items::{key_of, number, read_subscription, text};
use super::layout::{CUSTOMER_ID, MSISDN, PK, VERSION, subscription_key};
use super::scan::Page;
use super::tables::{CUSTOMER_INDEX, MSISDN_INDEX};
use super::{Admin, NextPage, Store, StoreError};

/// Length of a hash, in bytes.
const HASH: usize = 12;

/// A page of the subscriptions that an index has for a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// The subscriptions.
    pub ids: Vec<SubscriptionId>,
    /// The last subscription of the page, if there may be more.
    pub last: Option<SubscriptionId>,
}

/// A subscription that the indexes don't have as they should.
#[derive(Clone, PartialEq, Eq)]
pub struct Misindexed {
    /// The tenant.
    pub tenant: TenantId,
    /// The subscription.
    pub id: SubscriptionId,
    /// The version of the subscription.
    pub version: u64,
    /// The texts under which the indexes should have it.
    pub terms: SearchTerms,
}

impl Store {
    /// Reads a page of the subscriptions that an index has for this text, behind another one of them. The index may be a moment
    /// older than the table.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn hits(
        &self,
        tenant: &TenantId,
        search: &Search,
        after: Option<SubscriptionId>,
        most: u16,
    ) -> Result<Hits, StoreError> {
        let (index, attribute, value) = match search {
            Search::Msisdn(number) => (MSISDN_INDEX, MSISDN, search_key(tenant, number)),
            Search::CustomerId(id) => (CUSTOMER_INDEX, CUSTOMER_ID, search_key(tenant, id)),
            Search::ReferenceId(reference) => {
                let id = self.referenced(tenant, reference).await?;
                return Ok(Hits { ids: id.into_iter().collect(), last: None });
            }
        };
        let start = |after| {
            let key = text(subscription_key(tenant, after));
            Item::from([(PK.to_owned(), key), (attribute.to_owned(), value.clone())])
        };
        let request = self.client.query().table_name(&self.tables.subscriptions).index_name(index);
        let request = request
            .key_condition_expression(format!("{attribute} = :text"))
            .expression_attribute_values(":text", value.clone())
            .set_exclusive_start_key(after.map(start))
            .limit(most.into());
        let output = request.send().await.map_err(StoreError::from_sdk)?;
        let id = |item: &Item| key_of(item).split_once('#').and_then(|(_, id)| id.parse().ok());
        Ok(Hits {
            ids: output.items().iter().filter_map(id).collect(),
            last: output.last_evaluated_key.as_ref().and_then(id),
        })
    }

    /// Reads those of these subscriptions, at most 100, that the search finds, as they are now.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn found(
        &self,
        tenant: &TenantId,
        search: &Search,
        ids: &[SubscriptionId],
    ) -> Result<Page<StoredSubscription>, StoreError> {
        if ids.is_empty() {
            return Ok(Page { found: Vec::new(), unreadable: Vec::new(), next: None });
        }
        let keys: Vec<_> = ids.iter().map(|id| subscription_key(tenant, *id)).collect();
        let mut items = self.subscription_items(keys.iter().cloned().collect()).await?;
        let found = keys.iter().filter_map(|key| items.remove(key)).collect();
        let page = Page { found, unreadable: Vec::new(), next: None };
        let mut page = page.read(|item| read_subscription(item).ok());
        page.found.retain(|stored| search.finds(&stored.document));
        Ok(page)
    }
}

impl Admin {
    /// Reads a page of the subscriptions of a tenant, or of all, that the indexes don't have as they should: an earlier version of
    /// this service or another system wrote them.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn misindexed(
        &self,
        tenant: Option<&TenantId>,
        page: Option<NextPage>,
    ) -> Result<Page<Misindexed>, StoreError> {
        let page = self.subscription_pages(tenant, page).await?.read(misindexed);
        let Page { found, unreadable, next } = page;
        Ok(Page { found: found.into_iter().flatten().collect(), unreadable, next })
    }

    /// Reads some of all subscriptions, at a place that `anywhere` decides: at most `most`. Returns their number, and those that the
    /// indexes don't have as they should.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn sample_misindexed(
        &self,
        anywhere: WriteId,
        most: u16,
    ) -> Result<(usize, Vec<Misindexed>), StoreError> {
        let sample = self.sample_items(anywhere, most).await?.read(misindexed).found;
        Ok((sample.len(), sample.into_iter().flatten().collect()))
    }

    /// Has the indexes hold a subscription as they should. That is no change of the subscription: its version stays, and its history
    /// gets no entry. Returns false if the subscription has been changed meanwhile; then nothing is done.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn index(&self, misindexed: &Misindexed) -> Result<bool, StoreError> {
        let Misindexed { tenant, id, version, terms } = misindexed;
        let (mut sets, mut removes) = (Vec::new(), Vec::new());
        let mut request = self.client.update_item().table_name(&self.tables.subscriptions);
        for (name, value) in attributes(tenant, terms) {
            match value {
                Some(value) => {
                    sets.push(format!("{name} = :{name}"));
                    request = request.expression_attribute_values(format!(":{name}"), value);
                }
                None => removes.push(name),
            }
        }
        let clause = |word: &str, parts: String| match parts.as_str() {
            "" => String::new(),
            parts => format!("{word} {parts}"),
        };
        let update = [clause("SET", sets.join(", ")), clause("REMOVE", removes.join(", "))].join(" ");
        let request = request
            .key(PK, text(subscription_key(tenant, *id)))
            .update_expression(update)
            .condition_expression(format!("{VERSION} = :{VERSION}"))
            .expression_attribute_values(format!(":{VERSION}"), number(version));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match refusal(error)? {
                UpdateItemError::ConditionalCheckFailedException(_) => Ok(false),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }
}

/// Compares the attributes of an item with its document. The inner `None` is a subscription that the indexes have as they should.
/// The outer `None` is an item that can't be read.
fn misindexed(item: Item) -> Option<Option<Misindexed>> {
    let tenant: TenantId = key_of(&item).split_once('#')?.0.parse().ok()?;
    let present = [MSISDN, CUSTOMER_ID].map(|name| item.get(name).cloned());
    let stored = read_subscription(item).ok()?;
    let terms = SearchTerms::of(&stored.document);
    let wanted = attributes(&tenant, &terms).map(|(_, value)| value);
    let (id, version) = (stored.document.subscription_id, stored.revision.version);
    Some((present != wanted).then_some(Misindexed { tenant, id, version, terms }))
}

/// Returns the attributes by which the indexes hold a subscription. An index does not hold an item without its attribute.
pub(super) fn attributes(
    tenant: &TenantId,
    terms: &SearchTerms,
) -> [(&'static str, Option<AttributeValue>); 2] {
    let SearchTerms { msisdn, customer_id } = terms;
    [(MSISDN, msisdn), (CUSTOMER_ID, customer_id)]
        .map(|(name, text)| (name, text.as_ref().map(|text| search_key(tenant, text))))
}

/// Returns the key of a text in an index: a hash of it and its tenant.
fn search_key(tenant: &TenantId, text: &str) -> AttributeValue {
    let hash = Sha256::digest(format!("{tenant}#{text}"));
    AttributeValue::B(Blob::new(hash.into_iter().take(HASH).collect::<Vec<u8>>()))
}
