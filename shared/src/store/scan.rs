//! Reading subscriptions in bulk, page by page: for exports and reports. No function does so: it costs as much as there
//! are subscriptions.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::items::{
    Item, key_of, read_reported, read_subscription, subscription_key, subscription_prefix, text,
};
use super::{NextPage, Store, StoreError};
use crate::cancellation::{Reason, StoredSubscription};
use crate::identifiers::{SubscriptionId, TenantId};

/// A page of what was found.
pub struct Page<T> {
    /// What was found.
    pub found: Vec<T>,
    /// The keys of items that are not what this service writes.
    pub unreadable: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<NextPage>,
}

/// A cancellation that is pending or has taken effect, for counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Whose it is.
    pub tenant: TenantId,
    /// Why; `None` if it was imported.
    pub reason: Option<Reason>,
    /// The instant at which it takes effect, or did.
    pub effective_at: DateTime<Utc>,
    /// Whether it has taken effect.
    pub took_effect: bool,
}

impl Page<Item> {
    fn read<T>(self, read: fn(Item) -> Option<T>) -> Page<T> {
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

impl Store {
    /// Some of a tenant's subscriptions, in no particular order.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn subscriptions(
        &self,
        tenant: &TenantId,
        page: Option<NextPage>,
    ) -> Result<Page<StoredSubscription>, StoreError> {
        let items = self.scan_subscriptions("attribute_exists(document)", None, Some(tenant), page).await?;
        Ok(items.read(|item| read_subscription(item).ok()))
    }

    /// Some of the cancellations that were asked for, of a tenant or of all.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn cancellations(
        &self,
        tenant: Option<&TenantId>,
        page: Option<NextPage>,
    ) -> Result<Page<Reported>, StoreError> {
        // Not the comment, nor anything else that may be personal.
        let projection = "pk, dueAt, document.#status, cancellation.effectiveAt, cancellation.reason";
        let items =
            self.scan_subscriptions("attribute_exists(cancellation)", Some(projection), tenant, page).await?;
        let Page { found, unreadable, next } = items.read(read_reported);
        // One that is neither pending nor done was withdrawn.
        Ok(Page { found: found.into_iter().flatten().collect(), unreadable, next })
    }

    /// Subscriptions by tenant and id, as they are now: at most 100. Those that there are not are left out.
    ///
    /// # Errors
    /// The database can't be reached, or refuses; or one can't be read.
    pub async fn subscriptions_by_id(
        &self,
        ids: &[(TenantId, SubscriptionId)],
    ) -> Result<HashMap<(TenantId, SubscriptionId), StoredSubscription>, StoreError> {
        let keys = ids.iter().map(|(tenant, id)| subscription_key(tenant, *id));
        let mut items = self.subscription_items(keys.collect()).await?;
        let mut found = HashMap::new();
        for (tenant, id) in ids {
            if let Some(item) = items.remove(&subscription_key(tenant, *id)) {
                found.insert((tenant.clone(), *id), read_subscription(item)?);
            }
        }
        Ok(found)
    }

    async fn scan_subscriptions(
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
            .set_projection_expression(projection.map(str::to_owned))
            .set_exclusive_start_key(page.map(|NextPage(key)| key));
        if projection.is_some() {
            request = request.expression_attribute_names("#status", "status");
        }
        request = match tenant {
            None => request.filter_expression(kind),
            Some(tenant) => request
                .filter_expression(format!("begins_with(pk, :tenant) AND {kind}"))
                .expression_attribute_values(":tenant", text(subscription_prefix(tenant))),
        };
        let output = request.send().await.map_err(StoreError::from_sdk)?;
        Ok(Page {
            found: output.items.unwrap_or_default(),
            unreadable: Vec::new(),
            next: output.last_evaluated_key.map(NextPage),
        })
    }
}
