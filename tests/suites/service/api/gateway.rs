//! The gateway: the answers that API Gateway gives itself, and the requests that it passes on.

use harness::{ACTIVATED, Service, cancel_next_day};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let service = Service::start().await;
    let id = format!("/subscriptions/{ACTIVATED}/");
    for path in ["/v1", "/subscriptions/", &id, "/subscriptions/a/b", "/_local/nothing"] {
        let answer = service.send(Method::GET, path, &[], b"").await;
        assert_eq!((answer.status, answer.text()), (404, r#"{"message":"Not Found"}"#), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_method_is_not_found() {
    let service = Service::start().await;
    let subscription = format!("/subscriptions/{ACTIVATED}");
    let cancel = format!("{subscription}/cancel");
    for (method, path) in [
        (Method::PUT, &subscription),
        (Method::POST, &subscription),
        (Method::GET, &cancel),
        (Method::PATCH, &cancel),
    ] {
        let answer = service.send(method, path, &[("X-Api-Key", &service.api_key)], b"").await;
        assert_eq!((answer.status, answer.text()), (404, r#"{"message":"Not Found"}"#), "{path}");
    }
}

#[tokio::test]
async fn two_values_of_one_header_are_joined_with_a_comma() {
    let service = Service::start().await;
    let body = cancel_next_day();
    let twice = |other| [("X-Idempotency-Key", "a"), ("X-Idempotency-Key", other)];
    assert_eq!(service.cancel_with(ACTIVATED, &twice("a"), &body).await.status, 200);
    assert!(service.cancel_once(ACTIVATED, "a", &body).await.is_replay());
    let refused = service.cancel_with(ACTIVATED, &twice("b"), &body).await;
    refused.assert_problem(400, "idempotency_key_invalid");
}

#[tokio::test]
async fn a_body_of_another_type_is_refused_by_its_type_and_a_huge_one_by_the_gateway() {
    let service = Service::start().await;
    // The type is not JSON, so the event has the body in base64. The fingerprint is of the bytes nevertheless.
    let headers = [("X-Api-Key", service.api_key.as_str()), ("Content-Type", "application/octet-stream")];
    let answer = service.cancel_as(ACTIVATED, &headers, &[b' '; 40_000]).await;
    answer.assert_problem(415, "unsupported_media_type");
    let huge = vec![b' '; 10 * 1024 * 1024 + 1];
    let answer = service.cancel_as(ACTIVATED, &headers, &huge).await;
    assert_eq!((answer.status, answer.text()), (413, r#"{"message":"Request Entity Too Large"}"#));
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_the_gateway() {
    let service = Service::start().await;
    for path in ["/subscriptions/x", "/nowhere", "/subscriptions/%ff"] {
        let answer = service.send(Method::GET, path, &[], b"").await;
        assert!(answer.header("apigw-requestid").is_some(), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_utf_8_is_an_invalid_subscription_id() {
    let service = Service::start().await;
    service.get("%ff").await.assert_problem(400, "invalid_subscription_id");
}

#[tokio::test]
async fn a_path_is_decoded_twice_and_cut_at_a_question_mark() {
    let document = |nth: u32, reference: &str| {
        let id = format!("a81bc81b-dead-4e5d-abff-90865d1e13b{nth}");
        json!({"subscriptionId": id, "status": "ACTIVATED", "referenceId": reference})
    };
    let service = Service::start_seeded(&[document(0, "a"), document(1, "a b"), document(2, "a#b")]).await;
    let [a, a_b, a_hash_b] = [0, 1, 2].map(|nth| service.subscription_ids[nth].as_str());
    for (sent, read) in [("rid_a%3Fb", a), ("rid_a%20b", a_b), ("rid_a%2520b", a_b), ("rid_a%23b", a_hash_b)]
    {
        let answer = service.get(sent).await;
        assert_eq!((answer.status, answer.json()["subscriptionId"].as_str()), (200, Some(read)), "{sent}");
    }
    for sent in ["rid_a%253Fb", "rid_a%2525b"] {
        service.get(sent).await.assert_problem(400, "invalid_subscription_id");
    }
    for (sent, status, text) in [
        ("rid_a%25b", 400, r#"{"message":"Bad Request"}"#),
        ("rid_a%zz", 400, r#"{"message":"Bad Request"}"#),
        ("rid_a%2Fb", 404, r#"{"message":"Not Found"}"#),
        ("rid_a%252Fb", 404, r#"{"message":"Not Found"}"#),
    ] {
        let answer = service.get(sent).await;
        assert_eq!((answer.status, answer.text()), (status, text), "{sent}");
    }
}

#[tokio::test]
async fn a_route_is_found_by_the_decoded_path() {
    let service = Service::start().await;
    let headers = [("X-Api-Key", service.api_key.as_str()), ("Content-Type", "application/json")];
    let body = cancel_next_day().to_string();
    let path = format!("/subscriptions/{ACTIVATED}%2Fcancel");
    assert_eq!(service.send(Method::POST, &path, &headers, body.as_bytes()).await.status, 200);
    assert_eq!(service.version(ACTIVATED).await, 2);
}

#[tokio::test]
async fn a_stop_waits_for_a_request_that_is_under_way() {
    let (database, service, wire) = Service::start_wired().await;
    let held = wire.hold_answer("TransactWriteItems");
    let body = cancel_next_day();
    let (answer, ()) = tokio::join!(service.cancel_once(ACTIVATED, "k", &body), async {
        held.reached().await;
        tokio::join!(service.stop(), async { held.release() });
    });
    assert_eq!(answer.status, 200);
    assert_eq!(database.version(ACTIVATED).await, 2);
}

#[tokio::test]
async fn an_invalid_host_is_refused() {
    let service = Service::start().await;
    for host in ["a b", "256.256.256.256", "[::1", "a/b", "%zz"] {
        let headers = [("X-Api-Key", service.api_key.as_str()), ("Host", host)];
        let answer = service.send(Method::GET, &format!("/subscriptions/{ACTIVATED}"), &headers, b"").await;
        assert_eq!(answer.status, 400, "{host}: {}", answer.text());
    }
}
