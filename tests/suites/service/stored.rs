//! Databases of earlier versions stay readable, and their cancellations take effect.
//!
//! `tests/data/stored` has whole databases as earlier versions left them, at noon of 1 February 2026 in Stockholm. Each has one
//! cancellation pending under the key `kept`, one withdrawn under `kept-too`, one refused under `refused`, and one executed.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use domain::api_key::Scope;
use harness::{ACTIVATED, ACTIVATED_TOO, CANCELLED, PENDING, Service, cancel_next_day, instant, options};
use local::up::Options;
use reqwest::Method;
use serde_json::{Value, json};

/// Reads an attribute from the JSON that DynamoDB uses.
fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = || value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "B" => AttributeValue::B(Blob::new(BASE64_STANDARD.decode(text()).unwrap())),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(attribute).collect()),
        "M" => AttributeValue::M(item(value)),
        other => panic!("{other}"),
    }
}

fn item(value: &Value) -> HashMap<String, AttributeValue> {
    let members = value.as_object().unwrap().iter();
    members.map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// Starts a service on the database that an earlier version left.
async fn with_stored(database: &str) -> Service {
    let service =
        Service::start_with(Options { now: Some(instant("2026-02-01T12:10:00Z")), ..options() }).await;
    let stored: Value = serde_json::from_str(database).unwrap();
    let tables = &service.tables;
    for (table, name) in [
        (&tables.subscriptions, "subscriptions"),
        (&tables.idempotency, "idempotency"),
        (&tables.tenants, "tenants"),
    ] {
        for stored in stored[name].as_array().unwrap() {
            let put = service.dynamodb().put_item().table_name(table).set_item(Some(item(stored)));
            put.send().await.unwrap();
        }
    }
    service
}

#[tokio::test]
async fn a_database_without_write_ids_still_works() {
    let service = with_stored(include_str!("../../data/stored/without_write_ids.json")).await;
    let pending = service.get(ACTIVATED).await;
    assert_eq!(pending.json()["pendingStatus"]["scheduledAt"], "2026-03-01");
    assert_eq!(pending.header("etag"), Some("\"2\""));
    assert_eq!(service.get(PENDING).await.json()["cancelledAt"], "2026-01-31T23:00:00Z");

    let asked = json!({
        "schedule": {"type": "CancelAtDate", "date": "2026-03-01"},
        "reason": "OTHER",
        "comment": "Moves abroad",
        "metadata": {"ticket": "T-1"},
    });
    // The record was made for a body with the members in this order.
    let bytes = r#"{"schedule": {"type": "CancelAtDate", "date": "2026-03-01"}, "reason": "OTHER", "comment": "Moves abroad", "metadata": {"ticket": "T-1"}}"#;
    assert_eq!(serde_json::from_str::<Value>(bytes).unwrap(), asked);
    let headers = [("X-Api-Key", service.api_key.as_str()), ("X-Idempotency-Key", "kept")];
    let replayed = service.cancel_as(ACTIVATED, &headers, bytes.as_bytes()).await;
    assert!(replayed.is_replay(), "{}", replayed.text());
    assert_eq!(replayed.body, pending.body);
    service
        .cancel_once(CANCELLED, "refused", &cancel_next_day())
        .await
        .assert_problem(409, "idempotency_key_mismatch");

    // A withdrawn cancellation stays withdrawn. A pending one is replaced and withdrawn like one that is written now.
    service.withdraw(ACTIVATED_TOO).await.assert_problem(409, "no_pending_cancellation");
    let if_match = [("If-Match", "\"2\"")];
    let replaced = service.cancel_with(ACTIVATED, &if_match, &cancel_next_day()).await;
    assert!(replaced.header("etag").unwrap().starts_with("\"3-"), "{replaced:?}");
    assert_eq!(service.withdraw(ACTIVATED).await.status, 200);
}

#[tokio::test]
async fn a_pending_cancellation_without_a_stored_date_is_executed() {
    let service = with_stored(include_str!("../../data/stored/without_write_ids.json")).await;
    service.set_clock("2026-02-28T22:59:59Z").await;
    assert_eq!(service.execute().await["due"], 0);
    service.set_clock("2026-02-28T23:00:00Z").await;
    let swept = service.execute().await;
    assert_eq!((&swept["due"], &swept["executed"]), (&json!(1), &json!(1)));
    assert_eq!(service.get(ACTIVATED).await.json()["cancelledAt"], "2026-02-28T23:00:00Z");
}

#[tokio::test]
async fn a_database_without_origins_still_works() {
    let service = with_stored(include_str!("../../data/stored/without_origins.json")).await;
    let read = async |subscription: &str| {
        let path = format!("/subscriptions/{subscription}/cancellation");
        let headers = [("X-Api-Key", service.api_key.as_str())];
        service.send(Method::GET, &path, &headers, b"").await
    };
    // A key of an earlier version gets the scope from the operator.
    read(ACTIVATED).await.assert_problem(403, "insufficient_scope");
    let (tenant, key) = ("demo".parse().unwrap(), "all".parse().unwrap());
    service.admin().add_scope(&tenant, &key, Scope::ReadCancellations).await.unwrap();

    let by = json!({"keyId": "all"});
    let pending = read(ACTIVATED).await.json();
    assert_eq!((&pending["state"], &pending["requestedBy"]), (&json!("PENDING"), &by));
    assert_eq!(pending["metadata"], json!({"ticket": "T-1"}));
    let withdrawn = read(ACTIVATED_TOO).await.json();
    assert_eq!((&withdrawn["state"], &withdrawn["withdrawnBy"]), (&json!("WITHDRAWN"), &by));
    let executed = read(PENDING).await.json();
    assert_eq!((&executed["state"], executed.get("executedAt")), (&json!("EXECUTED"), None));

    assert!(service.withdraw_once(ACTIVATED_TOO, "kept-too").await.is_replay());
    service.set_clock("2026-02-28T23:00:07Z").await;
    assert_eq!(service.execute().await["executed"], 1);
    let executed = read(ACTIVATED).await.json();
    assert_eq!(
        (&executed["state"], &executed["executedAt"]),
        (&json!("EXECUTED"), &json!("2026-02-28T23:00:07Z"))
    );
    let stored = service.stored(ACTIVATED).await;
    let changed_by = stored["changedBy"].as_m().unwrap();
    assert_eq!(changed_by["cause"], AttributeValue::S("EXECUTED".to_owned()));
    assert_eq!(changed_by["write"], stored["writeId"]);
}

#[tokio::test]
async fn the_history_of_an_earlier_database_begins_with_its_state_then() {
    let database = with_stored(include_str!("../../data/stored/without_origins.json")).await;
    let (tenant, key) = ("demo".parse().unwrap(), "all".parse().unwrap());
    database.admin().add_scope(&tenant, &key, Scope::ReadCancellations).await.unwrap();
    let (dynamodb_endpoint, tables) = (Some(database.dynamodb_url.clone()), database.tables.clone());
    let service =
        Service::start_with(Options { dynamodb_endpoint, tables, publishes: true, ..options() }).await;
    let path = format!("/subscriptions/{ACTIVATED}/history");
    let headers = [("X-Api-Key", service.api_key.as_str())];
    let page = service.send(Method::GET, &path, &headers, b"").await.json();
    let first = page["items"][0].clone();
    assert_eq!(page["items"], json!([first]));
    assert_eq!(
        (&first["version"], &first["cause"], &first["source"]),
        (&json!(2), &json!("IMPORTED"), &json!("IMPORT"))
    );
    assert_eq!(first["cancellation"]["state"], "PENDING");

    // The first change is recorded behind it.
    service.withdraw(ACTIVATED).await;
    let entries = service.until_recorded(ACTIVATED, 3).await;
    assert_eq!(entries[1..], [first]);
    assert_eq!(
        (&entries[0]["cause"], &entries[0]["cancellation"]["state"]),
        (&json!("WITHDRAWN"), &json!("WITHDRAWN"))
    );
}
