//! Tenants are separate: no tenant can read or change the data of another.

use domain::api_key::Scope;
use harness::{ACTIVATED, Service, cancel_next_day};
use serde_json::{Value, json};

const OURS: &str = "a81bc81b-dead-4e5d-abff-90865d1e13b1";

/// Starts a service with a second tenant, `other`, that has one subscription. Returns that tenant's API key, too.
async fn two_tenants() -> (Service, String) {
    let service = Service::start().await;
    let key = service.add_tenant("other", &[Scope::Read, Scope::Cancel]).await;
    let document = json!({"subscriptionId": OURS, "status": "ACTIVATED", "referenceId": "crm-1001"});
    service.import("other", "anna", document).await;
    (service, key)
}

#[tokio::test]
async fn a_subscription_of_another_tenant_is_not_found() {
    let (service, other) = two_tenants().await;
    let body = cancel_next_day().to_string();
    let without_request_id =
        |body: Value| json!({"requestId": "", "rest": body["detail"], "code": body["code"]});

    let nobodys = service.get_as(&other, "a81bc81b-dead-4e5d-abff-90865d1e13b9").await;
    let of_another = service.get_as(&other, ACTIVATED).await;
    of_another.assert_problem(404, "subscription_not_found");
    assert_eq!(without_request_id(nobodys.json()), without_request_id(of_another.json()));

    let refused = service.cancel_as(ACTIVATED, &[("X-Api-Key", &other)], body.as_bytes()).await;
    refused.assert_problem(404, "subscription_not_found");
    assert_eq!(service.version(ACTIVATED).await, 1);
    service.get(OURS).await.assert_problem(404, "subscription_not_found");
}

#[tokio::test]
async fn a_reference_id_names_the_subscription_of_the_callers_tenant() {
    let (service, other) = two_tenants().await;
    assert_eq!(service.get("rid_crm-1001").await.json()["subscriptionId"], ACTIVATED);
    assert_eq!(service.get_as(&other, "rid_crm-1001").await.json()["subscriptionId"], OURS);
    service.get_as(&other, "rid_crm-1002").await.assert_problem(404, "subscription_not_found");
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_its_tenant() {
    let (service, other) = two_tenants().await;
    let body = cancel_next_day();
    assert_eq!(service.cancel_once("rid_crm-1001", "key", &body).await.json()["subscriptionId"], ACTIVATED);

    let headers = [("X-Api-Key", other.as_str()), ("X-Idempotency-Key", "key")];
    let answer = service.cancel_as("rid_crm-1001", &headers, body.to_string().as_bytes()).await;
    assert!(!answer.is_replay());
    assert_eq!(answer.json()["subscriptionId"], OURS);
}

#[tokio::test]
async fn an_api_key_of_a_missing_tenant_cancels_nothing() {
    let service = Service::start().await;
    let key = service.add_key("nobody", "k1", &[Scope::Read, Scope::Cancel]).await.reveal();
    service.get_as(&key, ACTIVATED).await.assert_problem(404, "subscription_not_found");
    let body = cancel_next_day().to_string();
    let refused = service.cancel_as(ACTIVATED, &[("X-Api-Key", &key)], body.as_bytes()).await;
    refused.assert_problem(401, "api_key_invalid");
}
