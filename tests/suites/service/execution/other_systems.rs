//! The execution of cancellations in a table that other systems write to as well. A cancellation is executed only if all parts of
//! the item agree that it is pending.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, BLOCKED, Service, cancel_at, cancel_next_day, options};
use local::up::Options;
use serde_json::json;

use super::{execute, summary};

/// Sets an attribute of the document of a subscription, as another system does: with a new version.
async fn write_as_another_system(
    service: &Service,
    subscription: &str,
    expression: &str,
    value: AttributeValue,
) {
    service
        .dynamodb()
        .update_item()
        .table_name(&service.tables.subscriptions)
        .key("pk", AttributeValue::S(format!("demo#{subscription}")))
        .update_expression(format!("{expression} ADD version :one"))
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":value", value)
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_cancellation_that_the_document_has_lost_is_not_executed() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    // Another system overwrites the document with its own, which has no cancellation.
    let document = AttributeValue::M(HashMap::from([
        ("subscriptionId".to_owned(), AttributeValue::S(ACTIVATED.to_owned())),
        ("status".to_owned(), AttributeValue::S("ACTIVATED".to_owned())),
    ]));
    let update = service
        .dynamodb()
        .update_item()
        .table_name(&service.tables.subscriptions)
        .key("pk", AttributeValue::S(format!("demo#{ACTIVATED}")))
        .update_expression("SET document = :document ADD version :one")
        .expression_attribute_values(":document", document)
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    update.send().await.unwrap();
    assert_eq!(service.get(ACTIVATED).await.json().get("pendingStatus"), None);
    service.withdraw(ACTIVATED).await.assert_problem(409, "no_pending_cancellation");

    service.cancel(BLOCKED, &cancel_next_day()).await;
    service.set_clock("2026-02-01T10:00:00Z").await;
    let swept = service.execute().await;
    assert_eq!((&swept["executed"], &swept["failed"], &swept["skipped"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "ACTIVATED");
    // The item counts as failed for as long as it is in the index. It does not make the lag of the others longer.
    let swept = service.execute().await;
    assert_eq!((&swept["failed"], &swept["lagSeconds"]), (&json!(1), &json!(0)));

    // A new cancellation repairs the item.
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    service.set_clock("2026-02-02T10:00:00Z").await;
    assert_eq!(execute(&service).await, summary(1, 1));
}

#[tokio::test]
async fn a_subscription_cancelled_by_another_system_is_not_executed_and_not_late() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let cancelled = AttributeValue::S("CANCELLED".to_owned());
    write_as_another_system(&service, ACTIVATED, "SET document.#status = :value", cancelled).await;
    let before = service.stored(ACTIVATED).await;
    assert_eq!(service.get(ACTIVATED).await.json().get("pendingStatus"), None);

    service.set_clock("2026-02-10T00:00:00Z").await;
    let swept = service.execute().await;
    assert_eq!((&swept["due"], &swept["failed"], &swept["lagSeconds"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(service.stored(ACTIVATED).await, before);
}

#[tokio::test]
async fn an_unknown_status_is_not_overwritten() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let unknown = AttributeValue::S("TERMINATED".to_owned());
    write_as_another_system(&service, ACTIVATED, "SET document.#status = :value", unknown).await;
    let before = service.stored(ACTIVATED).await;
    service.set_clock("2026-02-10T00:00:00Z").await;
    let swept = service.execute().await;
    assert_eq!((&swept["due"], &swept["failed"], &swept["lagSeconds"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(service.stored(ACTIVATED).await, before);
}

#[tokio::test]
async fn an_instant_at_the_end_of_time_does_not_hold_up_the_others() {
    // Both instants sort before every instant that the service writes into the index. One of them has begun, and so has the
    // date.
    for (zone, end, executed, failed) in [
        ("Pacific/Kiritimati", "+262142-12-31T23:59:59Z", 1, 1),
        ("America/Adak", "-262143-01-01T00:00:00Z", 2, 0),
    ] {
        let service = Service::start_with(Options { time_zone: zone.parse().unwrap(), ..options() }).await;
        for subscription in [ACTIVATED, BLOCKED] {
            assert_eq!(service.cancel(subscription, &cancel_at("2026-02-10")).await.status, 200);
        }
        let value = AttributeValue::S(end.to_owned());
        let expression =
            "SET dueAt = :value, cancellation.effectiveAt = :value, document.#status = document.#status";
        write_as_another_system(&service, ACTIVATED, expression, value).await;
        let is_told = service.get(ACTIVATED).await.json().get("pendingStatus").is_some();
        assert_eq!(is_told, failed == 0, "{zone}");
        service.set_clock("2026-02-05T00:00:00Z").await;
        assert_eq!(service.execute().await["executed"], 0, "{zone}");
        service.set_clock("2026-02-15T00:00:00Z").await;
        let swept = service.execute().await;
        assert_eq!((&swept["executed"], &swept["failed"]), (&json!(executed), &json!(failed)), "{zone}");
        let status = if is_told { "CANCELLED" } else { "ACTIVATED" };
        assert_eq!(service.get(ACTIVATED).await.json()["status"], status, "{zone}");
    }
}

#[tokio::test]
async fn a_cancellation_whose_date_another_system_changed_is_not_executed() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let later = AttributeValue::S("2026-06-01".to_owned());
    let expression = "SET document.pendingStatus.scheduledAt = :value, document.#status = document.#status";
    write_as_another_system(&service, ACTIVATED, expression, later).await;
    service.set_clock("2026-02-01T10:00:00Z").await;
    assert_eq!(service.execute().await["failed"], 1);
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "ACTIVATED");
}

#[tokio::test]
async fn an_attribute_added_by_another_system_does_not_stop_the_execution() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let name = AttributeValue::S("new".to_owned());
    write_as_another_system(
        &service,
        ACTIVATED,
        "SET document.#status = document.#status, vault = :value",
        name,
    )
    .await;
    service.set_clock("2026-01-31T23:00:00Z").await;
    assert_eq!(execute(&service).await, summary(1, 1));
    assert_eq!(service.version(ACTIVATED).await, 4);
}
