//! The floor: the cost of a function in Rust that only reads one item of DynamoDB.
//!
//! This function has the Lambda runtime and the SDK of the other functions, set up in the same way, and no rule, log or metric.
//! The cost of another function beyond this is its own.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use service::endpoint::Endpoint;
use service::environment::table_names;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::new(&Endpoint::from_env()?.sdk_config());
    let table = table_names().tenants;
    run(service_fn(async |_: LambdaEvent<Value>| {
        let key = AttributeValue::S("demo".to_owned());
        let read = client.get_item().table_name(&table).key("pk", key).consistent_read(true).send().await?;
        Ok::<_, Error>(json!({"statusCode": if read.item.is_some() { 200 } else { 404 }}))
    }))
    .await
}
