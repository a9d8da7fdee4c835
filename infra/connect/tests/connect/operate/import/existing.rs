//! Stored subscriptions that an import keeps, updates or overwrites.

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, ACTIVATED_TOO, CANCELLED, Service, cancel_at, cancel_next_day};
use serde_json::json;

use super::super::{ID, connect};
use super::{counts, document, import};

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_subscription_is_replaced_only_on_request() {
    let service = Service::start().await;
    let renamed = [document(ACTIVATED, json!({"display": "new", "referenceId": "crm-1001"}))];
    assert_eq!(counts(&import(&service, &renamed, &[])), [0, 0, 0, 1, 0]);
    assert_ne!(service.get(ACTIVATED).await.json()["display"], "new");

    // Attributes that another system keeps beside the document stay.
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET billing = :value", AttributeValue::S("b-1".into())).await;
    let update = ["--existing", "update"];
    assert_eq!(counts(&import(&service, &renamed, &update)), [0, 1, 0, 0, 0]);
    assert_eq!(service.get("rid_crm-1001").await.json()["display"], "new");
    assert_eq!(service.version(ACTIVATED).await, 2);
    assert!(service.stored(ACTIVATED).await.contains_key("billing"));

    assert_eq!(counts(&import(&service, &renamed, &update)), [0, 0, 1, 0, 0]);
    assert_eq!(service.version(ACTIVATED).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_undoes_a_cancellation_only_on_request() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2026-02-10")).await.status, 200);
    let documents = [ACTIVATED, CANCELLED].map(|id| document(id, json!({"display": "new"})));
    for existing in ["keep", "update"] {
        assert_eq!(counts(&import(&service, &documents, &["--existing", existing])), [0, 0, 0, 2, 0]);
    }
    assert_eq!(service.get(ACTIVATED).await.json()["pendingStatus"]["scheduledAt"], "2026-02-10");
    assert_eq!(service.due("2026-03-01T00:00:00Z").await, [ACTIVATED]);
    assert_eq!(service.get(CANCELLED).await.json()["status"], "CANCELLED");

    let overwrite = ["--existing", "overwrite"];
    let said = import(&service, &documents, &overwrite).failed(2);
    assert!(said.ends_with("add --yes"), "{said}");
    assert_eq!(service.due("2026-03-01T00:00:00Z").await, [ACTIVATED]);

    let overwrite = [&overwrite[..], &["--yes"]].concat();
    let said = import(&service, &documents, &overwrite);
    assert_eq!(counts(&said), [0, 2, 0, 0, 0]);
    assert!(said.out.contains(r#""undone":2"#) && said.notes.contains(ACTIVATED), "{said:?}");
    assert_eq!(service.due("2026-03-01T00:00:00Z").await, [""; 0]);
    for id in [ACTIVATED, CANCELLED] {
        let answer = service.cancel(id, &cancel_next_day()).await;
        assert_eq!(answer.json()["pendingStatus"]["scheduledAt"], "2026-02-01", "{}", answer.text());
    }
    service.set_clock("2026-01-31T23:00:00Z").await;
    assert_eq!(service.execute().await["executed"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_undoes_a_withdrawal_only_on_request() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2099-02-10")).await.status, 200);
    let documents = [service.get(ACTIVATED).await.json()];
    assert_eq!(service.withdraw(ACTIVATED).await.status, 200);
    for existing in ["keep", "update"] {
        assert_eq!(counts(&import(&service, &documents, &["--existing", existing])), [0, 0, 0, 1, 0]);
    }
    assert_eq!(service.due("9999-01-01T00:00:00Z").await, [""; 0]);
    let said = import(&service, &documents, &["--existing", "overwrite", "--yes"]);
    assert!(said.out.contains(r#""undone":1"#), "{said:?}");
    assert_eq!(service.due("9999-01-01T00:00:00Z").await, [ACTIVATED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_cancellation_replaces_a_pending_one_only_on_request() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2026-02-10")).await.status, 200);
    let pending = json!({"pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-02-05"}});
    let documents = [document(ACTIVATED, pending)];
    assert_eq!(counts(&import(&service, &documents, &["--existing", "update"])), [0, 0, 0, 1, 0]);
    assert_eq!(counts(&import(&service, &documents, &["--existing", "overwrite", "--yes"])), [0, 0, 0, 0, 1]);
    let overwrite = ["--existing", "overwrite", "--yes", "--overdue"];
    assert_eq!(counts(&import(&service, &documents, &overwrite)), [0, 1, 0, 0, 0]);
    assert_eq!(service.due("2026-02-04T23:00:00Z").await, [ACTIVATED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_cancellation_is_imported_only_on_request() {
    let service = Service::start().await;
    // The command uses the clock of this machine, by which this date is long past.
    let pending = json!({"pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-01-31"}});
    let documents = [document(ID, pending)];
    let said = import(&service, &documents, &[]);
    assert_eq!(counts(&said), [0, 0, 0, 0, 1]);
    assert!(said.notes.starts_with("line 1: pendingStatus: the date has begun"), "{said:?}");
    assert_eq!(service.get(ID).await.status, 404);

    assert_eq!(counts(&import(&service, &documents, &["--overdue"])), [1, 0, 0, 0, 0]);
    assert_eq!(service.execute().await["executed"], 1);
    // The subscription is cancelled by now, and is kept so.
    assert_eq!(counts(&import(&service, &documents, &[])), [0, 0, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_repeats_a_cancellation_keeps_its_reason_and_instant() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2026-02-10")).await.status, 200);
    let before = service.stored(ACTIVATED).await;
    let store = service.admin();
    store.set_time_zone(&"demo".parse().unwrap(), &"Asia/Tokyo".parse().unwrap()).await.unwrap();
    let mut document = service.get(ACTIVATED).await.json();
    for (existing, display) in [("update", "new"), ("overwrite", "newer")] {
        document["display"] = json!(display);
        let said = import(&service, &[document.clone()], &["--existing", existing, "--yes"]);
        assert_eq!(counts(&said), [0, 1, 0, 0, 0]);
        let after = service.stored(ACTIVATED).await;
        for name in ["cancellationId", "cancellation", "dueAt", "dueShard"] {
            assert_eq!(after[name], before[name], "{existing}");
        }
        assert_eq!(service.get(ACTIVATED).await.json()["display"], display);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_reference_id_now_held_by_another_subscription_stays_with_it() {
    let service = Service::start().await;
    let former = AttributeValue::S(ACTIVATED_TOO.into());
    service.update("subscriptions", "demo#rid_crm-1001", "SET subscriptionId = :value", former).await;
    let documents = [document(ACTIVATED, json!({"referenceId": "other"})), document(ID, json!({}))];
    let said = import(&service, &documents, &["--existing", "update"]);
    assert_eq!(counts(&said), [1, 0, 0, 0, 1]);
    assert_eq!(service.get("rid_crm-1001").await.json()["subscriptionId"], ACTIVATED_TOO);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_reference_id_that_is_already_stored_is_exported_and_can_be_replaced() {
    let service = Service::start().await;
    let former = AttributeValue::S("a/b?".to_owned());
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET document.referenceId = :value", former).await;
    let of = AttributeValue::S(ACTIVATED.to_owned());
    service.update("subscriptions", "demo#rid_a/b?", "SET subscriptionId = :value", of).await;

    let exported = connect(&service, &["subscriptions", "export", "--tenant", "demo"]).done();
    assert!(exported.lines().any(|line| line.contains(r#""referenceId":"a/b?""#)), "{exported}");
    let said =
        import(&service, &[document(ACTIVATED, json!({"referenceId": "a-b"}))], &["--existing", "update"]);
    assert_eq!(counts(&said), [0, 1, 0, 0, 0]);
    assert_eq!(service.get("rid_a-b").await.json()["subscriptionId"], ACTIVATED);
    assert_eq!(service.item("subscriptions", "demo#rid_a/b?").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_item_is_replaced_only_on_request() {
    let service = Service::start().await;
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET document = :value", AttributeValue::S("x".into())).await;
    assert_eq!(service.get(ACTIVATED).await.status, 500);
    let again = [document(ACTIVATED, json!({"display": "whole"}))];
    for options in [&[][..], &["--existing", "update"]] {
        let said = import(&service, &again, options);
        assert_eq!(counts(&said), [0, 0, 0, 0, 1]);
        assert!(said.notes.contains("is malformed"), "{said:?}");
    }
    assert_eq!(counts(&import(&service, &again, &["--existing", "overwrite", "--yes"])), [0, 1, 0, 0, 0]);
    let read = service.get(ACTIVATED).await;
    assert_eq!((read.status, &read.json()["display"]), (200, &json!("whole")));
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
}
