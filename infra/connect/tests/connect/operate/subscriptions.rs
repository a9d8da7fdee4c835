//! Subscriptions: `export`, `show`, `find`, `list` and `index`.

use aws_sdk_dynamodb::types::{AttributeValue, BillingMode, GlobalSecondaryIndex};
use harness::{ACTIVATED, Service, cancel_next_day};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::{connect, connect_at};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_can_be_imported() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    connect(&service, &["tenants", "create", "acme", "--time-zone", harness::ZONE]).done();
    let folder = tempdir().unwrap();
    let file = folder.path().join("export.ndjson");
    let file = file.to_str().unwrap();
    // The file exists already, and others can read it.
    std::fs::write(file, "old").unwrap();
    let exported = connect(&service, &["subscriptions", "export", "--tenant", "demo", file]);
    assert_eq!((exported.code, exported.notes.as_str()), (0, "exported 8 subscriptions\n"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let import = ["subscriptions", "import", "--tenant", "acme", file, "--overdue", "--json"];
    assert_eq!(connect(&service, &import).json()["added"], 8);

    let export = |tenant| {
        let said = connect(&service, &["subscriptions", "export", "--tenant", tenant]).done();
        let mut lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.sort_by_key(|document| document["subscriptionId"].to_string());
        lines
    };
    assert_eq!(export("acme"), export("demo"));
    // Importing the export again changes nothing.
    let again =
        ["subscriptions", "import", "--tenant", "demo", file, "--existing", "overwrite", "--yes", "--json"];
    assert_eq!(connect(&service, &again).json()["unchanged"], 8);
    assert_eq!(export("acme")[0]["pendingStatus"]["scheduledAt"], "2026-02-01");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_the_visible_members_and_names_unreadable_items() {
    let service = Service::start().await;
    let key = format!("demo#{ACTIVATED}");
    service
        .update("subscriptions", &key, "SET document.puk = :value", AttributeValue::S("12345678".into()))
        .await;
    let export = ["subscriptions", "export", "--tenant", "demo"];
    let exported = connect(&service, &export).done();
    assert!(!exported.contains("12345678"));
    assert_eq!(exported.lines().count(), 8);

    service.update("subscriptions", &key, "SET document = :value", AttributeValue::M([].into())).await;
    let exported = connect(&service, &export);
    assert_eq!(exported.out.lines().count(), 7);
    assert!(exported.notes.contains(&key), "{exported:?}");
    assert_eq!(exported.failed(1), "1 item can't be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shown_subscription_names_the_key_and_the_reason_of_its_cancellation() {
    let service = Service::start().await;
    let show = ["subscriptions", "show", "--tenant", "demo", "rid_crm-1001"];
    let before = connect_at(&service, harness::START, &[&show[..], &["--json"]].concat()).await.json();
    assert_eq!((&before["version"], &before["cancellation"]), (&1.into(), &Value::Null));

    let key = connect(&service, &["keys", "create", "--tenant", "demo", "--name", "CRM", "--json"]).json();
    let body = json!({
        "schedule": {"type": "CancelNextDay"}, "reason": "OTHER", "comment": "moving",
        "metadata": {"ticket": "T-1"},
    });
    let headers = [("X-Api-Key", key["token"].as_str().unwrap()), ("X-Actor", "agent-17")];
    // With line breaks between the values of the metadata, which are stored as they were sent.
    let broken = body.to_string().replace(r#"{"ticket":"#, "{\n\t\"ticket\":\r\n");
    assert_eq!(service.cancel_as(ACTIVATED, &headers, broken.as_bytes()).await.status, 200);

    let shown = connect_at(&service, harness::START, &[&show[..], &["--json"]].concat()).await.done();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["version"], 2);
    assert_eq!(shown["subscription"]["subscriptionId"], ACTIVATED);
    let cancellation = &shown["cancellation"];
    for (name, value) in [
        ("state", "PENDING"),
        ("reason", "OTHER"),
        ("comment", "moving"),
        ("effectiveAt", "2026-01-31T23:00:00Z"),
    ] {
        assert_eq!(cancellation[name], value, "{name}");
    }
    assert_eq!(cancellation["metadata"], body["metadata"]);
    let by = json!({"keyId": key["keyId"], "keyName": "CRM", "actor": "agent-17"});
    assert_eq!(cancellation["requestedBy"], by);
    let text = connect_at(&service, harness::START, &show).await.done();
    assert!(
        text.contains("pending") && text.contains("moving") && text.contains("(CRM) for agent-17"),
        "{text}"
    );

    let path = format!("/subscriptions/{ACTIVATED}/cancel");
    assert_eq!(service.send(Method::DELETE, &path, &headers, b"").await.status, 200);
    let text = connect_at(&service, harness::START, &show).await.done();
    assert!(text.contains("withdrawn\n") && text.matches("(CRM)").count() == 2, "{text}");
    assert!(text.contains("moving") && text.contains("\n  withdrawn    2026-01-31T22:30:"), "{text}");

    assert_eq!(service.cancel_as(ACTIVATED, &headers, body.to_string().as_bytes()).await.status, 200);
    service.set_clock("2026-01-31T23:00:00Z").await;
    service.execute().await;
    let text = connect_at(&service, harness::START, &show).await.done();
    assert!(
        text.contains(": executed\n")
            && text.contains("\n  executed     2026-01-31T23:00:00Z")
            && text.contains("Version        5"),
        "{text}"
    );
}

/// Returns the ids of these subscriptions.
fn ids(subscriptions: &Value) -> Vec<&str> {
    let all = subscriptions.as_array().unwrap().iter();
    all.map(|subscription| subscription["subscriptionId"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_found_by_number_customer_or_reference() {
    let service = Service::start().await;
    let shown = service.get(ACTIVATED).await.json();
    let customer = shown["customerId"].as_str().unwrap();
    for text in [["--msisdn", "+46 70-174 06 05"], ["--customer", customer], ["--reference", "crm-1001"]] {
        let find = [&["subscriptions", "find", "--tenant", "demo"][..], &text].concat();
        let found = connect(&service, &[&find[..], &["--json"]].concat()).json();
        assert!(ids(&found).contains(&ACTIVATED), "{text:?}: {found}");
        let table = connect(&service, &find).done();
        assert!(table.starts_with("SUBSCRIPTION") && table.contains("+46701740605"), "{table}");
    }
    let find = ["subscriptions", "find", "--tenant", "demo", "--json", "--msisdn"];
    assert_eq!(connect(&service, &[&find[..], &["1"]].concat()).json(), json!([]));
    assert_eq!(connect(&service, &[&find[..], &["+"]].concat()).failed(2), "there is no text to search for");
    connect(&service, &["subscriptions", "find", "--tenant", "demo"]).failed(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_filtered_and_has_pages() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let list = |more: &[&str]| {
        let all = [&["subscriptions", "list", "--tenant", "demo", "--json"], more].concat();
        connect(&service, &all).json()
    };
    let all = list(&[]);
    assert_eq!((ids(&all["subscriptions"]).len(), all.get("next")), (8, None));
    let (mut seen, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let mut options = vec!["--limit", "3"];
        if let Some(after) = &after {
            options.extend(["--after", after]);
        }
        let page = list(&options);
        seen.extend(ids(&page["subscriptions"]).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        after = Some(next.to_owned());
    }
    assert_eq!(seen, ids(&all["subscriptions"]));

    let of = |status: &str| list(&["--status", status])["subscriptions"].clone();
    let count = |status: &str| ids(&of(status)).len();
    let statuses = ["pending", "ACTIVATED", "blocked", "cancelled", "paused"];
    assert_eq!(statuses.map(count).iter().sum::<usize>(), 8);
    assert!(of("blocked").as_array().unwrap().iter().all(|found| found["status"] == "BLOCKED"));
    assert_eq!(ids(&list(&["--pending"])["subscriptions"]), [ACTIVATED]);
    let product = service.get(ACTIVATED).await.json()["productOfferingId"].clone();
    let of_product = list(&["--product", product.as_str().unwrap(), "--status", "activated"]);
    let of_product = of_product["subscriptions"].as_array().unwrap().clone();
    assert!(!of_product.is_empty() && of_product.iter().all(|found| found["productOfferingId"] == product));
    assert!(list(&["--product", "none"])["subscriptions"].as_array().unwrap().is_empty());

    let said = connect(&service, &["subscriptions", "list", "--tenant", "demo", "--limit", "1"]);
    assert!(said.notes.starts_with("there are more: add --after "), "{said:?}");
    connect(&service, &["subscriptions", "list", "--tenant", "demo", "--status", "lost"]).failed(2);
}

/// An earlier version of this service created the table and stored the subscriptions.
#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_of_an_earlier_version_are_found_once_they_are_indexed() {
    let service = Service::start().await;
    let (dynamodb, table) = (service.dynamodb(), &service.tables.subscriptions);
    let stored = service.scan("subscriptions").await;
    let former = dynamodb.describe_table().table_name(table).send().await.unwrap().table.unwrap();
    dynamodb.delete_table().table_name(table).send().await.unwrap();
    let is_new = |name: &str| ["msisdn", "customerId"].contains(&name);
    let due =
        former.global_secondary_indexes().iter().find(|index| index.index_name() == Some("due")).unwrap();
    let due = GlobalSecondaryIndex::builder()
        .index_name("due")
        .set_key_schema(due.key_schema.clone())
        .set_projection(due.projection.clone())
        .build()
        .unwrap();
    let attributes =
        former.attribute_definitions().iter().filter(|attribute| !is_new(attribute.attribute_name()));
    dynamodb
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(former.key_schema.clone())
        .set_attribute_definitions(Some(attributes.cloned().collect()))
        .global_secondary_indexes(due)
        .set_stream_specification(former.stream_specification.clone())
        .send()
        .await
        .unwrap();
    for mut item in stored {
        item.retain(|name, _| !is_new(name));
        dynamodb.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }
    let doctor = connect_at(&service, harness::START, &["doctor"]).await;
    assert!(doctor.out.contains("it has no index msisdn, so no subscription is found by it"), "{doctor:?}");
    connect(&service, &["tables", "create"]).done();
    let doctor = connect_at(&service, harness::START, &["doctor"]).await;
    assert!(doctor.out.contains("8 of 8 are not found by number or customer"), "{doctor:?}");

    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let before = service.get(ACTIVATED).await;
    let index = ["subscriptions", "index", "--json"];
    assert_eq!(connect(&service, &[&index[..], &["--dry-run"]].concat()).json()["indexed"], 8);
    assert_eq!(connect(&service, &index).json()["indexed"], 8);
    assert_eq!(connect(&service, &index).json()["indexed"], 0);
    let doctor = connect_at(&service, harness::START, &["doctor"]).await;
    assert!(doctor.out.contains("ok      search    the indexes are right for 8 subscriptions"), "{doctor:?}");
    let find = ["subscriptions", "find", "--tenant", "demo", "--msisdn", "46701740605", "--json"];
    assert_eq!(ids(&connect(&service, &find).json()), [ACTIVATED]);
    // That was no change of the subscription.
    assert_eq!(service.get(ACTIVATED).await.header("etag"), before.header("etag"));
}
