//! The floor: what a function in Rust costs that does nothing but read one item of DynamoDB.
//!
//! It has the Lambda runtime and the SDK of the other functions, set up the same way, and no rule, no log, no
//! metric. What another function takes beyond this is its own doing.

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
