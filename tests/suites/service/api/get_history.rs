//! `GET /subscriptions/{subscriptionId}/history`: who changed a subscription, when and why.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::api_key::Scope;
use harness::{ACTIVATED, BLOCKED, Response, START, Service, cancel_at, cancel_next_day, options};
use local::up::Options;
use reqwest::Method;
use serde_json::{Value, json};

async fn start() -> Service {
    Service::start_with(Options { publishes: true, ..options() }).await
}

async fn read(service: &Service, subscription: &str, query: &str) -> Response {
    let path = format!("/subscriptions/{subscription}/history{query}");
    service.send(Method::GET, &path, &[("X-Api-Key", service.api_key.as_str())], b"").await
}

#[tokio::test]
async fn the_history_shows_each_change_with_its_time_its_cause_and_its_maker() {
    let service = start().await;
    let key_id = service.api_key.split('_').nth(2).unwrap();
    let path = format!("/subscriptions/{ACTIVATED}/cancel");
    let as_actor = async |actor: &str, method: Method, body: &Value| {
        let headers = [
            ("X-Api-Key", service.api_key.as_str()),
            ("X-Actor", actor),
            ("Content-Type", "application/json"),
        ];
        let body = if method == Method::POST { body.to_string() } else { String::new() };
        let answer = service.send(method, &path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-request-id").unwrap().to_owned()
    };
    let asked = json!({
        "schedule": {"type": "CancelNextDay"}, "reason": "OTHER", "comment": "Moves", "metadata": {"ticket": 1.0},
    });
    let scheduled = as_actor("agent-1", Method::POST, &asked).await;
    service.advance_clock("PT1M").await;
    let replaced = as_actor("agent-2", Method::POST, &cancel_at("2026-03-01")).await;
    service.advance_clock("PT1M").await;
    let withdrawn = as_actor("agent-3", Method::DELETE, &Value::Null).await;
    service.import("demo", "astrid", json!({"subscriptionId": ACTIVATED, "status": "PAUSED"})).await;
    let again = as_actor("agent-4", Method::POST, &cancel_next_day()).await;
    service.set_clock("2026-02-01T00:00:00Z").await;
    assert_eq!(service.execute().await["executed"], 1);

    let entries = service.until_recorded(ACTIVATED, 7).await;
    let by = |actor: &str| json!({"keyId": key_id, "actor": actor});
    let shown = entries.iter().rev().map(|entry| {
        let state = &entry["cancellation"]["state"];
        json!([
            entry["version"],
            entry["cause"],
            entry["source"],
            entry["requestedBy"],
            entry["requestId"],
            state
        ])
    });
    let shown = shown.collect::<Vec<_>>();
    assert_eq!(
        shown,
        [
            json!([1, "IMPORTED", "IMPORT", null, null, null]),
            json!([2, "SCHEDULED", "API", by("agent-1"), scheduled, "PENDING"]),
            json!([3, "REPLACED", "API", by("agent-2"), replaced, "PENDING"]),
            json!([4, "WITHDRAWN", "API", by("agent-3"), withdrawn, "WITHDRAWN"]),
            json!([5, "IMPORTED", "IMPORT", {"actor": "astrid"}, null, "WITHDRAWN"]),
            json!([6, "SCHEDULED", "API", by("agent-4"), again, "PENDING"]),
            json!([7, "EXECUTED", "SCHEDULE", null, null, "EXECUTED"]),
        ]
    );
    // All that the caller sent is there, also after the import that removed it from the subscription.
    let first = &entries[5]["cancellation"];
    assert_eq!((&first["comment"], &first["metadata"]), (&json!("Moves"), &json!({"ticket": 1.0})));
    let replaced = &entries[4]["replaces"];
    assert_eq!(replaced["cancellationId"], first["cancellationId"]);
    assert_eq!(replaced["state"], "REPLACED");
    assert_eq!(replaced["replacedBy"], entries[4]["cancellation"]["cancellationId"]);
    assert_eq!(entries[4]["pendingStatus"], json!({"status": "CANCELLED", "scheduledAt": "2026-03-01"}));
    let at = |version: usize| &entries[7 - version]["at"];
    assert_eq!(
        (at(2), at(3), at(4)),
        (&json!(START), &json!("2026-01-31T22:31:00Z"), &json!("2026-01-31T22:32:00Z"))
    );
    assert_eq!((at(7), &entries[0]["status"]), (&json!("2026-02-01T00:00:00Z"), &json!("CANCELLED")));
    assert_eq!(entries[2]["status"], "PAUSED");
}

#[tokio::test]
async fn a_page_of_the_history_leads_to_the_next_one() {
    let service = start().await;
    for date in ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"] {
        service.cancel(ACTIVATED, &cancel_at(date)).await;
    }
    let all = service.until_recorded(ACTIVATED, 5).await;
    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    let lengths = loop {
        let page = read(&service, "rid_crm-1001", &query).await.json();
        assert_eq!(page["pagination"]["limit"], 2);
        paged.push(page["items"].as_array().unwrap().clone());
        match page["pagination"]["nextCursor"].as_str() {
            Some(cursor) => query = format!("?cursor={cursor}&limit=2"),
            None => break paged.iter().map(Vec::len).collect::<Vec<_>>(),
        }
    };
    assert_eq!((lengths, paged.concat()), (vec![2, 2, 1], all.clone()));
    let exactly = read(&service, ACTIVATED, "?limit=5").await.json();
    assert_eq!((exactly["items"].as_array(), exactly["pagination"].get("nextCursor")), (Some(&all), None));
    assert_eq!(read(&service, ACTIVATED, "").await.json()["pagination"], json!({"limit": 20}));

    for (query, code) in [
        ("?limit=0", "invalid_parameter"),
        ("?limit=101", "invalid_parameter"),
        ("?limit=%2B1", "invalid_parameter"),
        ("?limit=", "invalid_parameter"),
        ("?limit=1&limit=1", "invalid_parameter"),
        ("?cursor=", "invalid_parameter"),
        ("?cursor=2", "invalid_parameter"),
        ("?cursor=00000000000000000002-", "invalid_parameter"),
        ("?cursor=00000000000000000002-%C3%BC", "invalid_parameter"),
        ("?limit=1&offset=3", "unknown_parameter"),
    ] {
        read(&service, ACTIVATED, query).await.assert_problem(400, code);
    }
    // A place that is no entry of this subscription is between its entries, or before all of them.
    let between = read(&service, ACTIVATED, "?cursor=00000000000000000003").await.json();
    assert_eq!(between["items"], json!(all[3..]));
    let before = read(&service, ACTIVATED, "?cursor=09999999999999999999").await.json();
    assert_eq!(before["items"], json!(all));
    let after = read(&service, ACTIVATED, "?cursor=00000000000000000000").await.json();
    assert_eq!(after["items"], json!([]));
}

#[tokio::test]
async fn the_history_needs_its_scope_and_a_subscription_of_the_tenant() {
    let service = start().await;
    let reads = service.add_key("demo", "reads", &[Scope::Read]).await.reveal();
    let path = format!("/subscriptions/{ACTIVATED}/history?limit=0");
    let refused = service.send(Method::GET, &path, &[("X-Api-Key", &reads)], b"").await;
    refused.assert_problem(403, "insufficient_scope");
    service.send(Method::GET, &path, &[], b"").await.assert_problem(401, "api_key_missing");
    read(&service, "x", "").await.assert_problem(400, "invalid_subscription_id");
    let other = service.add_tenant("other", &Scope::ALL).await;
    let path = format!("/subscriptions/{ACTIVATED}/history");
    let refused = service.send(Method::GET, &path, &[("X-Api-Key", &other)], b"").await;
    refused.assert_problem(404, "subscription_not_found");
}

#[tokio::test]
async fn the_history_of_a_subscription_that_never_changed_is_the_subscription_itself() {
    let service = start().await;
    let page = read(&service, ACTIVATED, "").await.json();
    // The time of the import, not of the document.
    let at = service.stored(ACTIVATED).await["changedBy"].as_m().unwrap()["at"].as_s().unwrap().clone();
    assert_eq!(
        page,
        json!({
            "items": [{
                "version": 1, "at": at, "cause": "IMPORTED", "source": "IMPORT",
                "status": "ACTIVATED",
            }],
            "pagination": {"limit": 20},
        })
    );
    assert_eq!(service.scan("history").await.len(), 0);
    // One that is added while changes are published has its entry, and its reference id has none.
    let new = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0999";
    service
        .import("demo", "astrid", json!({"subscriptionId": new, "status": "PAUSED", "referenceId": "n"}))
        .await;
    service.cancel(new, &cancel_next_day()).await;
    let entries = service.until_recorded(new, 2).await;
    assert_eq!(entries[1]["requestedBy"], json!({"actor": "astrid"}));
    assert_eq!(service.scan("history").await.len(), 2);
}

#[tokio::test]
async fn another_systems_write_is_an_entry_without_a_maker() {
    let service = start().await;
    let path = format!("/subscriptions/{BLOCKED}/cancel");
    let headers = [
        ("X-Api-Key", service.api_key.as_str()),
        ("X-Actor", "agent-1"),
        ("Content-Type", "application/json"),
    ];
    service.send(Method::POST, &path, &headers, cancel_next_day().to_string().as_bytes()).await;
    service.until_recorded(BLOCKED, 2).await;
    let other = AttributeValue::N("3".to_owned());
    service.update("subscriptions", &format!("demo#{BLOCKED}"), "SET version = :value", other).await;
    let entries = service.until_recorded(BLOCKED, 3).await;
    assert_eq!((&entries[0]["cause"], &entries[0]["source"]), (&json!("IMPORTED"), &json!("IMPORT")));
    assert_eq!((entries[0].get("requestedBy"), entries[0].get("requestId")), (None, None));
    assert_eq!(entries[0]["cancellation"], entries[1]["cancellation"]);
}

#[tokio::test]
async fn a_subscription_that_was_added_again_has_a_history_of_its_own() {
    let service = start().await;
    for date in ["2026-03-01", "2026-03-02"] {
        service.cancel(ACTIVATED, &cancel_at(date)).await;
    }
    service.until_recorded(ACTIVATED, 3).await;
    let remove = service.dynamodb().delete_item().table_name(&service.tables.subscriptions);
    let key = AttributeValue::S(format!("demo#{ACTIVATED}"));
    remove.key("pk", key).send().await.unwrap();
    service.import("demo", "astrid", json!({"subscriptionId": ACTIVATED, "status": "PAUSED"})).await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    // Three entries of before, and two new ones of the same versions.
    service.until_stored(ACTIVATED, |entries| entries.len() == 5).await;
    let entries = read(&service, ACTIVATED, "").await.json()["items"].as_array().unwrap().clone();
    let shown: Vec<_> = entries.iter().map(|entry| (&entry["version"], &entry["cause"])).collect();
    assert_eq!(shown, [(&json!(2), &json!("SCHEDULED")), (&json!(1), &json!("IMPORTED"))]);
    assert_eq!(entries[1]["requestedBy"], json!({"actor": "astrid"}));
    let first = read(&service, ACTIVATED, "?limit=1").await.json();
    let second = first["pagination"]["nextCursor"].as_str().unwrap();
    let second = read(&service, ACTIVATED, &format!("?limit=1&cursor={second}")).await.json();
    assert_eq!((&second["items"], second["pagination"].get("nextCursor")), (&json!([entries[1]]), None));
}
