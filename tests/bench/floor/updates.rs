//! The floor of a sweep: a function that only updates items, so many at once.
//!
//! Each update is the one that executes a cancellation and removes it from the index. The function does not read, decide,
//! retry, count or log anything.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::{StreamExt, TryStreamExt, stream};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use serde_json::json;
use service::endpoint::Endpoint;
use service::environment::table_names;

#[derive(Deserialize)]
struct Event {
    keys: Vec<String>,
    concurrency: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::new(&Endpoint::from_env()?.sdk_config());
    let table = table_names().subscriptions;
    run(service_fn(async |event: LambdaEvent<Event>| {
        let Event { keys, concurrency } = event.payload;
        let updated = stream::iter(keys)
            .map(|key| update(&client, &table, key))
            .buffer_unordered(concurrency)
            .try_fold(0, async |updated, ()| Ok(updated + 1))
            .await?;
        Ok::<_, Error>(json!({"updated": updated}))
    }))
    .await
}

async fn update(client: &Client, table: &str, key: String) -> Result<(), Error> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    client
        .update_item()
        .table_name(table)
        .key("pk", AttributeValue::S(key))
        .update_expression(
            "SET version = version + :one, document.#status = :cancelled, \
             document.cancelledAt = :at, document.updatedAt = :at \
             REMOVE document.pendingStatus, document.pendingMsisdn, \
             document.pendingProductOffering, dueShard, dueAt",
        )
        .condition_expression(
            "attribute_exists(cancellationId) AND dueAt > :at AND document.#status <> :cancelled",
        )
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
        .expression_attribute_values(":cancelled", text("CANCELLED"))
        .expression_attribute_values(":at", text("2026-01-01T00:00:00Z"))
        .send()
        .await?;
    Ok(())
}
