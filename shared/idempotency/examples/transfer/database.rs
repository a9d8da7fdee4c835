//! A database in memory, with a table of records and a table of accounts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what it does not expect should panic")]

use std::future::pending;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use dynoxide::Database;
use tokio::net::TcpListener;

/// Starts a new database, which ends with the process, and returns a client of it.
pub async fn start() -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, Database::memory().unwrap(), pending()));
    let client = client(&url);
    for table in ["records", "accounts"] {
        let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
        let attribute = AttributeDefinition::builder()
            .attribute_name("pk")
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap();
        let request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        request.key_schema(key).attribute_definitions(attribute).send().await.unwrap();
    }
    client
}

fn client(url: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(url)
        .region(Region::new("local"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"));
    Client::from_conf(config.build())
}

/// Opens an account with a balance.
pub async fn open_account(client: &Client, name: &str, cents: u32) {
    let request = client.put_item().table_name("accounts").item("pk", AttributeValue::S(name.to_owned()));
    request.item("balance", AttributeValue::N(cents.to_string())).send().await.unwrap();
}

/// Reads the balance of an account.
pub async fn balance_of(client: &Client, name: &str) -> u32 {
    let request = client.get_item().table_name("accounts").key("pk", AttributeValue::S(name.to_owned()));
    let item = request.consistent_read(true).send().await.unwrap().item.unwrap();
    item["balance"].as_n().unwrap().parse().unwrap()
}
