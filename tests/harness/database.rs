//! The database of the service, as a test looks into it and adds to it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::api_key::{ApiKey, Scope, Token};
use domain::calendar::TimeZone;
use domain::tenant::Tenant;
use domain::webhook::Webhook;
use local::demo;
use service::endpoint::Endpoint;
use service::ids;
use store::due::DueEntry;
use store::tables::DUE_SHARDS;
use store::{Admin, Store};

use crate::{START, Service, instant};

impl Service {
    /// Returns a DynamoDB client for the test itself.
    pub fn dynamodb(&self) -> Client {
        Client::new(&Endpoint::at(self.dynamodb_url.clone()).sdk_config())
    }

    /// Returns the database as a function uses it.
    pub fn store(&self) -> Store {
        Store::new(&Endpoint::at(self.dynamodb_url.clone()).sdk_config(), self.tables.clone())
    }

    /// Returns the database as an operator uses it, to add data.
    pub fn admin(&self) -> Admin {
        self.store().into()
    }

    /// Returns the name that a table has in this service's database.
    pub(crate) fn table(&self, name: &str) -> &str {
        match name {
            "subscriptions" => &self.tables.subscriptions,
            "idempotency" => &self.tables.idempotency,
            "tenants" => &self.tables.tenants,
            "history" => &self.tables.history,
            "webhooks" => &self.tables.webhooks,
            "deliveries" => &self.tables.deliveries,
            other => panic!("unknown table {other}"),
        }
    }

    /// Reads an item as it is stored.
    pub async fn item(&self, table: &str, key: &str) -> Option<HashMap<String, AttributeValue>> {
        let key = AttributeValue::S(key.to_owned());
        let request = self.dynamodb().get_item().table_name(self.table(table)).key("pk", key);
        request.consistent_read(true).send().await.unwrap().item
    }

    /// Reads a subscription of the demo tenant as it is stored.
    pub async fn stored(&self, subscription: &str) -> HashMap<String, AttributeValue> {
        self.item("subscriptions", &format!("demo#{subscription}")).await.unwrap()
    }

    pub async fn version(&self, subscription: &str) -> u64 {
        self.stored(subscription).await["version"].as_n().unwrap().parse().unwrap()
    }

    /// Reads all items of a table.
    pub async fn scan(&self, table: &str) -> Vec<HashMap<String, AttributeValue>> {
        let pages = self.dynamodb().scan().table_name(self.table(table)).into_paginator().items().send();
        pages.collect::<Result<_, _>>().await.unwrap()
    }

    /// Reads the history of a subscription of the demo tenant as it is stored.
    pub async fn history_of(&self, subscription: &str) -> Vec<HashMap<String, AttributeValue>> {
        let key = AttributeValue::S(format!("demo#{subscription}"));
        let request = self.dynamodb().query().table_name(self.table("history"));
        let request = request.key_condition_expression("pk = :pk").expression_attribute_values(":pk", key);
        request.consistent_read(true).send().await.unwrap().items.unwrap_or_default()
    }

    /// Waits until the stored history of a subscription of the demo tenant satisfies a condition. Without a stored entry, the API
    /// shows the subscription itself, so its answer does not count.
    pub async fn until_stored(
        &self,
        subscription: &str,
        are_so: impl Fn(&[HashMap<String, AttributeValue>]) -> bool,
    ) {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            while !are_so(&self.history_of(subscription).await) {
                looks.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("not recorded in time");
    }

    /// Returns the ids of all tenants' subscriptions whose cancellation is due by this instant, according to the due index.
    pub async fn due(&self, by: &str) -> Vec<String> {
        let store = self.store();
        let mut due = Vec::new();
        for shard in 0..DUE_SHARDS {
            let mut next = None;
            loop {
                let page = store.due(shard, instant(by), next).await.unwrap();
                for entry in page.entries {
                    let DueEntry::Cancellation(cancellation) = entry else { panic!("unreadable entry") };
                    due.push(cancellation.subscription_id.to_string());
                }
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
        }
        due.sort();
        due
    }

    /// Updates an item directly in the database, without the service.
    pub async fn update(&self, table: &str, key: &str, expression: &str, value: AttributeValue) {
        self.dynamodb()
            .update_item()
            .table_name(self.table(table))
            .key("pk", AttributeValue::S(key.to_owned()))
            .update_expression(expression)
            .expression_attribute_values(":value", value)
            .send()
            .await
            .unwrap();
    }

    /// Adds a tenant in UTC. Returns an API key of the tenant with these scopes.
    pub async fn add_tenant(&self, tenant: &str, scopes: &[Scope]) -> String {
        let id: domain::identifiers::TenantId = tenant.parse().unwrap();
        let tenant =
            Tenant { id: id.clone(), name: tenant.to_owned(), time_zone: TimeZone::UTC, paused: None };
        self.admin().put_tenant(&tenant).await.unwrap();
        self.add_key(&id.to_string(), "k1", scopes).await.reveal()
    }

    /// Adds the API keys that the events in `tests/data/events` carry. An embedded database has them anyway.
    pub async fn add_known_keys(&self) {
        for (token, scopes) in demo::KEYS {
            let token: Token = token.parse().unwrap();
            let key = ApiKey::new(&token, scopes, instant(START));
            self.admin().add_api_key(token.tenant(), token.key_id(), &key).await.unwrap();
        }
    }

    /// Adds a webhook of the demo tenant.
    pub async fn add_webhook(&self, webhook: &Webhook) {
        assert!(self.admin().add_webhook(&"demo".parse().unwrap(), webhook).await.unwrap());
    }

    /// Adds an API key of an existing tenant, and returns its token.
    pub async fn add_key(&self, tenant: &str, key_id: &str, scopes: &[Scope]) -> Token {
        let token = ids::token(tenant.parse().unwrap(), key_id.parse().unwrap()).unwrap();
        let key = ApiKey::new(&token, scopes, instant(START));
        self.admin().add_api_key(token.tenant(), token.key_id(), &key).await.unwrap();
        token
    }
}
