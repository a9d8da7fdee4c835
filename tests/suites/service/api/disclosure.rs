//! Only the fields of the contract ever leave the service.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{Response, Service, cancel_next_day};
use reqwest::Method;
use serde_json::json;

const ID: &str = "a81bc81b-dead-4e5d-abff-90865d1e13b1";
/// Secrets that can't occur in a random id.
const SECRETS: [&str; 6] = ["PUK-12345678", "PIN-9999", "sesame", "carrier-x", "passport", "backdoor"];

async fn service_with_secrets() -> Service {
    let service = Service::start_seeded(&[json!({
        "subscriptionId": ID,
        "status": "ACTIVATED",
        "referenceId": "crm-1",
        "puk": "PUK-12345678",
        "sim": {"iccid": "8946000000000000020", "puk": "PUK-12345678", "pin": "PIN-9999"},
        "customer": {"name": "Ida Berg", "password": "sesame"},
        "subscriber": {"name": "Ida Berg", "address": {"city": "Umeå", "note": "passport"}},
        "porting": {"status": "PENDING", "carrier": "carrier-x"},
    })])
    .await;
    let secret = AttributeValue::S("backdoor".to_owned());
    service.update("subscriptions", &format!("demo#{ID}"), "SET puk = :value", secret).await;
    service
}

fn assert_discloses_nothing(answer: &Response) {
    let headers = format!("{:?}", answer.headers);
    for secret in SECRETS {
        assert!(!answer.text().contains(secret) && !headers.contains(secret), "{secret}: {}", answer.text());
    }
    for field in ["puk", "pin\"", "password", "note", "carrier", "version", "cancellation\"", "dueAt", "pk\""]
    {
        assert!(!answer.text().contains(field), "{field}: {}", answer.text());
    }
}

#[tokio::test]
async fn an_attribute_outside_the_contract_never_leaves_the_service() {
    let service = service_with_secrets().await;
    let body = cancel_next_day();
    assert_discloses_nothing(&service.get(ID).await);
    assert_discloses_nothing(&service.get("rid_crm-1").await);
    let headers = [("X-Api-Key", service.api_key.as_str())];
    let found = service.send(Method::GET, "/subscriptions?referenceId=crm-1", &headers, b"").await;
    assert_eq!(found.json()["items"][0]["subscriptionId"], ID);
    assert_discloses_nothing(&found);
    assert_discloses_nothing(&service.cancel_once(ID, "k", &body).await);
    let replay = service.cancel_once(ID, "k", &body).await;
    assert!(replay.is_replay());
    assert_discloses_nothing(&replay);
    assert_discloses_nothing(&service.cancel(ID, &body).await);

    service.set_clock("2026-02-01T00:00:00Z").await;
    service.execute().await;
    let cancelled = service.get(ID).await;
    assert_eq!(cancelled.json()["status"], "CANCELLED");
    assert_discloses_nothing(&cancelled);
    assert_discloses_nothing(&service.cancel(ID, &body).await);
}

#[tokio::test]
async fn an_attribute_outside_the_contract_is_kept_in_the_database() {
    let service = service_with_secrets().await;
    let pin = AttributeValue::S("PIN-9999".to_owned());
    service.update("subscriptions", &format!("demo#{ID}"), "SET document.pin = :value", pin).await;
    let before = service.stored(ID).await;
    service.cancel(ID, &cancel_next_day()).await;
    service.set_clock("2026-02-01T00:00:00Z").await;
    service.execute().await;
    assert_discloses_nothing(&service.get(ID).await);

    let after = service.stored(ID).await;
    assert_eq!(after["puk"].as_s().unwrap(), "backdoor");
    let document = |item: &HashMap<String, AttributeValue>| item["document"].as_m().unwrap().clone();
    let (before, after) = (document(&before), document(&after));
    assert_eq!(after["pin"].as_s().unwrap(), "PIN-9999");
    // The compressed part contains the PUK of the SIM card.
    assert_eq!(after["compressed"].as_b().unwrap(), before["compressed"].as_b().unwrap());
}
