//! The floor: a function that sends the same requests to DynamoDB as ours, and does nothing else.
//!
//! The Lambda runtime and the SDK are those of the other functions, set up in the same way. The function reads the same items, and
//! writes two of the same size on the same conditions. It has no rule, log or metric, and reads of an answer only the parts that the
//! next request needs. The cost of our functions beyond this is their own.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, Put, ReturnValuesOnConditionCheckFailure as OnFailure,
    TransactWriteItem, Update,
};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};
use service::endpoint::Endpoint;
use service::environment::table_names;
use store::tables::TableNames;

/// Size of the recorded answer, compressed, in bytes.
const ANSWER: usize = 450;

/// The parts of an event that the requests depend on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    path_parameters: Path,
    headers: HashMap<String, String>,
    request_context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Path {
    subscription_id: String,
}

#[derive(Deserialize)]
struct Context {
    http: Http,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::new(&Endpoint::from_env()?.sdk_config());
    let tables = table_names();
    // Connect before the first event, as our functions do.
    let _ = client.get_item().table_name(&tables.tenants).key("pk", text("-")).send().await;
    run(service_fn(async |event: LambdaEvent<Event>| answer(&client, &tables, event.payload).await)).await
}

/// Reads the items of a request, and if it cancels, writes those of a cancellation. A recorded answer ends the request.
async fn answer(client: &Client, tables: &TableNames, event: Event) -> Result<Value, Error> {
    let Event { path_parameters: Path { subscription_id }, headers, request_context } = event;
    let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    let mut parts = header("x-api-key").split('_').skip(1);
    let (tenant, key_id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let subscription = format!("{tenant}#{subscription_id}");
    let record = format!("{tenant}#{}", header("x-idempotency-key"));
    let changes = request_context.http.method == "POST";

    let mut of_tenant = vec![format!("{tenant}#{key_id}")];
    let mut wanted = HashMap::from([(tables.subscriptions.clone(), keys(vec![subscription.clone()])?)]);
    if changes {
        of_tenant.push(tenant.to_owned());
        wanted.insert(tables.idempotency.clone(), keys(vec![record.clone()])?);
    }
    wanted.insert(tables.tenants.clone(), keys(of_tenant)?);
    let read = client.batch_get_item().set_request_items(Some(wanted)).send().await?;
    let mut read = read.responses.unwrap_or_default();
    let mut first = |table: &str| read.remove(table).and_then(|items| items.into_iter().next());
    let mut found = first(&tables.subscriptions).ok_or("there is no such subscription")?;
    if changes && first(&tables.idempotency).is_none() {
        let version = found.remove("version").ok_or("the subscription has no version")?;
        let writes =
            [put(&tables.idempotency, record)?, update(&tables.subscriptions, subscription, version)?];
        client.transact_write_items().set_transact_items(Some(writes.into())).send().await?;
    }
    Ok(json!({"statusCode": 200}))
}

fn keys(keys: Vec<String>) -> Result<KeysAndAttributes, Error> {
    let keys = keys.into_iter().map(|key| HashMap::from([("pk".to_owned(), text(key))])).collect();
    Ok(KeysAndAttributes::builder().consistent_read(true).set_keys(Some(keys)).build()?)
}

fn put(table: &str, key: String) -> Result<TransactWriteItem, Error> {
    let headers = [("content-type", "application/json"), ("etag", "\"2-0f3a9c2e71d4\"")];
    let headers = headers.map(|(name, value)| (name.to_owned(), text(value)));
    let item = [
        ("pk", text(key)),
        ("fingerprint", bytes(32)),
        ("requestId", text("5a8f2f5e-6f0a-4b8e-9d38-0d2f1a0f6c11")),
        ("status", number("200")),
        ("headers", AttributeValue::M(headers.into())),
        ("body", bytes(ANSWER)),
        ("expiresAt", number("4102531200")),
        ("removeAt", number("4102534800")),
    ];
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item.map(|(name, value)| (name.to_owned(), value)).into()))
        .condition_expression("attribute_not_exists(pk) OR expiresAt <= :now")
        .expression_attribute_values(":now", number("1769900000"))
        .return_values_on_condition_check_failure(OnFailure::AllOld);
    Ok(TransactWriteItem::builder().put(put.build()?).build())
}

fn update(table: &str, key: String, version: AttributeValue) -> Result<TransactWriteItem, Error> {
    let next = version.as_n().ok().and_then(|version| version.parse::<u64>().ok()).unwrap_or_default() + 1;
    let (cancellation_id, at) = ("a0a4b6de-5b7e-4b53-93ff-3f4a3f6d3a11", "2026-01-31T22:30:00.123456Z");
    let map = |members: &[(&str, &str)]| {
        AttributeValue::M(members.iter().map(|(name, value)| ((*name).to_owned(), text(*value))).collect())
    };
    let cancellation = map(&[
        ("cancellationId", cancellation_id),
        ("scheduledAt", "2100-01-01"),
        ("effectiveAt", "2099-12-31T23:00:00Z"),
        ("reason", "OTHER"),
        ("comment", "Moves abroad"),
        ("requestedAt", at),
        ("requestedBy", "all"),
    ]);
    let changed_by = map(&[
        ("write", "0f3a9c2e71d4"),
        ("cause", "SCHEDULED"),
        ("source", "API"),
        ("requestId", "5a8f2f5e-6f0a-4b8e-9d38-0d2f1a0f6c11"),
    ]);
    let values = [
        (":version", number(&next.to_string())),
        (":writeId", text("0f3a9c2e71d4")),
        (":changedBy", changed_by),
        (":updatedAt", text(at)),
        (":pendingStatus", map(&[("status", "CANCELLED"), ("scheduledAt", "2100-01-01")])),
        (":cancellation", cancellation),
        (":cancellationId", text(cancellation_id)),
        (":dueShard", number("7")),
        (":dueAt", text("2099-12-31T23:00:00Z")),
        (":if_version", version),
    ];
    let update = Update::builder()
        .table_name(table)
        .key("pk", text(key))
        .update_expression(
            "SET version = :version, writeId = :writeId, changedBy = :changedBy, \
             document.updatedAt = :updatedAt, document.pendingStatus = :pendingStatus, cancellation = :cancellation, \
             cancellationId = :cancellationId, dueShard = :dueShard, dueAt = :dueAt",
        )
        .condition_expression("version = :if_version")
        .set_expression_attribute_values(Some(values.map(|(name, value)| (name.to_owned(), value)).into()))
        .return_values_on_condition_check_failure(OnFailure::AllOld);
    Ok(TransactWriteItem::builder().update(update.build()?).build())
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: &str) -> AttributeValue {
    AttributeValue::N(value.to_owned())
}

fn bytes(length: usize) -> AttributeValue {
    AttributeValue::B(Blob::new(vec![0; length]))
}
