//! One read for everything a request needs: API key and subscription; for a change, the idempotency record too; and to cancel,
//! the tenant.
//!
//! The API key names its tenant, so nothing has to be read before the rest, and one `BatchGetItem` with consistent reads brings
//! all of it. The result stays sealed until the key is verified: only [`Sealed::open`] gives access to a stored subscription.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use chrono::{DateTime, Utc};
use domain::api_key::{NotAdmitted, Scope, Token};
use domain::identifiers::{ReferenceId, SubscriptionId, SubscriptionName, TenantId};
use domain::stored::StoredSubscription;
use domain::tenant::Tenant;
use dynamodb::{Item, Patience, defect, repeat};
use idempotency::{Key, Record, Records};
use tracing::warn;

use super::answer::Answer;
use super::inspect::DateHeader;
use super::items::{key_of, read_api_key, read_pointer, read_subscription, read_tenant, text};
use super::layout::{PK, api_key_key, reference_key, subscription_key, tenant_key};
use super::{Store, StoreError};

/// Longest time for which a starting function waits for a connection.
const LONGEST_CONNECT: Duration = Duration::from_secs(2);

/// Most times that a reference id is followed, if it keeps moving.
const MOST_ROUNDS: u32 = 5;

/// The items of a request, each if it was read and exists.
#[derive(Clone, Default)]
pub struct Items {
    /// The tenant.
    pub tenant: Option<Item>,
    /// The API key.
    pub api_key: Option<Item>,
    /// The subscription, if it is named by its subscription id.
    pub subscription: Option<Item>,
    /// The pointer to the subscription, if it is named by its reference id.
    pub pointer: Option<Item>,
    /// The idempotency record.
    pub record: Option<Item>,
}

/// The items read for a request whose API key has not been verified yet.
pub struct Sealed<'r> {
    token: &'r Token,
    items: Items,
}

/// The values read for a request whose API key is valid.
pub struct Loaded {
    /// The tenant of the caller, if it was requested and exists.
    pub tenant: Option<Tenant>,
    /// The name of the caller's API key, if it has one.
    pub key_name: Option<String>,
    /// The subscription that the request names.
    pub found: Found,
    /// The record of the idempotency key, which may have expired.
    pub record: Option<Record<Answer>>,
}

/// The result of looking for the subscription that a request names.
pub enum Found {
    /// The subscription itself.
    Subscription(Box<StoredSubscription>),
    /// The subscription that the reference id leads to. It still has to be read by its id.
    Reference(SubscriptionId),
    /// The tenant has no subscription of that name, or the request named none.
    Nothing,
}

/// The reason why the items stay sealed.
pub enum NotOpened {
    /// The API key does not admit the request.
    NotAdmitted(NotAdmitted),
    /// An item can't be read.
    Store(StoreError),
}

impl From<StoreError> for NotOpened {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<'r> Sealed<'r> {
    /// Seals the items that were read for a request of `token`.
    #[must_use]
    pub fn new(token: &'r Token, items: Items) -> Self {
        Self { token, items }
    }

    /// Verifies the API key, and only then reads the rest.
    ///
    /// # Errors
    /// The key is missing, is not valid at `now` or lacks `scope`; or an item can't be read.
    pub fn open(self, scope: Scope, now: DateTime<Utc>) -> Result<Loaded, NotOpened> {
        let Items { tenant, api_key, subscription, pointer, record } = self.items;
        let api_key = api_key.ok_or(NotOpened::NotAdmitted(NotAdmitted::KeyInvalid))?;
        let api_key = read_api_key(api_key)?;
        api_key.admits(self.token, scope, now).map_err(NotOpened::NotAdmitted)?;

        let found = match (subscription, pointer) {
            (Some(item), _) => Found::Subscription(Box::new(read_subscription(item)?)),
            (None, Some(item)) => Found::Reference(read_pointer(item)?),
            (None, None) => Found::Nothing,
        };
        let tenant = tenant.map(|item| read_tenant(self.token.tenant().clone(), item));
        Ok(Loaded {
            tenant: tenant.transpose()?,
            key_name: api_key.name,
            found,
            record: record.map(|item| Records::read(&item)).transpose()?,
        })
    }
}

impl Store {
    /// Connects to the database, so that the first request finds the connection open.
    ///
    /// The connection is opened by reading an item that does not exist. If that fails, the first request connects.
    pub async fn connect(&self) {
        let nothing = Wanted::from([(self.tables.tenants.clone(), vec!["-".to_owned()])]);
        match tokio::time::timeout(LONGEST_CONNECT, self.batch_get(nothing)).await {
            Ok(Ok(_)) => {}
            Ok(Err(cause)) => warn!(%cause, "no connection to the database yet"),
            Err(_) => warn!("no connection to the database yet"),
        }
    }

    /// Reads everything that a request of `token` needs, in one round trip. `subscription` is `None` if the path of the request has
    /// no valid name. The tenant is read only `with_tenant`: authentication needs the API key alone, but an effective date needs
    /// the tenant's time zone.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn load<'r>(
        &self,
        token: &'r Token,
        subscription: Option<&SubscriptionName>,
        idempotency_key: Option<&Key>,
        with_tenant: bool,
    ) -> Result<Sealed<'r>, StoreError> {
        let tenant = token.tenant();
        let tenant_key = with_tenant.then(|| tenant_key(tenant));
        let api_key_key = api_key_key(tenant, token.key_id());
        let (subscription_key, pointer_key) = match subscription {
            Some(SubscriptionName::Id(id)) => (Some(subscription_key(tenant, *id)), None),
            Some(SubscriptionName::Reference(reference)) => (None, Some(reference_key(tenant, reference))),
            None => (None, None),
        };
        let record_key = idempotency_key.map(|key| Records::pk(tenant, key));

        let mut wanted = Wanted::new();
        let of_tenant = tenant_key.iter().chain([&api_key_key]).cloned().collect();
        wanted.insert(self.tables.tenants.clone(), of_tenant);
        let by_name = subscription_key.iter().chain(&pointer_key).cloned().collect();
        wanted.insert(self.tables.subscriptions.clone(), by_name);
        wanted.insert(self.tables.idempotency.clone(), record_key.iter().cloned().collect());
        let mut items = self.batch_get(wanted).await?;

        let mut take = |table: &str, key: Option<&String>| items.remove(&(table.to_owned(), key?.clone()));
        let items = Items {
            tenant: take(&self.tables.tenants, tenant_key.as_ref()),
            api_key: take(&self.tables.tenants, Some(&api_key_key)),
            subscription: take(&self.tables.subscriptions, subscription_key.as_ref()),
            pointer: take(&self.tables.subscriptions, pointer_key.as_ref()),
            record: take(&self.tables.idempotency, record_key.as_ref()),
        };
        Ok(Sealed::new(token, items))
    }

    /// Returns the subscription that was found. If it was named by its reference id, reads it in one more round trip.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn follow(
        &self,
        tenant: &TenantId,
        name: &SubscriptionName,
        found: Found,
    ) -> Result<Option<StoredSubscription>, StoreError> {
        match (found, name) {
            (Found::Subscription(stored), _) => Ok(Some(*stored)),
            (Found::Reference(id), SubscriptionName::Reference(reference)) => {
                self.referenced_subscription(tenant, reference, id).await
            }
            (Found::Reference(id), SubscriptionName::Id(_)) => self.subscription(tenant, id).await,
            (Found::Nothing, _) => Ok(None),
        }
    }

    /// Reads the subscription that a name means now.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn named(
        &self,
        tenant: &TenantId,
        name: &SubscriptionName,
    ) -> Result<Option<StoredSubscription>, StoreError> {
        match name {
            SubscriptionName::Id(id) => self.subscription(tenant, *id).await,
            SubscriptionName::Reference(reference) => match self.referenced(tenant, reference).await? {
                Some(id) => self.referenced_subscription(tenant, reference, id).await,
                None => Ok(None),
            },
        }
    }

    /// Reads the subscription that a reference id leads to, which was read as `id`. An import may have given the reference id to
    /// another subscription since. So a subscription without this reference id is returned only if the reference id still leads to
    /// it.
    async fn referenced_subscription(
        &self,
        tenant: &TenantId,
        reference: &ReferenceId,
        mut id: SubscriptionId,
    ) -> Result<Option<StoredSubscription>, StoreError> {
        for _ in 0..MOST_ROUNDS {
            let stored = self.subscription(tenant, id).await?;
            if stored.as_ref().is_some_and(|stored| stored.document.reference_id.as_ref() == Some(reference))
            {
                return Ok(stored);
            }
            match self.referenced(tenant, reference).await? {
                Some(again) if again == id => return Ok(stored),
                Some(other) => id = other,
                None => return Ok(None),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Reads the id of the subscription that a reference id names.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn referenced(
        &self,
        tenant: &TenantId,
        reference: &ReferenceId,
    ) -> Result<Option<SubscriptionId>, StoreError> {
        let item = self.subscription_item(reference_key(tenant, reference)).await?;
        item.map(read_pointer).transpose()
    }

    /// Reads a subscription by its id, as it is now.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn subscription(
        &self,
        tenant: &TenantId,
        id: SubscriptionId,
    ) -> Result<Option<StoredSubscription>, StoreError> {
        self.subscription_item(subscription_key(tenant, id)).await?.map(read_subscription).transpose()
    }

    async fn subscription_item(&self, key: String) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.tables.subscriptions).key(PK, text(key));
        let output = request.consistent_read(true).send().await.map_err(StoreError::from_sdk)?;
        Ok(output.item)
    }

    /// Reads subscriptions and reference ids by their keys, as they are now: at most 100.
    pub(super) async fn subscription_items(
        &self,
        keys: HashSet<String>,
    ) -> Result<HashMap<String, Item>, StoreError> {
        Ok(self.dated_subscription_items(keys).await?.0)
    }

    /// Reads the same, and the time of the read by the database's clock, if the database reports it.
    pub(super) async fn dated_subscription_items(
        &self,
        keys: HashSet<String>,
    ) -> Result<(HashMap<String, Item>, Option<DateTime<Utc>>), StoreError> {
        let wanted = Wanted::from([(self.tables.subscriptions.clone(), keys.into_iter().collect())]);
        let date = DateHeader::default();
        let items = self.batch_get_with(wanted, Some(&date)).await?;
        Ok((items.into_iter().map(|((_, key), item)| (key, item)).collect(), date.instant()))
    }

    /// Reads the subscriptions that these names mean now, at most 100, in their order. Each may be missing or malformed on its own.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn named_together(
        &self,
        tenant: &TenantId,
        names: &[SubscriptionName],
    ) -> Result<Vec<Result<Option<StoredSubscription>, StoreError>>, StoreError> {
        // A request for no items is refused, so none is sent.
        let pointer = |name: &SubscriptionName| match name {
            SubscriptionName::Reference(reference) => Some(reference_key(tenant, reference)),
            SubscriptionName::Id(_) => None,
        };
        let pointers = names.iter().filter_map(pointer).collect::<HashSet<_>>();
        let pointers =
            if pointers.is_empty() { HashMap::new() } else { self.subscription_items(pointers).await? };
        let key = |name: &SubscriptionName| match name {
            SubscriptionName::Id(id) => Some(subscription_key(tenant, *id)),
            SubscriptionName::Reference(_) => {
                let id = read_pointer(pointers.get(&pointer(name)?)?.clone()).ok()?;
                Some(subscription_key(tenant, id))
            }
        };
        let keys = names.iter().filter_map(key).collect::<HashSet<_>>();
        let items = if keys.is_empty() { HashMap::new() } else { self.subscription_items(keys).await? };
        let mut found = Vec::new();
        for name in names {
            let stored =
                key(name).and_then(|key| items.get(&key)).cloned().map(read_subscription).transpose();
            found.push(match (name, stored) {
                // An import may have given the reference id to another subscription in between.
                (SubscriptionName::Reference(reference), Ok(Some(stored)))
                    if stored.document.reference_id.as_ref() != Some(reference) =>
                {
                    self.named(tenant, name).await
                }
                (_, stored) => stored,
            });
        }
        Ok(found)
    }

    /// Reads items by table and key. DynamoDB may leave some unprocessed when it is busy. Those are requested again, a limited
    /// number of times.
    async fn batch_get(&self, wanted: Wanted) -> Result<ByKey, StoreError> {
        self.batch_get_with(wanted, None).await
    }

    async fn batch_get_with(&self, wanted: Wanted, date: Option<&DateHeader>) -> Result<ByKey, StoreError> {
        let wanted = wanted
            .into_iter()
            .filter(|(_, keys)| !keys.is_empty())
            .map(|(table, keys)| Ok((table, consistent_read_of(keys)?)))
            .collect::<Result<HashMap<_, _>, BuildError>>()
            .map_err(defect)?;
        let nothing = HashMap::new();
        let attempt = |(wanted, items)| self.batch_get_once(wanted, items, date);
        let is_done = |(wanted, _): &(HashMap<_, _>, _)| wanted.is_empty();
        match repeat(Patience::OfRequest, (wanted, nothing), attempt, is_done).await? {
            (left, items) if left.is_empty() => Ok(items),
            _ => Err(StoreError::Unavailable("keys remained unprocessed".to_owned())),
        }
    }

    /// Reads wanted items into `items`. Returns the keys that are still wanted, and the items.
    async fn batch_get_once(
        &self,
        wanted: HashMap<String, KeysAndAttributes>,
        mut items: ByKey,
        date: Option<&DateHeader>,
    ) -> Result<(HashMap<String, KeysAndAttributes>, ByKey), StoreError> {
        let request = self.client.batch_get_item().set_request_items(Some(wanted));
        let output = match date {
            Some(date) => request.customize().interceptor(date.clone()).send().await,
            None => request.send().await,
        };
        let output = output.map_err(StoreError::from_sdk)?;
        for (table, found) in output.responses.unwrap_or_default() {
            items.extend(found.into_iter().map(|item| ((table.clone(), key_of(&item).to_owned()), item)));
        }
        Ok((output.unprocessed_keys.unwrap_or_default(), items))
    }
}

/// Items by table and key.
type ByKey = HashMap<(String, String), Item>;

/// Keys by table.
type Wanted = HashMap<String, Vec<String>>;

fn consistent_read_of(keys: Vec<String>) -> Result<KeysAndAttributes, BuildError> {
    let keys = keys.into_iter().map(|key| HashMap::from([(PK.to_owned(), text(key))])).collect();
    KeysAndAttributes::builder().consistent_read(true).set_keys(Some(keys)).build()
}
