//! Checks the tables, with their keys, index, stream and expiry, and the rights to inspect them.

use store::Admin;
use store::inspect::{InspectedTable, TableFault};
use store::tables::TableNames;

use super::Finding;

/// The tables that later checks can read.
pub(super) struct Readable {
    /// The index can be queried for the cancellations that are due.
    pub(super) index: bool,
    /// The history can be queried, and the subscriptions scanned.
    pub(super) history: bool,
}

/// Checks the credentials and the tables. Also returns which of them can be read.
pub(super) async fn check(store: &Admin, names: &TableNames) -> (Vec<Finding>, Readable) {
    match store.inspect_tables().await {
        Ok(tables) => {
            let rights = Finding::ok("rights", "the credentials are accepted");
            let can_be_read = |needed: [&String; 2]| {
                let mut needed = tables.iter().filter(|table| needed.contains(&&table.name));
                needed.all(|table| table.faults.iter().all(|fault| *fault == TableFault::NoStream))
            };
            let readable = Readable {
                index: can_be_read([&names.subscriptions, &names.tenants]),
                history: can_be_read([&names.subscriptions, &names.history]),
            };
            let findings = tables.iter().flat_map(|table| findings(table, names));
            ([rights].into_iter().chain(findings).collect(), readable)
        }
        Err(cause) => {
            let rights = Finding::wrong(
                "rights",
                cause.to_string(),
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN: their owner, expiry and \
                 rights (dynamodb:DescribeTable and dynamodb:DescribeTimeToLive)",
            );
            // Credentials without the right to inspect tables may still query them.
            (vec![rights], Readable { index: true, history: true })
        }
    }
}

fn findings(table: &InspectedTable, names: &TableNames) -> Vec<Finding> {
    let InspectedTable { name, faults } = table;
    if faults.is_empty() {
        let parts = if *name == names.subscriptions {
            "keys, index and stream are"
        } else if *name == names.idempotency {
            "keys and expiry are"
        } else if *name == names.deliveries {
            "keys, index and expiry are"
        } else {
            "keys are"
        };
        return vec![Finding::ok("tables", format!("{name}: {parts} as they should be"))];
    }
    let wrong = |fault: &TableFault| {
        let (what, fix) = match fault {
            TableFault::NoIndex | TableFault::OtherIndex if *name == names.deliveries => {
                describe_attempts(name, fault)
            }
            _ => describe(name, fault),
        };
        Finding::wrong("tables", format!("{name}: {what}"), fix)
    };
    faults.iter().map(wrong).collect()
}

/// Describes a fault of the index of attempts, and its fix.
fn describe_attempts(table: &str, fault: &TableFault) -> (String, String) {
    match fault {
        TableFault::NoIndex => (
            "it has no index attempts, so attempts can't be listed".to_owned(),
            format!(
                "run aws dynamodb update-table --table-name {table} --attribute-definitions \
                 AttributeName=webhook,AttributeType=S AttributeName=at,AttributeType=S \
                 --global-secondary-index-updates '[{{\"Create\": {{\"IndexName\": \"attempts\", \"KeySchema\": \
                 [{{\"AttributeName\": \"webhook\", \"KeyType\": \"HASH\"}}, {{\"AttributeName\": \"at\", \
                 \"KeyType\": \"RANGE\"}}], \"Projection\": {{\"ProjectionType\": \"ALL\"}}}}}}]'"
            ),
        ),
        _ => (
            "its index attempts has other keys than webhook and at, or leaves out attributes".to_owned(),
            format!(
                "delete the index (aws dynamodb update-table --table-name {table} \
                 --global-secondary-index-updates '[{{\"Delete\": {{\"IndexName\": \"attempts\"}}}}]'), and run connect doctor again"
            ),
        ),
    }
}

/// Describes a fault, and its fix.
fn describe(table: &str, fault: &TableFault) -> (String, String) {
    match fault {
        TableFault::Missing => (
            "there is no such table".to_owned(),
            "export the variables in the stack's output Environment; without a stack, run connect tables create"
                .to_owned(),
        ),
        TableFault::NotActive(status) => (format!("its status is {status}"), "wait until it is ACTIVE".to_owned()),
        TableFault::OtherKeys => (
            "its keys are not those of this table".to_owned(),
            "this is another table: name the right one in SUBSCRIPTIONS_TABLE, IDEMPOTENCY_TABLE, \
             TENANTS_TABLE, HISTORY_TABLE, WEBHOOKS_TABLE or DELIVERIES_TABLE"
                .to_owned(),
        ),
        TableFault::NoIndex => (
            "it has no index due, so nothing is executed".to_owned(),
            format!(
                "run aws dynamodb update-table --table-name {table} --attribute-definitions \
                 AttributeName=dueShard,AttributeType=N AttributeName=dueAt,AttributeType=S \
                 --global-secondary-index-updates '[{{\"Create\": {{\"IndexName\": \"due\", \"KeySchema\": \
                 [{{\"AttributeName\": \"dueShard\", \"KeyType\": \"HASH\"}}, {{\"AttributeName\": \"dueAt\", \
                 \"KeyType\": \"RANGE\"}}], \"Projection\": {{\"ProjectionType\": \"INCLUDE\", \
                 \"NonKeyAttributes\": [\"cancellationId\"]}}}}}}]'"
            ),
        ),
        TableFault::OtherIndex => (
            "its index due has other keys than dueShard and dueAt, or leaves out cancellationId".to_owned(),
            format!(
                "delete the index (aws dynamodb update-table --table-name {table} \
                 --global-secondary-index-updates '[{{\"Delete\": {{\"IndexName\": \"due\"}}}}]'), and run connect doctor again"
            ),
        ),
        TableFault::IndexNotActive(status) => {
            (format!("the status of its index is {status}"), "wait until it is ACTIVE".to_owned())
        }
        TableFault::NoStream => (
            "its changes are not streamed with new and old images".to_owned(),
            format!(
                "on AWS, restore it: infra/README.md, Undo a change made by hand; otherwise, run aws dynamodb \
                 update-table --table-name {table} --stream-specification \
                 StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
            ),
        ),
        TableFault::NoExpiry => (
            "items that have expired are not removed (idempotency keys still become free after 24 hours)".to_owned(),
            format!(
                "run aws dynamodb update-time-to-live --table-name {table} \
                 --time-to-live-specification Enabled=true,AttributeName=removeAt"
            ),
        ),
    }
}
