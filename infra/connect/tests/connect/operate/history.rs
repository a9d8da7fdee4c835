//! History: `subscriptions history`, `history repair`, and the doctor's sample.

use ::store::tables::TableNames;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use harness::{ACTIVATED, Service, cancel_at, options};
use local::up::Options;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Said, connect_at, connect_in};

/// Later than all changes by more than the time that an entry may take.
const LATER: &str = "2026-01-31T22:45:00Z";

/// Starts a service, cancels a subscription, replaces the cancellation, and waits for the entries.
async fn start() -> Service {
    let service = Service::start_with(Options { publishes: true, ..options() }).await;
    for date in ["2026-03-01", "2026-03-02"] {
        assert_eq!(service.cancel(ACTIVATED, &cancel_at(date)).await.status, 200);
    }
    service.until_recorded(ACTIVATED, 3).await;
    service
}

async fn history(service: &Service, more: &[&str]) -> Said {
    history_in(service, &service.tables, more).await
}

async fn history_in(service: &Service, tables: &TableNames, more: &[&str]) -> Said {
    let history = ["subscriptions", "history", "--tenant", "demo", "rid_crm-1001"];
    connect_in(service, tables, LATER, &[&history[..], more].concat()).await
}

async fn repair(service: &Service, more: &[&str]) -> Said {
    repair_in(service, &service.tables, more).await
}

async fn repair_in(service: &Service, tables: &TableNames, more: &[&str]) -> Said {
    connect_in(service, tables, LATER, &[&["history", "repair", "--json"][..], more].concat()).await
}

/// Copies the subscriptions into a table that has no stream. Returns the tables with it.
async fn without_stream(service: &Service) -> TableNames {
    let name = format!("{}-subscriptions", Uuid::new_v4());
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
    let text = AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S);
    let table = service.dynamodb().create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    let table = table.key_schema(key).attribute_definitions(text.build().unwrap());
    table.send().await.unwrap();
    for item in service.scan("subscriptions").await {
        let put = service.dynamodb().put_item().table_name(&name).set_item(Some(item));
        put.send().await.unwrap();
    }
    TableNames { subscriptions: name, ..service.tables.clone() }
}

/// Removes the entry of a version, as no part of the service can.
async fn remove(service: &Service, version: u64) {
    let items = service.history_of(ACTIVATED).await;
    let is_it = |revision: &&AttributeValue| revision.as_s().unwrap().starts_with(&format!("{version:020}"));
    let revision = items.iter().map(|item| &item["revision"]).find(is_it).unwrap();
    let delete = service.dynamodb().delete_item().table_name(&service.tables.history);
    let delete = delete.key("pk", AttributeValue::S(format!("demo#{ACTIVATED}")));
    delete.key("revision", revision.clone()).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_subscription_is_shown_and_verified() {
    let service = start().await;
    let shown = history(&service, &["--json"]).await.json();
    assert_eq!(shown["items"], json!(service.until_recorded(ACTIVATED, 3).await));
    assert_eq!((&shown["tenant"], &shown["subscriptionId"]), (&json!("demo"), &json!(ACTIVATED)));
    assert_eq!(shown.get("verification"), None);

    let text = history(&service, &["--verify"]).await.done();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("VERSION  AT"), "{text}");
    assert!(
        lines[1].contains("REPLACED   API     key ") && lines[1].ends_with("PENDING 2026-03-02 NO_NEED"),
        "{text}"
    );
    assert!(lines[3].contains("IMPORTED   IMPORT"), "{text}");
    let proof = "ok     3 changes without a gap, from version 1 to the subscription as it is, version 3";
    assert_eq!(lines[4..], ["", proof], "{text}");
    let verified = history(&service, &["--verify", "--json"]).await.json();
    assert_eq!(verified["verification"], json!({"faults": [], "elsewhere": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_entry_is_found_and_made_again_from_the_stream() {
    let service = start().await;
    let complete = service.history_of(ACTIVATED).await;
    let doctor = async || connect_at(&service, LATER, &["doctor"]).await.out;
    assert!(doctor().await.contains("ok      history   complete for "), "{}", doctor().await);
    for version in [2, 3] {
        remove(&service, version).await;
    }
    let text = history(&service, &["--verify"]).await;
    assert!(text.out.ends_with("WRONG  the entries of versions 2 to 3 are missing\n"), "{text:?}");
    assert_eq!(text.failed(1), "1 fault in the history");
    let fault = format!("demo#{ACTIVATED} (the entries of versions 2 to 3 are missing)");
    let wrong = format!("WRONG   history   1 of 8 have faults: {fault}");
    assert!(doctor().await.contains(&wrong), "{}", doctor().await);

    let listed: Value = serde_json::from_str(&repair(&service, &["--dry-run"]).await.out).unwrap();
    assert_eq!((&listed[0]["added"], service.history_of(ACTIVATED).await.len()), (&json!(0), 1));
    let repaired = repair(&service, &[]).await.json();
    assert_eq!(repaired, json!([{"key": format!("demo#{ACTIVATED}"), "added": 2, "faults": []}]));
    assert_eq!(service.history_of(ACTIVATED).await, complete);
    history(&service, &["--verify"]).await.done();
    assert_eq!(repair(&service, &[]).await.json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_stream_the_last_change_is_known_from_the_subscription_and_others_stay_missing() {
    let service = start().await;
    let tables = without_stream(&service).await;
    let newest = history(&service, &["--json"]).await.json()["items"][0].clone();
    remove(&service, 3).await;
    assert_eq!(repair_in(&service, &tables, &[]).await.json()[0]["added"], 1);
    // The replaced cancellation is known from the entry before.
    assert_eq!(history_in(&service, &tables, &["--verify", "--json"]).await.json()["items"][0], newest);

    remove(&service, 2).await;
    let left = repair_in(&service, &tables, &[]).await;
    let faults: Value = serde_json::from_str(&left.out).unwrap();
    assert_eq!(faults[0]["faults"], json!(["the entry of version 2 is missing"]));
    assert_eq!(left.failed(1), "1 history has faults");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repair_of_another_systems_write_names_no_maker() {
    let service = start().await;
    let version = AttributeValue::N("4".to_owned());
    service.update("subscriptions", &format!("demo#{ACTIVATED}"), "SET version = :value", version).await;
    let other = service.until_recorded(ACTIVATED, 4).await[0].clone();
    let tables = without_stream(&service).await;
    remove(&service, 4).await;
    assert_eq!(repair_in(&service, &tables, &[]).await.json()[0]["added"], 1);
    let repaired = history_in(&service, &tables, &["--verify", "--json"]).await.json();
    let newest = &repaired["items"][0];
    assert_eq!((&newest["cause"], &newest["source"]), (&json!("IMPORTED"), &json!("IMPORT")));
    assert_eq!((newest.get("requestedBy"), newest.get("requestId")), (None, None));
    assert_eq!(newest["cancellation"], other["cancellation"]);
    assert_eq!(repaired["verification"]["faults"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_outlives_its_subscription() {
    let service = start().await;
    let delete = service.dynamodb().delete_item().table_name(&service.tables.subscriptions);
    delete.key("pk", AttributeValue::S(format!("demo#{ACTIVATED}"))).send().await.unwrap();
    let by_id = ["subscriptions", "history", "--tenant", "demo", ACTIVATED];
    let shown = connect_at(&service, LATER, &by_id).await;
    assert!(shown.notes.contains("the subscription does not exist; its history stays"), "{shown:?}");
    assert_eq!(shown.out.lines().count(), 4);
    history(&service, &[]).await.failed(1);
}
