//! `GET /subscriptions`: finding subscriptions by phone number, customer or reference id.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::api_key::Scope;
use harness::{ACTIVATED, Response, Service, cancel_next_day};
use reqwest::Method;
use serde_json::json;

const OTHER: &str = "00000000-0000-4000-8000-000000000001";

async fn find(service: &Service, query: &str) -> Response {
    let headers = [("X-Api-Key", service.api_key.as_str())];
    service.send(Method::GET, &format!("/subscriptions?{query}"), &headers, b"").await
}

/// Returns the ids of the subscriptions that are found, sorted.
async fn ids_of(service: &Service, query: &str) -> Vec<String> {
    let answer = find(service, query).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let page = answer.json();
    let items = page["items"].as_array().unwrap().iter();
    let mut ids: Vec<_> = items.map(|item| item["subscriptionId"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_number_is_found_in_any_spelling_and_the_subscription_is_as_it_is_now() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    for number in ["%2B46701740605", "+46701740605", "46701740605", "46-70-174%2006%2005"] {
        assert_eq!(ids_of(&service, &format!("msisdn={number}")).await, [ACTIVATED], "{number}");
    }
    let page = find(&service, "msisdn=46701740605").await.json();
    assert_eq!(page["items"], json!([service.get(ACTIVATED).await.json()]));
    assert_eq!(page["pagination"], json!({"limit": 20}));
    assert_eq!(ids_of(&service, "msisdn=0701740605").await, [""; 0]);
}

#[tokio::test]
async fn a_reference_id_is_found() {
    let service = Service::start().await;
    assert_eq!(ids_of(&service, "referenceId=crm-1001").await, [ACTIVATED]);
    assert_eq!(ids_of(&service, "referenceId=crm-0").await, [""; 0]);
}

#[tokio::test]
async fn a_customers_subscriptions_are_found_page_by_page() {
    let service = Service::start().await;
    let ids: Vec<_> = (0..25).map(|n| format!("00000000-0000-4000-8000-{n:012x}")).collect();
    for id in &ids {
        let document = json!({"subscriptionId": id, "status": "ACTIVATED", "customerId": "a customer/ü"});
        service.import("demo", "anna", document).await;
    }
    let query = "customerId=a+customer%2F%C3%BC";
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = find(&service, &format!("{query}&limit=10{cursor}")).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 10);
        found.extend(items.iter().map(|item| item["subscriptionId"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["pagination"]["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    found.sort();
    assert_eq!((found, pages), (ids, 3));
}

#[tokio::test]
async fn a_changed_number_is_found_and_the_former_one_is_not() {
    let service = Service::start().await;
    let document = |msisdn: &str| json!({"subscriptionId": OTHER, "status": "ACTIVATED", "msisdn": msisdn});
    service.import("demo", "anna", document("+46700000001")).await;
    assert_eq!(ids_of(&service, "msisdn=46700000001").await, [OTHER]);
    service.import("demo", "anna", document("+46700000002")).await;
    assert_eq!(ids_of(&service, "msisdn=46700000001").await, [""; 0]);
    assert_eq!(ids_of(&service, "msisdn=46700000002").await, [OTHER]);
    service.import("demo", "anna", json!({"subscriptionId": OTHER, "status": "ACTIVATED"})).await;
    assert_eq!(ids_of(&service, "msisdn=46700000002").await, [""; 0]);
    assert!(!service.stored(OTHER).await.contains_key("msisdn"));
}

/// The index can't tell, because it was not updated. So the subscription itself decides.
#[tokio::test]
async fn a_subscription_whose_number_another_system_has_changed_is_not_found_by_the_former_one() {
    let service = Service::start().await;
    let number = AttributeValue::S("+46700000002".to_owned());
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET document.msisdn = :value", number).await;
    assert_eq!(ids_of(&service, "msisdn=46701740605").await, [""; 0]);
}

#[tokio::test]
async fn another_tenants_subscriptions_are_not_found() {
    let service = Service::start().await;
    let document = json!({"subscriptionId": OTHER, "status": "ACTIVATED", "msisdn": "+46701740605"});
    service.import("acme", "anna", document).await;
    assert_eq!(ids_of(&service, "msisdn=46701740605").await, [ACTIVATED]);
    let theirs = service.add_tenant("acme", &[Scope::Read]).await;
    let headers = [("X-Api-Key", theirs.as_str())];
    let answer = service.send(Method::GET, "/subscriptions?msisdn=46701740605", &headers, b"").await;
    assert_eq!(
        answer.json()["items"],
        json!([{"subscriptionId": OTHER, "status": "ACTIVATED", "msisdn": "+46701740605"}])
    );
}

#[tokio::test]
async fn a_search_has_exactly_one_text_and_only_known_parameters() {
    let service = Service::start().await;
    for query in [
        "",
        "msisdn=",
        "msisdn=%2B",
        "customerId=",
        "referenceId=",
        "msisdn=1&customerId=1",
        "msisdn=1&msisdn=1",
        "msisdn=1&limit=0",
        "msisdn=1&limit=101",
        "msisdn=1&cursor=1",
    ] {
        find(&service, query).await.assert_problem(400, "invalid_parameter");
    }
    find(&service, "msisdn=1&status=ACTIVATED").await.assert_problem(400, "unknown_parameter");
    // Only a caller that may read learns of that.
    let answer = service.send(Method::GET, "/subscriptions?msisdn=", &[("X-Api-Key", "x")], b"").await;
    answer.assert_problem(401, "api_key_invalid");
}
