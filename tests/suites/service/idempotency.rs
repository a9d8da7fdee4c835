//! The same idempotency key with the same request gets the same answer for 24 hours, and takes effect once.

use domain::api_key::Scope;
use domain::calendar::{Calendar, TimeZone};
use domain::import::NewSubscription;
use domain::origin::Author;
use harness::{ACTIVATED, ACTIVATED_TOO, CANCELLED, Fault, Response, Service, cancel_at, cancel_next_day};
use reqwest::Method;
use serde_json::json;
use service::ids;
use service::import;

/// Asserts that a replay equals the answer that it repeats, apart from the headers of the exchange.
fn assert_replays(replay: &Response, first: &Response) {
    assert!(!first.is_replay());
    assert!(replay.is_replay(), "{}", replay.text());
    assert_eq!((replay.status, &replay.body), (first.status, &first.body));
    for header in ["content-type", "etag", "cache-control"] {
        assert_eq!(replay.header(header), first.header(header), "{header}");
    }
    assert_ne!(replay.header("x-request-id"), first.header("x-request-id"));
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_and_changes_nothing() {
    let service = Service::start().await;
    let first = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    assert_eq!(first.status, 200);
    let stored = service.stored(ACTIVATED).await;

    service.advance_clock("PT10M").await;
    assert_replays(&service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await, &first);
    assert_eq!(service.stored(ACTIVATED).await, stored);
}

#[tokio::test]
async fn an_answer_is_replayed_though_the_subscription_has_changed_since() {
    let service = Service::start().await;
    let first = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    service.cancel(ACTIVATED, &cancel_at("2026-06-01")).await;
    assert_replays(&service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await, &first);

    service.set_clock("2026-02-01T12:00:00Z").await;
    service.execute().await;
    assert_replays(&service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await, &first);
    assert_eq!(service.version(ACTIVATED).await, 3);
}

#[tokio::test]
async fn another_request_with_the_same_key_is_a_mismatch_and_changes_nothing() {
    let service = Service::start().await;
    let path = format!("/subscriptions/{ACTIVATED}/cancel");
    let body = cancel_next_day().to_string();
    let send = async |path: &str, content_type: &str, body: &str| {
        let headers = [
            ("X-Api-Key", service.api_key.as_str()),
            ("X-Idempotency-Key", "k"),
            ("Content-Type", content_type),
        ];
        service.send(Method::POST, path, &headers, body.as_bytes()).await
    };
    assert_eq!(send(&path, "application/json", &body).await.status, 200);

    let other_path = format!("/subscriptions/{ACTIVATED_TOO}/cancel");
    let by_reference = "/subscriptions/rid_crm-1001/cancel";
    let no_id = "/subscriptions/x/cancel";
    let query = format!("{path}?a=1");
    for (path, content_type, body) in [
        (other_path.as_str(), "application/json", body.as_str()),
        (by_reference, "application/json", &body),
        (no_id, "application/json", &body),
        (&query, "application/json", &body),
        (&path, "application/json; charset=utf-8", &body),
        (&path, "text/plain", &body),
        (&path, "application/json", &format!("{body} ")),
        (&path, "application/json", "{"),
        (&path, "application/json", ""),
    ] {
        let answer = send(path, content_type, body).await;
        answer.assert_problem(409, "idempotency_key_mismatch");
        assert!(!answer.is_replay());
    }
    assert!(send(&path, "application/json", &body).await.is_replay());
    assert_eq!((service.version(ACTIVATED).await, service.version(ACTIVATED_TOO).await), (2, 1));
}

#[tokio::test]
async fn a_key_is_free_after_24_hours_to_the_second_though_its_record_is_still_there() {
    let service = Service::start().await;
    let body = cancel_at("2026-06-01");
    service.set_clock("2026-01-31T12:00:00Z").await;
    let first = service.cancel_once(ACTIVATED, "k", &body).await;
    let record = service.item("idempotency", "demo#k").await.unwrap();

    service.set_clock("2026-02-01T11:59:00Z").await;
    assert_replays(&service.cancel_once(ACTIVATED, "k", &body).await, &first);

    service.set_clock("2026-02-01T12:00:01Z").await;
    assert_eq!(service.item("idempotency", "demo#k").await.unwrap(), record);
    let other = cancel_at("2026-07-01");
    let anew = service.cancel_once(ACTIVATED, "k", &other).await;
    assert_eq!((anew.status, anew.is_replay()), (200, false));
    assert_eq!(service.version(ACTIVATED).await, 3);
    assert_replays(&service.cancel_once(ACTIVATED, "k", &other).await, &anew);
}

#[tokio::test]
async fn advancing_the_clock_by_24_hours_frees_a_key() {
    let service = Service::start().await;
    service.cancel_once(ACTIVATED, "k", &cancel_at("2026-06-01")).await;
    service.advance_clock("PT24H").await;
    let anew = service.cancel_once(ACTIVATED, "k", &cancel_at("2026-07-01")).await;
    assert_eq!((anew.status, anew.is_replay()), (200, false));
}

#[tokio::test]
async fn a_refusal_because_of_the_subscriptions_state_is_recorded() {
    let service = Service::start().await;
    let body = cancel_next_day();
    let cancelled = service.cancel_once(CANCELLED, "k1", &body).await;
    cancelled.assert_problem(409, "subscription_already_cancelled");
    assert_replays(&service.cancel_once(CANCELLED, "k1", &body).await, &cancelled);

    let unborn = "a81bc81b-dead-4e5d-abff-90865d1e13b1";
    let not_found = service.cancel_once(unborn, "k2", &body).await;
    not_found.assert_problem(404, "subscription_not_found");
    let now = harness::instant(harness::START);
    let document = json!({"subscriptionId": unborn, "status": "ACTIVATED"});
    let new =
        NewSubscription::from_json(document, &Calendar::new(TimeZone::UTC, now), now, ids::new()).unwrap();
    import::import(
        &service.admin(),
        &"demo".parse().unwrap(),
        &new,
        harness::ANY_IMPORT,
        &Author::import(None),
        now,
    )
    .await
    .unwrap();
    assert_replays(&service.cancel_once(unborn, "k2", &body).await, &not_found);
    assert_eq!(service.cancel_once(unborn, "k3", &body).await.status, 200);
}

#[tokio::test]
async fn a_success_that_changes_nothing_is_recorded() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let first = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    assert_eq!(first.status, 200);
    service.cancel(ACTIVATED, &cancel_at("2026-06-01")).await;
    assert_replays(&service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await, &first);
}

#[tokio::test]
async fn a_faulty_request_or_a_failing_database_leaves_the_key_free() {
    let (database, service, wire) = Service::start_wired().await;
    let reads = database.add_key("demo", "reads", &[Scope::Read]).await.reveal();
    let body = cancel_next_day();
    let send = async |api_key: &str, id: &str, content_type: &str, body: &[u8]| {
        let headers = [("X-Api-Key", api_key), ("X-Idempotency-Key", "k"), ("Content-Type", content_type)];
        service.cancel_as(id, &headers, body).await.status
    };
    let json = "application/json";
    assert_eq!(send("garbage", ACTIVATED, json, b"{}").await, 401);
    assert_eq!(send(&reads, ACTIVATED, json, b"{}").await, 403);
    assert_eq!(send(&service.api_key, "x", json, b"{}").await, 400);
    assert_eq!(send(&service.api_key, ACTIVATED, json, b"{").await, 400);
    assert_eq!(send(&service.api_key, ACTIVATED, json, &[b' '; 32_769]).await, 413);
    assert_eq!(send(&service.api_key, ACTIVATED, "text/plain", b"{}").await, 415);
    assert_eq!(send(&service.api_key, ACTIVATED, json, b"{}").await, 422);
    wire.always("TransactWriteItems", Fault::refusal("ThrottlingException"));
    assert_eq!(send(&service.api_key, ACTIVATED, json, body.to_string().as_bytes()).await, 503);
    wire.always("TransactWriteItems", Fault::conflict());
    assert_eq!(send(&service.api_key, ACTIVATED, json, body.to_string().as_bytes()).await, 409);
    wire.clear_faults();

    assert_eq!(database.item("idempotency", "demo#k").await, None);
    let answer = service.cancel_once(ACTIVATED, "k", &body).await;
    assert_eq!((answer.status, answer.is_replay()), (200, false));
}

#[tokio::test]
async fn either_header_carries_the_key_and_both_must_agree() {
    let service = Service::start().await;
    let body = cancel_next_day();
    let first = service.cancel_with(ACTIVATED, &[("Idempotency-Key", "k")], &body).await;
    assert_eq!(first.status, 200);
    assert_replays(&service.cancel_with(ACTIVATED, &[("X-Idempotency-Key", "k")], &body).await, &first);
    let both = [("X-Idempotency-Key", "k"), ("Idempotency-Key", "k")];
    assert_replays(&service.cancel_with(ACTIVATED, &both, &body).await, &first);

    let differing = [("X-Idempotency-Key", "k"), ("Idempotency-Key", "l")];
    let refused = service.cancel_with(ACTIVATED, &differing, &body).await;
    refused.assert_problem(400, "idempotency_key_invalid");
}

#[tokio::test]
async fn a_key_is_1_to_256_printable_ascii_characters() {
    let service = Service::start().await;
    let body = cancel_next_day();
    let longest = "k".repeat(256);
    for valid in ["!", "a b~", &longest] {
        assert_eq!(service.cancel_once(ACTIVATED, valid, &body).await.status, 200, "{valid}");
    }
    let longer = "k".repeat(257);
    for invalid in ["", "é", "a\tb", &longer] {
        let refused = service.cancel_once(ACTIVATED, invalid, &body).await;
        refused.assert_problem(400, "idempotency_key_invalid");
    }
}

#[tokio::test]
async fn a_request_that_meets_another_write_is_tried_again() {
    let (_database, service, wire) = Service::start_wired().await;
    wire.next("TransactWriteItems", [Fault::conflict()]);
    let answer = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    assert_eq!((answer.status, answer.is_replay()), (200, false));
    assert_eq!(wire.seen(), ["BatchGetItem", "TransactWriteItems", "TransactWriteItems"]);
    assert_eq!(service.version(ACTIVATED).await, 2);
}

#[tokio::test]
async fn a_refusal_because_of_the_date_is_recorded_and_one_because_of_the_form_is_not() {
    let service = Service::start().await;
    let today = cancel_at("2026-01-31");
    let refused = service.cancel_once(ACTIVATED, "k1", &today).await;
    refused.assert_problem(422, "validation_failed");
    assert_replays(&service.cancel_once(ACTIVATED, "k1", &today).await, &refused);
    let other = service.cancel_once(ACTIVATED, "k1", &cancel_next_day()).await;
    other.assert_problem(409, "idempotency_key_mismatch");

    // With another fault in the body, the request is invalid at any time, so the refusal is not recorded.
    let mut wrong = today;
    wrong["reason"] = json!("NONE");
    service.cancel_once(ACTIVATED, "k2", &wrong).await.assert_problem(422, "validation_failed");
    assert_eq!(service.cancel_once(ACTIVATED, "k2", &cancel_next_day()).await.status, 200);
}

#[tokio::test]
async fn a_failed_precondition_is_recorded() {
    let service = Service::start().await;
    let headers = [("X-Idempotency-Key", "k"), ("If-Match", "\"0\"")];
    let refused = service.cancel_with(ACTIVATED, &headers, &cancel_next_day()).await;
    refused.assert_problem(412, "precondition_failed");
    // The recorded answer is looked up before the precondition is checked.
    let etag = service.get(ACTIVATED).await.header("etag").unwrap().to_owned();
    let headers = [("X-Idempotency-Key", "k"), ("If-Match", etag.as_str())];
    assert_replays(&service.cancel_with(ACTIVATED, &headers, &cancel_next_day()).await, &refused);
}

#[tokio::test]
async fn a_key_that_is_sent_twice_or_in_quotes_is_one_key() {
    let service = Service::start().await;
    let body = cancel_next_day();
    let first = service.cancel_once(ACTIVATED, "d1", &body).await;
    assert_eq!(first.status, 200);
    for headers in [
        &[("X-Idempotency-Key", "d1"), ("X-Idempotency-Key", "d1")][..],
        // Joined as a gateway does.
        &[("X-Idempotency-Key", "d1,d1")],
        &[("X-Idempotency-Key", "d1, d1"), ("Idempotency-Key", "d1")],
        &[("Idempotency-Key", "\"d1\"")],
        &[("Idempotency-Key", "\"d1\""), ("X-Idempotency-Key", "d1")],
    ] {
        assert_replays(&service.cancel_with(ACTIVATED, headers, &body).await, &first);
    }
    for headers in [
        &[("X-Idempotency-Key", "d1,d2")][..],
        &[("X-Idempotency-Key", "d1,")],
        &[("X-Idempotency-Key", "\"d1\""), ("Idempotency-Key", "d1")],
        &[("Idempotency-Key", "\"d1")],
        &[("Idempotency-Key", "\"d1\"x")],
        &[("Idempotency-Key", "\"\"")],
        &[("Idempotency-Key", "\"d\\1\"")],
        &[("Idempotency-Key", "\"d1,d1\"")],
    ] {
        let refused = service.cancel_with(ACTIVATED, headers, &body).await;
        refused.assert_problem(400, "idempotency_key_invalid");
    }
    let quoted = [("Idempotency-Key", r#""a \"b\" \\ c""#)];
    assert_eq!(service.cancel_with(ACTIVATED_TOO, &quoted, &body).await.status, 200);
    assert!(service.cancel_once(ACTIVATED_TOO, r#"a "b" \ c"#, &body).await.is_replay());
}

#[tokio::test]
async fn the_content_type_of_a_request_without_a_body_does_not_count() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let first = service.withdraw_once(ACTIVATED, "k").await;
    assert_eq!(first.status, 200);
    let headers = [("X-Idempotency-Key", "k"), ("Content-Type", "application/json")];
    assert_replays(&service.withdraw_with(ACTIVATED, &headers).await, &first);
}
