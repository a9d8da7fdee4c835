//! The four tables: their names, keys, index, and settings.
//!
//! There are four, so that each function gets exactly the permissions it needs: the function that reads subscriptions can't write
//! one, the function that executes cancellations can't read an API key, and no function can change the history.

use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableInputBuilder;
use aws_sdk_dynamodb::operation::create_table::{CreateTableError, CreateTableInput};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
    TimeToLiveSpecification,
};
use dynamodb::refusal;

use super::layout::{CANCELLATION_ID, DUE_AT, DUE_SHARD, PK, REVISION};
use super::{Admin, StoreError};

/// The sparse index of pending cancellations: hash `dueShard`, range `dueAt`.
pub const DUE_INDEX: &str = "due";

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
}

impl Default for TableNames {
    fn default() -> Self {
        Self {
            subscriptions: "subscriptions".to_owned(),
            idempotency: "idempotency".to_owned(),
            tenants: "tenants".to_owned(),
            history: "history".to_owned(),
        }
    }
}

impl Admin {
    /// Creates the missing tables, and waits until all can be used. Turns on the expiry of idempotency records if it is off.
    /// Returns the names of the tables that were created.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn create_tables(&self) -> Result<Vec<String>, StoreError> {
        let mut created = Vec::new();
        for (name, table) in definitions(&self.tables)? {
            if self.table_status(name).await?.is_none() {
                match table.send_with(&self.client).await {
                    Ok(_) => created.push(name.to_owned()),
                    Err(error) => match refusal(error)? {
                        // Another process was faster.
                        CreateTableError::ResourceInUseException(_) => {}
                        other => return Err(StoreError::from_refusal(&other)),
                    },
                }
            }
            self.wait_until_active(name).await?;
        }
        self.remove_old_idempotency_records().await?;
        Ok(created)
    }

    async fn table_status(&self, name: &str) -> Result<Option<TableStatus>, StoreError> {
        Ok(self.describe(name).await?.and_then(|table| table.table_status))
    }

    async fn wait_until_active(&self, name: &str) -> Result<(), StoreError> {
        for _ in 0..60 {
            if self.table_status(name).await? == Some(TableStatus::Active) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(StoreError::Unavailable(format!("the table {name} is still being created")))
    }

    async fn remove_old_idempotency_records(&self) -> Result<(), StoreError> {
        let name = &self.tables.idempotency;
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

/// Defines the tables, by name. No other definition exists in Rust. All have the hash key `pk` and are paid per request. The
/// history has the range key `revision` too.
pub(super) fn definitions(names: &TableNames) -> Result<[(&str, CreateTableInputBuilder); 4], StoreError> {
    fn build(names: &TableNames) -> Result<[(&str, CreateTableInputBuilder); 4], BuildError> {
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
        let changes = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewAndOldImages)
            .build()?;
        let subscriptions = table(&names.subscriptions)?
            .attribute_definitions(attribute(DUE_SHARD, ScalarAttributeType::N)?)
            .attribute_definitions(attribute(DUE_AT, ScalarAttributeType::S)?)
            .global_secondary_indexes(due)
            .stream_specification(changes);
        let history = table(&names.history)?
            .key_schema(key(REVISION, KeyType::Range)?)
            .attribute_definitions(attribute(REVISION, ScalarAttributeType::S)?);
        Ok([
            (&names.subscriptions, subscriptions),
            (&names.idempotency, table(&names.idempotency)?),
            (&names.tenants, table(&names.tenants)?),
            (&names.history, history),
        ])
    }

    fn table(name: &str) -> Result<CreateTableInputBuilder, BuildError> {
        Ok(CreateTableInput::builder()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key(PK, KeyType::Hash)?)
            .attribute_definitions(attribute(PK, ScalarAttributeType::S)?))
    }

    fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, BuildError> {
        KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
    }

    fn attribute(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition, BuildError> {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
    }

    build(names).map_err(|error| StoreError::Defect(error.to_string()))
}
