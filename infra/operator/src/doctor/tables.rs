//! Checks the tables, with their keys, index, stream and expiry, and the rights to inspect them.

use serde_json::{Value, json};
use store::Admin;
use store::inspect::{InspectedTable, TableFault, WantedIndex};
use store::tables::{ATTEMPTS_INDEX, CUSTOMER_INDEX, DUE_INDEX, MSISDN_INDEX, TableNames};

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
                needed.all(|table| table.faults.iter().all(leaves_readable))
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

/// Returns true if the other checks don't need this part.
fn leaves_readable(fault: &TableFault) -> bool {
    match fault {
        TableFault::NoStream => true,
        TableFault::NoIndex(index) | TableFault::OtherIndex(index) | TableFault::IndexNotActive(index, _) => {
            index.name != DUE_INDEX
        }
        _ => false,
    }
}

fn findings(table: &InspectedTable, names: &TableNames) -> Vec<Finding> {
    let InspectedTable { name, faults } = table;
    if faults.is_empty() {
        let parts = if *name == names.subscriptions {
            "keys, indexes and stream are"
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
        let (what, fix) = describe(name, fault);
        Finding::wrong("tables", format!("{name}: {what}"), fix)
    };
    faults.iter().map(wrong).collect()
}

/// Returns the consequence of a missing index.
fn without(index: &str) -> &'static str {
    match index {
        DUE_INDEX => "so nothing is executed",
        ATTEMPTS_INDEX => "so attempts can't be listed",
        _ => "so no subscription is found by it",
    }
}

/// Returns the command that creates an index.
fn create(table: &str, index: &WantedIndex) -> String {
    let WantedIndex { name, keys, projection, attributes } = index;
    let types = keys.iter().map(|(key, letter)| format!("AttributeName={key},AttributeType={letter}"));
    let kinds = ["HASH", "RANGE"];
    let schema =
        keys.iter().zip(kinds).map(|((key, _), kind)| json!({"AttributeName": key, "KeyType": kind}));
    let projection = match attributes.as_slice() {
        [] => json!({"ProjectionType": projection}),
        _ => json!({"ProjectionType": projection, "NonKeyAttributes": attributes}),
    };
    let create = json!([{"Create": {
        "IndexName": name,
        "KeySchema": schema.collect::<Value>(),
        "Projection": projection,
    }}]);
    format!(
        "run aws dynamodb update-table --table-name {table} --attribute-definitions {} \
         --global-secondary-index-updates '{create}'",
        types.collect::<Vec<_>>().join(" ")
    )
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
        TableFault::NoIndex(index) => {
            let WantedIndex { name, .. } = index;
            let fix = if [MSISDN_INDEX, CUSTOMER_INDEX].contains(&name.as_str()) {
                // An index that is created by hand would be in the way of the template's.
                "on AWS: infra/README.md, Add the search indexes to a stack of version 0.1; otherwise, run connect \
                 tables create, and then connect subscriptions index"
                    .to_owned()
            } else {
                create(table, index)
            };
            (format!("it has no index {name}, {}", without(name)), fix)
        }
        TableFault::OtherIndex(WantedIndex { name, keys, attributes, .. }) => {
            let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
            let lacks = if attributes.is_empty() { "attributes".to_owned() } else { attributes.join(", ") };
            (
                format!("its index {name} has other keys than {}, or leaves out {lacks}", keys.join(" and ")),
                format!(
                    "delete the index (aws dynamodb update-table --table-name {table} \
                     --global-secondary-index-updates '[{{\"Delete\": {{\"IndexName\": \"{name}\"}}}}]'), and run \
                     connect doctor again"
                ),
            )
        }
        TableFault::IndexNotActive(WantedIndex { name, .. }, status) => {
            (format!("the status of its index {name} is {status}"), "wait until it is ACTIVE".to_owned())
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
