//! The doctor: its findings, and the fixes that it names.

use std::net::TcpListener;

use ::store::tables::TableNames;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, TimeToLiveSpecification,
};
use harness::{ACTIVATED, Service, cancel_next_day, tables_named, variables_of};
use serde_json::Value;
use uuid::Uuid;

use super::{Said, connect, connect_at, connect_in, process};

/// Starts a service with separate tables, created by `connect tables create`.
async fn with_tables() -> (Service, TableNames) {
    let service = Service::start().await;
    let tables = tables_named(&Uuid::new_v4().to_string());
    let created = connect_in(&service, &tables, harness::START, &["tables", "create", "--json"]).await.json();
    assert_eq!(created["created"].as_array().unwrap().len(), 6);
    let again = connect_in(&service, &tables, harness::START, &["tables", "create", "--json"]).await.json();
    assert_eq!(again["existed"].as_array().unwrap().len(), 6);
    (service, tables)
}

/// Returns the faults that the doctor finds, except that of the clock, which is stopped in tests.
async fn wrong(service: &Service, tables: &TableNames) -> Vec<String> {
    let said = connect_in(service, tables, harness::START, &["doctor", "--json"]).await;
    let findings: Value = serde_json::from_str(&said.out).unwrap();
    let wrong = findings.as_array().unwrap().iter().filter(|finding| {
        assert_eq!(finding["state"] == "wrong", finding.get("fix").is_some(), "{finding}");
        finding["state"] == "wrong" && finding["check"] != "clock"
    });
    wrong.map(|finding| finding["what"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_created_by_connect_pass_the_doctor() {
    let (service, tables) = with_tables().await;
    assert_eq!(wrong(&service, &tables).await, [""; 0]);

    let mut command = process(&service, &service.dynamodb_url, &["doctor"]);
    let said = Said::of(command.envs(variables_of(&tables)).output().unwrap()).done();
    for check in ["zones", "database", "rights", "clock", "tables", "lag"] {
        assert!(said.contains(&format!("ok      {check}")), "{check}: {said}");
    }
    assert!(said.contains("?       schedule"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_malformed_table_is_named() {
    let (service, tables) = with_tables().await;
    let dynamodb = service.dynamodb();
    let missing = TableNames { tenants: "nowhere".to_owned(), ..tables.clone() };
    assert_eq!(wrong(&service, &missing).await, ["nowhere: there is no such table"]);
    let missing = TableNames { history: "nowhere".to_owned(), ..tables.clone() };
    assert_eq!(wrong(&service, &missing).await, ["nowhere: there is no such table"]);

    // This table has other keys, and no index, stream or expiry.
    let other = format!("{}-other", Uuid::new_v4());
    let key = |kind| KeySchemaElement::builder().attribute_name("id").key_type(kind).build().unwrap();
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let request = dynamodb.create_table().table_name(&other).billing_mode(BillingMode::PayPerRequest);
    request.key_schema(key(KeyType::Hash)).attribute_definitions(id.build().unwrap()).send().await.unwrap();
    let as_subscriptions = TableNames { subscriptions: other.clone(), ..tables.clone() };
    let faults = wrong(&service, &as_subscriptions).await;
    let expected = [
        "its keys are not those of this table",
        "it has no index due, so nothing is executed",
        "it has no index msisdn, so no subscription is found by it",
        "it has no index customerId, so no subscription is found by it",
        "its changes are not streamed with new and old images",
    ];
    // Without an index, nothing is reported about cancellations that are due.
    assert_eq!(faults, expected.map(|fault| format!("{other}: {fault}")));
    let as_idempotency = TableNames { idempotency: other.clone(), ..tables.clone() };
    let faults = wrong(&service, &as_idempotency).await;
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[1].contains("items that have expired are not removed"), "{faults:?}");
    let as_deliveries = TableNames { deliveries: other.clone(), ..tables.clone() };
    let faults = wrong(&service, &as_deliveries).await;
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[1].contains("it has no index attempts"), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_stream_or_expiry_is_noticed() {
    let (service, tables) = with_tables().await;
    let dynamodb = service.dynamodb();
    let off = TimeToLiveSpecification::builder().enabled(false).attribute_name("removeAt").build().unwrap();
    let request = dynamodb.update_time_to_live().table_name(&tables.idempotency);
    request.time_to_live_specification(off).send().await.unwrap();
    let off = StreamSpecification::builder().stream_enabled(false).build().unwrap();
    let request = dynamodb.update_table().table_name(&tables.subscriptions);
    request.stream_specification(off).send().await.unwrap();
    let faults = wrong(&service, &tables).await;
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].ends_with("its changes are not streamed with new and old images"), "{faults:?}");
    assert!(faults[1].contains("items that have expired are not removed"), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_and_late_cancellations_are_noticed() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    let late = connect_at(&service, "2026-01-31T23:05:01Z", &["doctor"]).await;
    assert!(late.out.contains("WRONG   clock     this machine's (2026-01-31T23:05:01Z) is"), "{late:?}");
    assert!(late.out.contains("s behind the database's"), "{late:?}");
    assert!(late.out.contains("WRONG   lag       1 cancellation due, the oldest for 301 s"), "{late:?}");
    assert_eq!(late.code, 1);
    let ahead = connect_at(&service, "2999-01-31T23:05:01Z", &["doctor"]).await;
    assert!(ahead.out.contains("s ahead of the database's"), "{ahead:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_and_a_refusing_one_are_reported_differently() {
    let (_database, service, wire) = Service::start_wired().await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = Said::of(process(&service, &format!("http://{free}"), &["doctor"]).output().unwrap());
    assert!(said.out.starts_with(&format!("WRONG   database  http://{free} can't be reached")), "{said:?}");
    assert_eq!(said.failed(1), "1 thing is wrong");

    wire.always("DescribeTable", harness::Fault::refusal("UnrecognizedClientException"));
    let mut command = process(&service, &wire.url, &["doctor"]);
    let said = tokio::task::spawn_blocking(move || Said::of(command.output().unwrap())).await.unwrap();
    assert!(
        said.out.contains("WRONG   rights    the database refused a request: UnrecognizedClient"),
        "{said:?}"
    );
    assert_eq!(said.failed(1), "1 thing is wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_create_leaves_existing_tables_and_says_so() {
    let service = Service::start().await;
    let said = connect(&service, &["tables", "create"]).done();
    let tables = variables_of(&service.tables).map(|(_, table)| table).join(", ");
    assert_eq!(said, format!("created: none; existed already: {tables}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_an_unreadable_time_zone_is_named_until_a_valid_one_is_set() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let update = service.dynamodb().update_item().table_name(&service.tables.tenants);
    let update =
        update.key("pk", AttributeValue::S("demo".to_owned())).update_expression("SET #zone = :zone");
    let update = update.expression_attribute_names("#zone", "timeZone");
    let nowhere = AttributeValue::S("Nope/Nope".to_owned());
    update.expression_attribute_values(":zone", nowhere).send().await.unwrap();
    let doctor = connect_at(&service, harness::START, &["doctor"]).await.out;
    assert!(doctor.contains("WRONG   tenants   1 tenant without a readable time zone: demo"), "{doctor}");
    let moved = connect_at(&service, harness::START, &["cancellations", "rederive", "--dry-run"]).await;
    assert!(moved.notes.contains("malformed or missing item: demo\n"), "{moved:?}");
    assert_eq!(moved.code, 1);
    connect_at(&service, harness::START, &["tenants", "set-time-zone", "demo", "UTC"]).await.done();
    let doctor = connect_at(&service, harness::START, &["doctor"]).await.out;
    assert!(doctor.contains("ok      tenants   each has a time zone"), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_names_a_subscription_without_a_document() {
    let service = Service::start().await;
    let key = format!("demo#{ACTIVATED}");
    let shard = AttributeValue::N("1".to_owned());
    service.update("subscriptions", &key, "SET dueShard = :value REMOVE document", shard).await;
    let repair = ["cancellations", "repair", "--by", "document", "--yes"];
    let said = connect_at(&service, harness::START, &repair).await;
    assert!(said.notes.contains(&format!("malformed or missing item: {key}\n")), "{said:?}");
    assert_eq!(said.code, 1);
}
