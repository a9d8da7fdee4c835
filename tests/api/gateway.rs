//! What API Gateway answers itself, and what it hands on.

use harness::{ACTIVATED, Service, cancel_next_day};
use reqwest::Method;

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let service = Service::start().await;
    let id = format!("/subscriptions/{ACTIVATED}/");
    for path in ["/", "/subscriptions", "/subscriptions/", &id, "/subscriptions/a/b", "/_local/nothing"] {
        let answer = service.send(Method::GET, path, &[], b"").await;
        assert_eq!((answer.status, answer.text()), (404, r#"{"message":"Not Found"}"#), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_method_is_not_allowed() {
    let service = Service::start().await;
    let subscription = format!("/subscriptions/{ACTIVATED}");
    let cancel = format!("{subscription}/cancel");
    for (method, path, allowed) in [
        (Method::PUT, &subscription, "GET"),
        (Method::POST, &subscription, "GET"),
        (Method::GET, &cancel, "POST"),
        (Method::PATCH, &cancel, "POST"),
    ] {
        let answer = service.send(method, path, &[("X-Api-Key", &service.api_key)], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{path}");
    }
}

#[tokio::test]
async fn two_values_of_one_header_are_one_value_with_a_comma() {
    let service = Service::start().await;
    let body = cancel_next_day();
    let twice = [("X-Idempotency-Key", "a"), ("X-Idempotency-Key", "b")];
    assert_eq!(service.cancel_with(ACTIVATED, &twice, &body).await.status, 200);
    assert!(service.cancel_once(ACTIVATED, "a,b", &body).await.is_replay());
}

#[tokio::test]
async fn a_body_of_another_type_arrives_as_it_was_sent() {
    let service = Service::start().await;
    // Not JSON by its type, so in base64 inside the event; the fingerprint is of the bytes all the same.
    let headers = [("X-Api-Key", service.api_key.as_str()), ("Content-Type", "application/octet-stream")];
    let answer = service.cancel_as(ACTIVATED, &headers, &[b' '; 40_000]).await;
    answer.assert_problem(415, "unsupported_media_type");
    let huge = vec![b' '; 10 * 1024 * 1024 + 1];
    let answer = service.cancel_as(ACTIVATED, &headers, &huge).await;
    assert_eq!((answer.status, answer.text()), (413, r#"{"message":"Request Entity Too Large"}"#));
}

#[tokio::test]
async fn a_host_that_is_none_is_refused() {
    let service = Service::start().await;
    for host in ["a b", "256.256.256.256", "[::1", "a/b", "%zz"] {
        let headers = [("X-Api-Key", service.api_key.as_str()), ("Host", host)];
        let answer = service.send(Method::GET, &format!("/subscriptions/{ACTIVATED}"), &headers, b"").await;
        assert_eq!(answer.status, 400, "{host}: {}", answer.text());
    }
}
