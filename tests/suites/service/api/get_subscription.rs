//! `GET /subscriptions/{subscriptionId}`

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, CANCELLED, Service, cancel_next_day};
use reqwest::Method;
use serde_json::{Value, json};

/// Returns a document with every field of the contract.
pub fn full_document() -> Value {
    let offering = json!({
        "productOfferingId": "mobile-20gb",
        "name": "Mobile 20 GB",
        "price": {
            "currency": "SEK",
            "priceType": "RECURRING",
            "discount": 10,
            "netPrice": 189.5,
            "boundMonths": 12,
            "billingCycle": {"period": "MONTHLY", "interval": 1},
        },
        "group": {
            "productOfferingGroupId": "mobile-plans",
            "name": "Mobile Plans",
            "category": "SUBSCRIPTION_CELL",
            "description": "Calls, messages and data.",
            "internalDescription": "Consumers",
        },
    });
    json!({
        "subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1",
        "status": "ACTIVATED",
        "type": "SUBSCRIPTION_CELL",
        "display": "070-174 06 20",
        "msisdn": "+46701740620",
        "customer": {"customerId": "c-1", "name": "Ida Berg"},
        "customerId": "c-1",
        "productOffering": offering,
        "productOfferingId": "mobile-20gb",
        "sim": {"esim": true, "imei": "490154203237518", "iccid": "8946000000000000020"},
        "subscriber": {
            "subscriberId": "s-1",
            "name": "Ida Berg",
            "email": "ida@example.com",
            "address": {
                "street1": "Storgatan 1",
                "street2": "2 tr",
                "city": "Umeå",
                "zip": "903 26",
                "country": "SE",
                "state": "Västerbotten",
                "region": "Norrland",
                "attention": "Ida",
            },
            "createdAt": "2025-01-01T00:00:00Z",
            "updatedAt": "2025-01-02T00:00:00.125Z",
        },
        "subscriberId": "s-1",
        "activatedAt": "2025-01-03T00:00:00Z",
        "createdAt": "2025-01-01T00:00:00Z",
        "updatedAt": "2025-01-04T00:00:00Z",
        "referenceId": "crm-Kund 1 & ü#+",
        "extensions": {"fleet": {"vehicle": "ABC 123", "doors": [2, 4.5, null, true]}},
        "pendingMsisdn": {"msisdn": "+46701740621", "scheduledAt": "2026-03-01"},
        "pendingStatus": {"status": "PAUSED", "scheduledAt": "2026-04-01"},
        "pendingProductOffering": {"scheduledAt": "2026-05-01", "product": offering},
        "porting": {
            "msisdn": "+46701740620",
            "status": "IN_PROGRESS",
            "direction": "INBOUND",
            "scheduledAt": "2026-03-01",
        },
        "metadata": {"a": null, "b": {"c": []}},
    })
}

#[tokio::test]
async fn every_field_is_read_as_it_was_stored() {
    let document = full_document();
    let service = Service::start_seeded(std::slice::from_ref(&document)).await;
    let answer = service.get(&service.subscription_ids[0]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.json(), document);
}

#[tokio::test]
async fn absent_fields_are_left_out() {
    let document = json!({"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "PENDING"});
    let with_nulls = json!({
        "subscriptionId": "A81BC81B-dead-4e5d-abff-90865d1e13b1",
        "status": "PENDING",
        "msisdn": null,
        "subscriber": null,
    });
    let service = Service::start_seeded(&[with_nulls]).await;
    assert_eq!(service.get(&service.subscription_ids[0]).await.json(), document);
}

#[tokio::test]
async fn a_subscription_is_found_by_its_reference_id() {
    let service = Service::start_seeded(&[full_document()]).await;
    let encoded = "rid_crm-Kund%201%20%26%20%C3%BC%23%2B";
    let answer = service.get(encoded).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["subscriptionId"], "a81bc81b-dead-4e5d-abff-90865d1e13b1");
    // The prefix is not part of the reference id.
    service.get("rid_rid_crm").await.assert_problem(404, "subscription_not_found");
}

#[tokio::test]
async fn a_subscription_with_an_unaddressable_reference_id_is_read_and_cancelled_by_its_uuid() {
    let service = Service::start().await;
    let stored = AttributeValue::S("crm/1?%2F".to_owned());
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET document.referenceId = :value", stored).await;
    assert_eq!(service.get(ACTIVATED).await.json()["referenceId"], "crm/1?%2F");
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    service.set_clock("2026-02-01T12:00:00Z").await;
    assert_eq!(service.execute().await["executed"], 1);
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "CANCELLED");
}

#[tokio::test]
async fn a_subscription_id_is_read_in_either_case() {
    let service = Service::start().await;
    assert_eq!(service.get(&ACTIVATED.to_uppercase()).await.json()["subscriptionId"], ACTIVATED);
}

#[tokio::test]
async fn an_invalid_subscription_id_is_refused() {
    let service = Service::start().await;
    let longer = format!("rid_{}", "x".repeat(256));
    for id in
        ["1", "rid_", "crm-1001", &longer, &ACTIVATED.replace('-', ""), "%20", "%00", "rid_%00", "rid_%C2%85"]
    {
        service.get(id).await.assert_problem(400, "invalid_subscription_id");
    }
}

#[tokio::test]
async fn an_unknown_subscription_is_not_found() {
    let service = Service::start().await;
    for id in ["a81bc81b-dead-4e5d-abff-90865d1e13b1", "rid_nobody", &format!("rid_{}", "ü".repeat(255))] {
        service.get(id).await.assert_problem(404, "subscription_not_found");
    }
}

#[tokio::test]
async fn a_read_with_the_current_etag_gets_304() {
    let service = Service::start().await;
    let path = format!("/subscriptions/{ACTIVATED}");
    let etag = service.get(ACTIVATED).await.header("etag").unwrap().to_owned();

    for tags in [etag.clone(), format!("\"x\", {etag}"), format!("W/{etag}"), "*".to_owned()] {
        let headers = [("X-Api-Key", service.api_key.as_str()), ("If-None-Match", &tags)];
        let answer = service.send(Method::GET, &path, &headers, b"").await;
        assert_eq!((answer.status, answer.text()), (304, ""), "{tags}");
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
    }

    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let headers = [("X-Api-Key", service.api_key.as_str()), ("If-None-Match", &etag)];
    let answer = service.send(Method::GET, &path, &headers, b"").await;
    assert_eq!(answer.status, 200);
    assert_ne!(answer.header("etag"), Some(etag.as_str()));
}

#[tokio::test]
async fn a_cancelled_subscription_can_be_read() {
    let service = Service::start().await;
    let subscription = service.get(CANCELLED).await.json();
    assert_eq!(subscription["status"], "CANCELLED");
    assert_eq!(subscription["cancelledAt"], "2025-09-30T22:00:00Z");
}
