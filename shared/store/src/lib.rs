//! The store: subscriptions with their history, API keys, idempotency records, webhooks and deliveries in six DynamoDB tables, and
//! the writes that keep them consistent.
//!
//! *Invariant:* nothing is decided here. A change comes in as a value, and each part of it is written. Stored items go out as
//! values.
//!
//! A request reads everything it needs in one round trip ([`load`]), and writes everything it decided in one more ([`commit`]).
//! Every write of a decision is conditional on the state it was decided from. If a condition fails, the answer comes from the item
//! that DynamoDB returns with the failure. Every write is in the table's stream, from which the history and events are made ([`history`],
//! [`stream`]).

mod admin;
pub mod answer;
pub mod backup;
pub mod commit;
pub mod compression;
pub mod deliveries;
mod document;
pub mod due;
pub mod erase;
pub mod history;
pub mod import;
pub mod inspect;
mod items;
mod layout;
pub mod load;
pub mod scan;
pub mod search;
pub mod stream;
pub mod tables;
pub mod tenants;
mod update;
pub mod webhooks;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_sdk_dynamodb::config::{Builder, SharedHttpClient};
use aws_types::SdkConfig;
use chrono::TimeDelta;
use dynamodb::Item;
pub use dynamodb::{Error as StoreError, Patience, repeat, try_again};
use idempotency::Records;

pub use self::admin::Admin;
use self::tables::TableNames;

/// The database, as the functions use it.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    tables: TableNames,
}

/// The beginning of the next page, if an answer has more than one.
#[derive(Clone)]
pub struct NextPage(Item);

impl Store {
    /// Returns the database with this configuration, in `tables`. Connects at the first request.
    #[must_use]
    pub fn new(dynamodb: &SdkConfig, tables: TableNames) -> Self {
        Self { client: Client::from_conf(config(dynamodb).build()), tables }
    }

    /// Returns the same database, but each request goes through `http_client`: a network that the caller provides.
    #[must_use]
    pub fn through(http_client: SharedHttpClient, dynamodb: &SdkConfig, tables: TableNames) -> Self {
        Self { client: Client::from_conf(config(dynamodb).http_client(http_client).build()), tables }
    }
}

/// The time for which an idempotency key belongs to its first request, to the second.
pub const KEY_LIFETIME: TimeDelta = TimeDelta::hours(24);

impl Store {
    /// Returns the idempotency records. Each tenant is a scope of its own.
    fn records(&self) -> Records {
        Records::new(self.client.clone(), &self.tables.idempotency, KEY_LIFETIME)
    }
}

fn config(dynamodb: &SdkConfig) -> Builder {
    // The SDK limits the retries while a database keeps failing. By default, all stores of a process share one limit. Here each
    // store has its own, in Lambda as on one machine.
    Builder::from(dynamodb).retry_partition(RetryPartition::custom("store").build())
}
