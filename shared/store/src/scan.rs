//! Reading subscriptions in bulk, page by page, for exports and reports. No function does this: the cost grows with the number of
//! subscriptions.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};
use domain::cancellation::{CancellationState, Reason};
use domain::execute::DueCancellation;
use domain::identifiers::{SubscriptionId, TenantId, WriteId};
use domain::standing::Standing;
use domain::stored::StoredSubscription;
use dynamodb::Item;

use super::items::{key_of, read_entry_details, read_reported, read_subscription, text};
use super::layout::{
    CANCELLATION, PK, STATUS, STATUS_IN_EXPRESSIONS, SUBSCRIPTION_ID, claims, subscription_key, tenant_prefix,
};
use super::{Admin, NextPage, StoreError};

/// Returns the filter for subscriptions, including malformed ones. It leaves out the pointers from reference ids.
fn subscriptions() -> String {
    format!("attribute_not_exists({SUBSCRIPTION_ID})")
}

/// A page of results.
pub struct Page<T> {
    /// The results.
    pub found: Vec<T>,
    /// The keys of malformed items.
    pub unreadable: Vec<String>,
    /// The beginning of the next page, if there is one.
    pub next: Option<NextPage>,
}

/// Details of an entry that are not in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryDetails {
    /// The reason of the cancellation; `None` if it was imported.
    pub reason: Option<Reason>,
    /// The date that the document names; `None` if it has none.
    pub date: Option<NaiveDate>,
    /// The standing of the cancellation; `None` if the item is malformed.
    pub standing: Option<Standing>,
}

/// The latest cancellation of a subscription, for counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The tenant.
    pub tenant: TenantId,
    /// The reason of the cancellation; `None` if it was imported.
    pub reason: Option<Reason>,
    /// The date that callers were told; `None` for a cancellation that an earlier version of this service wrote.
    pub scheduled_at: Option<NaiveDate>,
    /// The instant at which it takes effect, or did.
    pub effective_at: DateTime<Utc>,
    /// The state of the cancellation.
    pub state: CancellationState,
}

impl Page<Item> {
    pub(super) fn read<T>(self, read: fn(Item) -> Option<T>) -> Page<T> {
        let mut page = Page { found: Vec::new(), unreadable: self.unreadable, next: self.next };
        for item in self.found {
            let key = key_of(&item).to_owned();
            match read(item) {
                Some(value) => page.found.push(value),
                None => page.unreadable.push(key),
            }
        }
        page
    }
}

fn of_tenant(item: Item) -> Option<(TenantId, StoredSubscription)> {
    let (tenant, _) = key_of(&item).split_once('#')?;
    Some((tenant.parse().ok()?, read_subscription(item).ok()?))
}

impl Admin {
    /// Reads a page of a tenant's subscriptions, in no particular order.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn subscriptions(
        &self,
        tenant: &TenantId,
        page: Option<NextPage>,
    ) -> Result<Page<StoredSubscription>, StoreError> {
        let items = self.subscription_pages(Some(tenant), page).await?;
        Ok(items.read(|item| read_subscription(item).ok()))
    }

    /// Returns the place of the page that begins behind a subscription.
    #[must_use]
    pub fn page_after(&self, tenant: &TenantId, id: SubscriptionId) -> NextPage {
        NextPage(Item::from([(PK.to_owned(), text(subscription_key(tenant, id)))]))
    }

    pub(super) async fn subscription_pages(
        &self,
        tenant: Option<&TenantId>,
        page: Option<NextPage>,
    ) -> Result<Page<Item>, StoreError> {
        self.scan_subscriptions(&subscriptions(), None, tenant, page).await
    }

    /// Reads a page of the subscriptions of a tenant or of all, each with its tenant.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn all_subscriptions(
        &self,
        tenant: Option<&TenantId>,
        page: Option<NextPage>,
    ) -> Result<Page<(TenantId, StoredSubscription)>, StoreError> {
        Ok(self.subscription_pages(tenant, page).await?.read(of_tenant))
    }

    /// Reads some subscriptions, each with its tenant, at a place that `anywhere` decides: at most `most`.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn sample(
        &self,
        anywhere: WriteId,
        most: u16,
    ) -> Result<Page<(TenantId, StoredSubscription)>, StoreError> {
        Ok(self.sample_items(anywhere, most).await?.read(of_tenant))
    }

    pub(super) async fn sample_items(&self, anywhere: WriteId, most: u16) -> Result<Page<Item>, StoreError> {
        // A scan follows the hashes of the keys, so it can begin at any text. At the end it goes on from the beginning.
        let mut place = Some(Item::from([(PK.to_owned(), text(anywhere))]));
        let scan =
            self.client.scan().table_name(&self.tables.subscriptions).filter_expression(subscriptions());
        let (mut keys, mut found, mut ends) = (HashSet::new(), Vec::new(), 0);
        while found.len() < most.into() && ends < 2 {
            let page = scan.clone().limit(100).set_exclusive_start_key(place).send().await;
            let page = page.map_err(StoreError::from_sdk)?;
            found.extend(
                page.items
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|item| keys.insert(key_of(item).to_owned())),
            );
            place = page.last_evaluated_key;
            ends += u32::from(place.is_none());
        }
        found.truncate(most.into());
        Ok(Page { found, unreadable: Vec::new(), next: None })
    }

    /// Reads a page of the subscriptions whose parts contradict each other, of a tenant or of all.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn contradictory(
        &self,
        tenant: Option<&TenantId>,
        page: Option<NextPage>,
    ) -> Result<Page<(TenantId, StoredSubscription)>, StoreError> {
        let Page { found, unreadable, next } = self.all_subscriptions(tenant, page).await?;
        let is_contradictory = |(_, stored): &(TenantId, StoredSubscription)| {
            matches!(stored.standing(), Standing::Contradictory(_))
        };
        Ok(Page { found: found.into_iter().filter(is_contradictory).collect(), unreadable, next })
    }

    /// Reads a page of the latest cancellations of subscriptions, of a tenant or of all: pending, executed or withdrawn.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn cancellations(
        &self,
        tenant: Option<&TenantId>,
        page: Option<NextPage>,
    ) -> Result<Page<Reported>, StoreError> {
        let items = self
            .scan_subscriptions(&format!("attribute_exists({CANCELLATION})"), Some(&claims()), tenant, page)
            .await?;
        let Page { found, unreadable, next } = items.read(read_reported);
        Ok(Page { found: found.into_iter().flatten().collect(), unreadable, next })
    }

    /// Reads the details of entries of the index, at most 100; `None` for an entry that is no longer true.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn entry_details(
        &self,
        entries: &[DueCancellation],
    ) -> Result<Vec<Option<EntryDetails>>, StoreError> {
        let key = |due: &DueCancellation| subscription_key(&due.tenant, due.subscription_id);
        let items = self.subscription_items(entries.iter().map(key).collect()).await?;
        let details = |due| items.get(&key(due)).and_then(|item| read_entry_details(item, due));
        Ok(entries.iter().map(details).collect())
    }

    pub(super) async fn scan_subscriptions(
        &self,
        kind: &str,
        projection: Option<&str>,
        tenant: Option<&TenantId>,
        page: Option<NextPage>,
    ) -> Result<Page<Item>, StoreError> {
        let mut request = self
            .client
            .scan()
            .table_name(&self.tables.subscriptions)
            // An export must be current; a count may be a second old.
            .consistent_read(projection.is_none())
            .set_projection_expression(projection.map(str::to_owned))
            .set_exclusive_start_key(page.map(|NextPage(key)| key));
        if projection.is_some() {
            request = request.expression_attribute_names(STATUS_IN_EXPRESSIONS, STATUS);
        }
        request = match tenant {
            None => request.filter_expression(kind),
            Some(tenant) => request
                .filter_expression(format!("begins_with({PK}, :tenant) AND {kind}"))
                .expression_attribute_values(":tenant", text(tenant_prefix(tenant))),
        };
        let output = request.send().await.map_err(StoreError::from_sdk)?;
        Ok(Page {
            found: output.items.unwrap_or_default(),
            unreadable: Vec::new(),
            next: output.last_evaluated_key.map(NextPage),
        })
    }
}
