//! API keys: authentication and scopes.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::api_key::Scope;
use harness::{ACTIVATED, Response, Service, cancel_next_day};
use reqwest::Method;
use serde_json::json;
use service::ids;

const BOTH: [Scope; 2] = [Scope::Read, Scope::Cancel];

#[tokio::test]
async fn a_request_without_an_api_key_gets_api_key_missing() {
    let service = Service::start().await;
    let path = format!("/subscriptions/{ACTIVATED}");
    let answer = service.send(Method::GET, &path, &[], b"").await;
    answer.assert_problem(401, "api_key_missing");
    assert_eq!(answer.header("www-authenticate"), Some("ApiKey"));
    service.cancel_as(ACTIVATED, &[], b"{}").await.assert_problem(401, "api_key_missing");
}

#[tokio::test]
async fn every_invalid_api_key_gets_the_same_answer() {
    let service = Service::start().await;
    let token =
        |tenant: &str, key: &str| ids::token(tenant.parse().unwrap(), key.parse().unwrap()).unwrap().reveal();
    let revoked = service.add_key("demo", "revoked", &BOTH).await.reveal();
    let expired = service.add_key("demo", "expired", &BOTH).await.reveal();
    service.add_key("demo", "other", &BOTH).await;
    let start = AttributeValue::S(harness::START.to_owned());
    service.update("tenants", "demo#revoked", "SET revokedAt = :value", start.clone()).await;
    service.update("tenants", "demo#expired", "SET expiresAt = :value", start).await;

    let without_id = |answer: Response| {
        answer.assert_problem(401, "api_key_invalid");
        let mut body = answer.json();
        body["requestId"] = json!("");
        body
    };
    let malformed = without_id(service.get_as("garbage", ACTIVATED).await);
    for key in [
        "".to_owned(),
        format!("{}0", service.api_key),
        token("nobody", "k1"),
        token("demo", "unknown"),
        token("demo", "other"),
        revoked,
        expired,
    ] {
        assert_eq!(without_id(service.get_as(&key, ACTIVATED).await), malformed, "{key}");
        let headers = [("X-Api-Key", key.as_str())];
        let body = cancel_next_day().to_string();
        assert_eq!(without_id(service.cancel_as(ACTIVATED, &headers, body.as_bytes()).await), malformed);
    }
    assert_eq!(service.version(ACTIVATED).await, 1);
}

#[tokio::test]
async fn a_malformed_api_key_is_refused_without_a_database_request() {
    let (_database, service, wire) = Service::start_wired().await;
    let mut mistyped = service.api_key.clone();
    mistyped.pop();
    for key in ["garbage", "ck_demo_k1_0000", &mistyped, "ck_", "é"] {
        service.get_as(key, ACTIVATED).await.assert_problem(401, "api_key_invalid");
    }
    assert_eq!(wire.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_revocation_takes_effect_on_the_next_request() {
    let service = Service::start().await;
    let key = service.add_key("demo", "k1", &BOTH).await.reveal();
    assert_eq!(service.get_as(&key, ACTIVATED).await.status, 200);
    let now = AttributeValue::S(harness::START.to_owned());
    service.update("tenants", "demo#k1", "SET revokedAt = :value", now).await;
    service.get_as(&key, ACTIVATED).await.assert_problem(401, "api_key_invalid");
}

#[tokio::test]
async fn an_api_key_allows_only_its_scopes() {
    let service = Service::start().await;
    let reads = service.add_key("demo", "reads", &[Scope::Read]).await.reveal();
    let cancels = service.add_key("demo", "cancels", &[Scope::Cancel]).await.reveal();
    let nothing = service.add_key("demo", "nothing", &[]).await.reveal();
    let body = cancel_next_day().to_string();

    assert_eq!(service.get_as(&reads, ACTIVATED).await.status, 200);
    for key in [&cancels, &nothing] {
        service.get_as(key, ACTIVATED).await.assert_problem(403, "insufficient_scope");
    }
    for key in [&reads, &nothing] {
        let refused = service.cancel_as(ACTIVATED, &[("X-Api-Key", key)], body.as_bytes()).await;
        refused.assert_problem(403, "insufficient_scope");
        assert!(refused.json()["detail"].as_str().unwrap().contains("subscriptions:cancel"));
    }
    assert_eq!(service.cancel_as(ACTIVATED, &[("X-Api-Key", &cancels)], body.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn an_unknown_scope_is_ignored() {
    let service = Service::start().await;
    let key = service.add_key("demo", "k1", &[Scope::Read]).await.reveal();
    let scopes = ["invoices:read", "subscriptions:read"].map(|scope| AttributeValue::S(scope.to_owned()));
    service.update("tenants", "demo#k1", "SET scopes = :value", AttributeValue::L(scopes.to_vec())).await;
    assert_eq!(service.get_as(&key, ACTIVATED).await.status, 200);
}

#[tokio::test]
async fn an_invalid_api_key_is_refused_before_any_other_fault() {
    let service = Service::start().await;
    let key = ids::token("demo".parse().unwrap(), "k9".parse().unwrap()).unwrap().reveal();
    service.get_as(&key, "not-an-id").await.assert_problem(401, "api_key_invalid");
    let headers = [("X-Api-Key", key.as_str()), ("Idempotency-Key", "é"), ("Content-Type", "text/plain")];
    service.cancel_as("not-an-id", &headers, b"{").await.assert_problem(401, "api_key_invalid");
}
