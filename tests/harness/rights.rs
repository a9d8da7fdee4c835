//! The rights of each function to the database, the bus and the queues: those that the template grants, and
//! those that a request needs. A [`Wire`](crate::Wire) acts as IAM, too: it refuses a request without the right to it. So a
//! suite that uses one fails if a right is missing.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::HeaderMap;
use serde_json::Value;

use crate::template::resources;

/// The right to an action on a table, an index (`subscriptions/index/due`), the bus, or a queue.
pub type Right = (String, String);
/// The rights of one function.
pub type Rights = BTreeSet<Right>;

/// Returns the rights that the template grants, by function.
pub fn granted() -> BTreeMap<String, Rights> {
    let roles = resources("AWS::IAM::Role");
    let functions = resources("AWS::Serverless::Function");
    functions
        .values()
        .map(|function| {
            let name = function["FunctionName"]["Fn::Sub"].as_str().unwrap();
            let role = function["Role"]["Fn::GetAtt"].as_str().unwrap().strip_suffix(".Arn").unwrap();
            (name.strip_prefix("${AWS::StackName}-").unwrap().to_owned(), granted_by(&roles[role]))
        })
        .collect()
}

fn granted_by(role: &Value) -> Rights {
    // By these, Lambda reads a queue, in the function's role.
    let of_lambda = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
    let of_function = actions(role).into_iter().filter(|(action, _)| !of_lambda.contains(&action.as_str()));
    of_function.filter_map(|(action, arn)| Some((action, resource(&arn)?))).collect()
}

/// Returns every action that a role allows, with each resource that it is allowed on.
pub fn actions(role: &Value) -> Vec<(String, Value)> {
    let policies = role["Policies"].as_array().unwrap().iter();
    let mut allowed = Vec::new();
    for statement in policies.flat_map(|policy| some(&policy["PolicyDocument"]["Statement"])) {
        assert_eq!(statement["Effect"], "Allow");
        for action in some(&statement["Action"]).map(|action| action.as_str().unwrap()) {
            allowed.extend(some(&statement["Resource"]).map(|arn| (action.to_owned(), arn.clone())));
        }
    }
    allowed
}

/// Iterates over the values of a list, or over a single value.
fn some(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice).iter()
}

/// Returns the resource that an ARN in the template names, if a function sends requests to it: a table or an index, the bus, or
/// one of two queues. Returns `None` for other resources: Lambda sends requests to them, in the function's role.
fn resource(arn: &Value) -> Option<String> {
    let arn = arn["Fn::GetAtt"].as_str().or_else(|| arn["Fn::Sub"].as_str())?;
    if let Some(other @ ("EventBus" | "FailedEvents" | "WebhookQueue")) = arn.strip_suffix(".Arn") {
        return Some(other.to_owned());
    }
    let (table, index) = arn.split_once("Table.Arn")?;
    Some(format!("{}{}", table.trim_start_matches("${").to_lowercase(), index.trim_start_matches('}')))
}

/// Returns the function that a request is from, by its user agent.
pub fn function_of(headers: &HeaderMap) -> Option<String> {
    let agent = headers.get("x-amz-user-agent")?.to_str().ok()?;
    agent.split(' ').find_map(|part| part.strip_prefix("app/")).map(str::to_owned)
}

/// Returns the rights that a request needs. A transaction needs the rights to all of its writes.
pub fn needed(operation: &str, request: &Value) -> Rights {
    let right = |action: &str, table: &str| {
        // With another DynamoDB, the name of a table begins with the id of the test.
        let table = table.rsplit('-').next().unwrap();
        (format!("dynamodb:{action}"), table.to_owned())
    };
    match operation {
        "PutEvents" => Rights::from([("events:PutEvents".to_owned(), "EventBus".to_owned())]),
        "SendMessageBatch" => Rights::from([("sqs:SendMessage".to_owned(), "WebhookQueue".to_owned())]),
        "SendMessage" => Rights::from([("sqs:SendMessage".to_owned(), "FailedEvents".to_owned())]),
        "BatchGetItem" => {
            request["RequestItems"].as_object().unwrap().keys().map(|table| right(operation, table)).collect()
        }
        "TransactWriteItems" => {
            let writes = request["TransactItems"].as_array().unwrap().iter();
            let write = |(kind, write): (&String, &Value)| {
                let action =
                    if kind == "ConditionCheck" { "ConditionCheckItem" } else { &format!("{kind}Item") };
                right(action, write["TableName"].as_str().unwrap())
            };
            writes.flat_map(|item| item.as_object().unwrap()).map(write).collect()
        }
        _ => {
            let (action, table) = right(operation, request["TableName"].as_str().unwrap());
            let index = request["IndexName"].as_str().map(|index| format!("/index/{index}"));
            Rights::from([(action, table + &index.unwrap_or_default())])
        }
    }
}
