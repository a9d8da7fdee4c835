//! Inspecting the database: the faults of its tables, and the time by its clock.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableInputBuilder;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, GlobalSecondaryIndex, GlobalSecondaryIndexDescription, IndexStatus,
    KeySchemaElement, Projection, ProjectionType, TableDescription, TableStatus, TimeToLiveStatus,
};
use chrono::{DateTime, Utc};
use dynamodb::refusal;

use super::tables::{TTL_ATTRIBUTE, definitions};
use super::{Admin, StoreError};

/// A fault of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableFault {
    /// The table is missing.
    Missing,
    /// The table can't be used yet, or no longer. The text is its status.
    NotActive(String),
    /// The table has other keys.
    OtherKeys,
    /// An index of the table is missing.
    NoIndex(WantedIndex),
    /// An index has other keys, or leaves out attributes.
    OtherIndex(WantedIndex),
    /// An index can't be used yet, or no longer. The text is its status.
    IndexNotActive(WantedIndex, String),
    /// The changes of the table are not streamed with both images.
    NoStream,
    /// Items that have expired are not removed.
    NoExpiry,
}

/// An index as this service creates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedIndex {
    /// The name of the index.
    pub name: String,
    /// The keys, hash and range, each with the letter of its type.
    pub keys: Vec<(String, String)>,
    /// The projection, in the words of DynamoDB.
    pub projection: String,
    /// The attributes beside the keys, if not all or none.
    pub attributes: Vec<String>,
}

impl WantedIndex {
    fn of(index: &GlobalSecondaryIndex, types: &[AttributeDefinition]) -> Self {
        let letter = |name: &str| {
            let of = types.iter().find(|attribute| attribute.attribute_name() == name);
            of.map_or("S", |attribute| attribute.attribute_type().as_str()).to_owned()
        };
        let names = index.key_schema().iter().map(|key| key.attribute_name().to_owned());
        let projection = index.projection();
        let kind = projection.and_then(Projection::projection_type);
        Self {
            name: index.index_name().to_owned(),
            keys: names.map(|name| (name.clone(), letter(&name))).collect(),
            projection: kind.map_or("KEYS_ONLY", ProjectionType::as_str).to_owned(),
            attributes: projection.map(Projection::non_key_attributes).unwrap_or_default().to_vec(),
        }
    }
}

/// A table, inspected.
#[derive(Clone, Debug)]
pub struct InspectedTable {
    /// The name of the table.
    pub name: String,
    /// The faults of the table.
    pub faults: Vec<TableFault>,
}

impl Admin {
    /// Compares the tables with what this service creates.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn inspect_tables(&self) -> Result<Vec<InspectedTable>, StoreError> {
        let mut inspected = Vec::new();
        for (name, wanted) in definitions(&self.tables)? {
            let mut faults = match self.describe(name).await? {
                None => vec![TableFault::Missing],
                Some(found) => compare(&wanted, &found),
            };
            let is_there = !faults.contains(&TableFault::Missing);
            let expires = [&self.tables.idempotency, &self.tables.deliveries].contains(&&name.to_owned());
            if is_there && expires && !self.removes_expired_items(name).await? {
                faults.push(TableFault::NoExpiry);
            }
            inspected.push(InspectedTable { name: name.to_owned(), faults });
        }
        Ok(inspected)
    }

    pub(super) async fn describe(&self, name: &str) -> Result<Option<TableDescription>, StoreError> {
        match self.client.describe_table().table_name(name).send().await {
            Ok(description) => Ok(description.table),
            Err(error) => match refusal(error)? {
                DescribeTableError::ResourceNotFoundException(_) => Ok(None),
                other => Err(StoreError::from_refusal(&other)),
            },
        }
    }

    /// Reads the ARN of the stream of the subscriptions, if there is one.
    ///
    /// # Errors
    /// The database can't be reached, or refuses.
    pub async fn stream_arn(&self) -> Result<Option<String>, StoreError> {
        Ok(self.describe(&self.tables.subscriptions).await?.and_then(|table| table.latest_stream_arn))
    }

    async fn removes_expired_items(&self, name: &str) -> Result<bool, StoreError> {
        let current = self.client.describe_time_to_live().table_name(name).send().await;
        let current = current.map_err(StoreError::from_sdk)?.time_to_live_description;
        Ok(current.is_some_and(|current| {
            let is_on = [TimeToLiveStatus::Enabled, TimeToLiveStatus::Enabling]
                .map(Some)
                .contains(&current.time_to_live_status);
            is_on && current.attribute_name.as_deref() == Some(TTL_ATTRIBUTE)
        }))
    }

    /// Reads the time by the database's clock, to the second; `None` if the database does not report it. The database reports it
    /// even if it refuses the request.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database can't be reached.
    pub async fn time(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let date = DateHeader::default();
        let request = self.client.describe_table().table_name(&self.tables.tenants);
        let result = request.customize().interceptor(date.clone()).send().await;
        match date.instant() {
            // A refusal has a date too.
            Some(date) => Ok(Some(date)),
            None => match result.map_err(StoreError::from_sdk) {
                Err(StoreError::Unavailable(cause)) => Err(StoreError::Unavailable(cause)),
                _ => Ok(None),
            },
        }
    }
}

/// Returns the faults of a table that exists.
fn compare(wanted: &CreateTableInputBuilder, found: &TableDescription) -> Vec<TableFault> {
    let mut faults = Vec::new();
    match &found.table_status {
        Some(TableStatus::Active | TableStatus::Updating) => {}
        other => faults.push(TableFault::NotActive(status(other.as_ref().map(TableStatus::as_str)))),
    }
    let definitions = wanted.get_attribute_definitions().as_deref().unwrap_or_default();
    let types = |keys: &[KeySchemaElement]| {
        let of = |key: &KeySchemaElement, all: &[AttributeDefinition]| {
            all.iter().find(|attribute| attribute.attribute_name() == key.attribute_name()).cloned()
        };
        keys.iter().all(|key| of(key, definitions) == of(key, found.attribute_definitions()))
    };
    let keys = wanted.get_key_schema().as_deref().unwrap_or_default();
    if found.key_schema() != keys || !types(keys) {
        faults.push(TableFault::OtherKeys);
    }
    for wanted in wanted.get_global_secondary_indexes().iter().flatten() {
        let is_it =
            |index: &&GlobalSecondaryIndexDescription| index.index_name() == Some(wanted.index_name());
        let index = found.global_secondary_indexes().iter().find(is_it);
        let it = || WantedIndex::of(wanted, definitions);
        faults.extend(match index {
            None => Some(TableFault::NoIndex(it())),
            Some(_) if !types(wanted.key_schema()) => Some(TableFault::OtherIndex(it())),
            Some(index) => compare_index(wanted, it, index),
        });
    }
    if let Some(wanted) = wanted.get_stream_specification() {
        let is_streamed = found.stream_specification().is_some_and(|stream| {
            stream.stream_enabled() && stream.stream_view_type() == wanted.stream_view_type()
        });
        if !is_streamed {
            faults.push(TableFault::NoStream);
        }
    }
    faults
}

fn compare_index(
    wanted: &GlobalSecondaryIndex,
    it: impl FnOnce() -> WantedIndex,
    found: &GlobalSecondaryIndexDescription,
) -> Option<TableFault> {
    // An index with more attributes than needed is fine too.
    let has_all = found.projection().is_some_and(|found| {
        let projection = wanted.projection();
        let needed = projection.map(Projection::non_key_attributes).unwrap_or_default();
        let needs_all = projection.and_then(Projection::projection_type) == Some(&ProjectionType::All);
        found.projection_type() == Some(&ProjectionType::All)
            || !needs_all && needed.iter().all(|attribute| found.non_key_attributes().contains(attribute))
    });
    if found.key_schema() != wanted.key_schema() || !has_all {
        return Some(TableFault::OtherIndex(it()));
    }
    match &found.index_status {
        Some(IndexStatus::Active | IndexStatus::Updating) => None,
        other => Some(TableFault::IndexNotActive(it(), status(other.as_ref().map(IndexStatus::as_str)))),
    }
}

fn status(text: Option<&str>) -> String {
    text.unwrap_or("unknown").to_owned()
}

/// Keeps the header `Date` of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct DateHeader(Arc<Mutex<Option<String>>>);

impl DateHeader {
    /// Returns the time in the header, to the second.
    pub(super) fn instant(&self) -> Option<DateTime<Utc>> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        DateTime::parse_from_rfc2822(&text).ok().map(|date| date.to_utc())
    }
}

impl Intercept for DateHeader {
    fn name(&self) -> &'static str {
        "DateHeader"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}
