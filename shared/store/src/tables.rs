//! The six tables: their names, keys, indexes, and settings.
//!
//! There are six, so that each function gets exactly the permissions it needs: the function that reads subscriptions can't write
//! one, the function that executes cancellations can't read an API key, no function can change the history, and only the function
//! that delivers events can read the secrets of webhooks.

use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableInputBuilder;
use aws_sdk_dynamodb::operation::create_table::{CreateTableError, CreateTableInput};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
    GlobalSecondaryIndexUpdate, IndexStatus, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, StreamSpecification, StreamViewType, TableDescription, TableStatus,
    TimeToLiveSpecification,
};
use dynamodb::{defect, refusal};

use super::layout::{
    AT, CANCELLATION_ID, CUSTOMER_ID, DUE_AT, DUE_SHARD, MSISDN, PART, PK, REVISION, WEBHOOK, WEBHOOK_ID,
};
use super::{Admin, StoreError};

/// The sparse index of pending cancellations: hash `dueShard`, range `dueAt`.
pub const DUE_INDEX: &str = "due";

/// The sparse index of subscriptions by their phone number: hash `msisdn`.
pub const MSISDN_INDEX: &str = MSISDN;

/// The sparse index of subscriptions by their customer: hash `customerId`.
pub const CUSTOMER_INDEX: &str = CUSTOMER_ID;

/// The index of attempts to post events: hash `webhook`, range `at`.
pub const ATTEMPTS_INDEX: &str = "attempts";

/// Number of shards of the index of pending cancellations. Most cancellations are due on the first of a month, and would meet the
/// limits of a single partition.
pub const DUE_SHARDS: u32 = 16;

pub(super) use idempotency::TTL_ATTRIBUTE;

/// The names of the tables in this deployment.
#[derive(Clone, Debug)]
pub struct TableNames {
    /// Subscriptions, with their pending cancellations, and the pointers of reference ids.
    pub subscriptions: String,
    /// Idempotency records.
    pub idempotency: String,
    /// Tenants and their API keys.
    pub tenants: String,
    /// The changes of subscriptions.
    pub history: String,
    /// The webhooks of the tenants.
    pub webhooks: String,
    /// The events that are posted to webhooks, and the attempts.
    pub deliveries: String,
}

impl Default for TableNames {
    fn default() -> Self {
        Self {
            subscriptions: "subscriptions".to_owned(),
            idempotency: "idempotency".to_owned(),
            tenants: "tenants".to_owned(),
            history: "history".to_owned(),
            webhooks: "webhooks".to_owned(),
            deliveries: "deliveries".to_owned(),
        }
    }
}

impl Admin {
    /// Creates the missing tables and indexes, and waits until all can be used. Turns on the expiry of idempotency records and
    /// deliveries if it is off. Returns the names of the tables that were created.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn create_tables(&self) -> Result<Vec<String>, StoreError> {
        let mut created = Vec::new();
        for (name, table) in definitions(&self.tables)? {
            match self.describe(name).await? {
                Some(found) => self.create_indexes(name, &table, &found).await?,
                None => match table.send_with(&self.client).await {
                    Ok(_) => created.push(name.to_owned()),
                    Err(error) => match refusal(error)? {
                        // Another process was faster.
                        CreateTableError::ResourceInUseException(_) => {}
                        other => return Err(StoreError::from_refusal(&other)),
                    },
                },
            }
            self.wait_until_active(name).await?;
        }
        for name in [&self.tables.idempotency, &self.tables.deliveries] {
            self.remove_expired_items(name).await?;
        }
        Ok(created)
    }

    /// Creates the indexes that an existing table lacks: an earlier version of this service created the table. DynamoDB creates one
    /// at a time.
    async fn create_indexes(
        &self,
        name: &str,
        wanted: &CreateTableInputBuilder,
        found: &TableDescription,
    ) -> Result<(), StoreError> {
        for index in wanted.get_global_secondary_indexes().iter().flatten() {
            let mut present = found.global_secondary_indexes().iter();
            if present.any(|present| present.index_name() == Some(index.index_name())) {
                continue;
            }
            self.wait_until_active(name).await?;
            let create = CreateGlobalSecondaryIndexAction::builder()
                .index_name(index.index_name())
                .set_key_schema(Some(index.key_schema().to_vec()))
                .set_projection(index.projection().cloned())
                .build()
                .map_err(defect)?;
            let is_key = |attribute: &&AttributeDefinition| {
                index.key_schema().iter().any(|key| key.attribute_name() == attribute.attribute_name())
            };
            let keys = wanted.get_attribute_definitions().iter().flatten().filter(is_key).cloned().collect();
            let request = self.client.update_table().table_name(name).set_attribute_definitions(Some(keys));
            let update = GlobalSecondaryIndexUpdate::builder().create(create).build();
            request.global_secondary_index_updates(update).send().await.map_err(StoreError::from_sdk)?;
        }
        Ok(())
    }

    async fn wait_until_active(&self, name: &str) -> Result<(), StoreError> {
        // DynamoDB takes minutes to create an index of a large table.
        for _ in 0..1200 {
            if self.describe(name).await?.is_some_and(|table| is_active(&table)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(StoreError::Unavailable(format!("the table {name} is still being created")))
    }

    /// Has the database remove the items of a table that have expired.
    async fn remove_expired_items(&self, name: &str) -> Result<(), StoreError> {
        let current = self.client.describe_time_to_live().table_name(name).send().await;
        let attribute = current
            .map_err(StoreError::from_sdk)?
            .time_to_live_description
            .and_then(|description| description.attribute_name);
        if attribute.is_some() {
            return Ok(());
        }
        let expiry = TimeToLiveSpecification::builder().enabled(true).attribute_name(TTL_ATTRIBUTE).build();
        let request = self.client.update_time_to_live().table_name(name);
        let expiry = expiry.map_err(|error| StoreError::Defect(error.to_string()))?;
        request.time_to_live_specification(expiry).send().await.map_err(StoreError::from_sdk)?;
        Ok(())
    }
}

fn is_active(table: &TableDescription) -> bool {
    let mut indexes = table.global_secondary_indexes().iter();
    table.table_status == Some(TableStatus::Active)
        && indexes
            .all(|index| index.index_status.as_ref().is_none_or(|status| *status == IndexStatus::Active))
}

/// The definitions of the tables, by name.
type Definitions<'n> = [(&'n str, CreateTableInputBuilder); 6];

/// Defines the tables. No other definition exists in Rust. All have the hash key `pk` and are paid per request. The last three have
/// a range key too.
pub(super) fn definitions(names: &TableNames) -> Result<Definitions<'_>, StoreError> {
    fn build(names: &TableNames) -> Result<Definitions<'_>, BuildError> {
        let due = GlobalSecondaryIndex::builder()
            .index_name(DUE_INDEX)
            .key_schema(key(DUE_SHARD, KeyType::Hash)?)
            .key_schema(key(DUE_AT, KeyType::Range)?)
            .projection(
                Projection::builder()
                    .projection_type(ProjectionType::Include)
                    .non_key_attributes(CANCELLATION_ID)
                    .build(),
            )
            .build()?;
        let search = |name: &str, attribute: &str| {
            GlobalSecondaryIndex::builder()
                .index_name(name)
                .key_schema(key(attribute, KeyType::Hash)?)
                .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
                .build()
        };
        let changes = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewAndOldImages)
            .build()?;
        let subscriptions = table(&names.subscriptions)?
            .attribute_definitions(attribute(DUE_SHARD, ScalarAttributeType::N)?)
            .attribute_definitions(attribute(DUE_AT, ScalarAttributeType::S)?)
            .attribute_definitions(attribute(MSISDN, ScalarAttributeType::B)?)
            .attribute_definitions(attribute(CUSTOMER_ID, ScalarAttributeType::B)?)
            .global_secondary_indexes(due)
            .global_secondary_indexes(search(MSISDN_INDEX, MSISDN)?)
            .global_secondary_indexes(search(CUSTOMER_INDEX, CUSTOMER_ID)?)
            .stream_specification(changes);
        let attempts = GlobalSecondaryIndex::builder()
            .index_name(ATTEMPTS_INDEX)
            .key_schema(key(WEBHOOK, KeyType::Hash)?)
            .key_schema(key(AT, KeyType::Range)?)
            .projection(Projection::builder().projection_type(ProjectionType::All).build())
            .build()?;
        let deliveries = with_range(&names.deliveries, PART)?
            .attribute_definitions(attribute(WEBHOOK, ScalarAttributeType::S)?)
            .attribute_definitions(attribute(AT, ScalarAttributeType::S)?)
            .global_secondary_indexes(attempts);
        Ok([
            (&names.subscriptions, subscriptions),
            (&names.idempotency, table(&names.idempotency)?),
            (&names.tenants, table(&names.tenants)?),
            (&names.history, with_range(&names.history, REVISION)?),
            (&names.webhooks, with_range(&names.webhooks, WEBHOOK_ID)?),
            (&names.deliveries, deliveries),
        ])
    }

    fn table(name: &str) -> Result<CreateTableInputBuilder, BuildError> {
        Ok(CreateTableInput::builder()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key(PK, KeyType::Hash)?)
            .attribute_definitions(attribute(PK, ScalarAttributeType::S)?))
    }

    fn with_range(name: &str, range: &str) -> Result<CreateTableInputBuilder, BuildError> {
        Ok(table(name)?
            .key_schema(key(range, KeyType::Range)?)
            .attribute_definitions(attribute(range, ScalarAttributeType::S)?))
    }

    fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, BuildError> {
        KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
    }

    fn attribute(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition, BuildError> {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
    }

    build(names).map_err(|error| StoreError::Defect(error.to_string()))
}
