//! `POST /subscriptions/{subscriptionId}/cancel`

use harness::{
    ACTIVATED, ACTIVATED_TOO, CANCELLED, Response, START, Service, cancel_at, cancel_next_day, options,
};
use local::up::Options;
use reqwest::Method;
use serde_json::{Value, json};

use super::get_subscription::full_document;

fn pending(answer: &Response) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["pendingStatus"].clone()
}

fn cancelled_on(date: &str) -> Value {
    json!({"status": "CANCELLED", "scheduledAt": date})
}

#[tokio::test]
async fn each_schedule_means_a_date_in_the_tenants_calendar() {
    let service = Service::start().await;
    for (schedule, date) in [
        (json!({"type": "CancelNextDay"}), "2026-02-01"),
        (json!({"type": "CancelAtBeginningOfNextMonth"}), "2026-02-01"),
        (json!({"type": "CancelAtDate", "date": "2026-12-31"}), "2026-12-31"),
    ] {
        let body = json!({"schedule": schedule, "reason": "NO_NEED"});
        assert_eq!(pending(&service.cancel(ACTIVATED, &body).await), cancelled_on(date));
    }
}

#[tokio::test]
async fn the_next_day_is_that_of_the_tenants_time_zone() {
    // 22:30 UTC on 31 January is 11:30 on 1 February in Auckland.
    let auckland = "Pacific/Auckland".parse().unwrap();
    let service = Service::start_with(Options { time_zone: auckland, ..options() }).await;
    assert_eq!(pending(&service.cancel(ACTIVATED, &cancel_next_day()).await), cancelled_on("2026-02-02"));
    assert_eq!(service.stored(ACTIVATED).await["dueAt"].as_s().unwrap(), "2026-02-01T11:00:00Z");

    service.cancel(ACTIVATED, &cancel_at("2026-02-01")).await.assert_problem(422, "validation_failed");
}

#[tokio::test]
async fn a_subscription_can_be_cancelled_by_its_reference_id() {
    let service = Service::start().await;
    assert_eq!(
        pending(&service.cancel("rid_crm-1001", &cancel_next_day()).await),
        cancelled_on("2026-02-01")
    );
    assert_eq!(pending(&service.get(ACTIVATED).await), cancelled_on("2026-02-01"));
    service.cancel("rid_nobody", &cancel_next_day()).await.assert_problem(404, "subscription_not_found");
}

#[tokio::test]
async fn a_pending_cancellation_is_replaced_by_a_new_one() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let first = service.stored(ACTIVATED).await;

    assert_eq!(
        pending(&service.cancel(ACTIVATED, &cancel_at("2026-03-15")).await),
        cancelled_on("2026-03-15")
    );
    let second = service.stored(ACTIVATED).await;
    assert_eq!(service.version(ACTIVATED).await, 3);
    assert_ne!(first["cancellationId"], second["cancellationId"]);
    assert_eq!(second["dueAt"].as_s().unwrap(), "2026-03-14T23:00:00Z");
}

#[tokio::test]
async fn a_request_for_the_same_date_and_reason_succeeds_and_changes_nothing() {
    let service = Service::start().await;
    let first = service.cancel(ACTIVATED, &cancel_next_day()).await;
    let stored = service.stored(ACTIVATED).await;

    service.advance_clock("PT10M").await;
    let again = service.cancel(ACTIVATED, &cancel_at("2026-02-01")).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(service.stored(ACTIVATED).await, stored);

    let mut other_reason = cancel_next_day();
    other_reason["reason"] = json!("FRAUD");
    assert_eq!(service.cancel(ACTIVATED, &other_reason).await.status, 200);
    assert_eq!(service.version(ACTIVATED).await, 3);
}

#[tokio::test]
async fn a_pending_change_to_another_status_is_superseded_and_other_changes_stay() {
    let service = Service::start_seeded(&[full_document()]).await;
    let answer = service.cancel(&service.subscription_ids[0], &cancel_next_day()).await;
    assert_eq!(pending(&answer), cancelled_on("2026-02-01"));
    let document = answer.json();
    assert_eq!(document["pendingMsisdn"], full_document()["pendingMsisdn"]);
    assert_eq!(document["pendingProductOffering"], full_document()["pendingProductOffering"]);
}

#[tokio::test]
async fn the_cancellation_keeps_its_caller_time_and_reason() {
    let service = Service::start().await;
    let body = json!({
        "schedule": {"type": "CancelNextDay"},
        "reason": "OTHER",
        "comment": "Moves abroad",
        "metadata": {"ticket": "T-1", "large": 1e300, "list": [[[null]]]},
    });
    let answer = service.cancel(ACTIVATED, &body).await;
    assert_eq!(answer.json()["metadata"], json!({"channel": "web"}), "the subscription's metadata stays");

    let stored = service.stored(ACTIVATED).await;
    let cancellation = stored["cancellation"].as_m().unwrap();
    let text = |name: &str| cancellation[name].as_s().unwrap().as_str();
    assert_eq!(text("reason"), "OTHER");
    assert_eq!(text("comment"), "Moves abroad");
    assert_eq!(serde_json::from_str::<Value>(text("metadata")).unwrap(), body["metadata"]);
    assert!(service.api_key.starts_with(&format!("ck_demo_{}_", text("requestedBy"))));
    assert!(text("requestedAt").starts_with(&START[..16]), "{}", text("requestedAt"));
    assert_eq!(text("effectiveAt"), "2026-01-31T23:00:00Z");
}

#[tokio::test]
async fn all_faults_of_a_body_are_listed_at_once() {
    let service = Service::start().await;
    let body = json!({
        "schedule": {"type": "CancelAtDate", "date": "2026-01-31", "hour": 3},
        "reason": "OTHER",
        "metadata": [],
        "force": true,
    });
    let answer = service.cancel(ACTIVATED, &body).await;
    answer.assert_problem(422, "validation_failed");
    let faults = answer.json()["errors"].clone();
    let faults: Vec<_> =
        faults.as_array().unwrap().iter().map(|fault| (&fault["pointer"], &fault["code"])).collect();
    assert_eq!(
        faults,
        [
            (&json!("/force"), &json!("unknown_member")),
            (&json!("/schedule/hour"), &json!("unknown_member")),
            (&json!("/schedule/date"), &json!("not_in_future")),
            (&json!("/metadata"), &json!("wrong_type")),
            (&json!("/comment"), &json!("required")),
        ]
    );
    assert_eq!(service.version(ACTIVATED).await, 1);
}

#[tokio::test]
async fn the_fault_in_a_body_that_is_not_json_is_located() {
    let service = Service::start().await;
    let key = [("X-Api-Key", service.api_key.as_str())];
    for (body, place) in [
        (&b"{\n  \"reason\": oops}"[..], "line 2, column 13"),
        (b"", "line 1, column 0"),
        (b"{\"reason\": \"FRAUD\", \"reason\": \"NO_NEED\"}", "line 1"),
        (b"{\"reason\": \"\xff\"}", "line 1"),
    ] {
        let answer = service.cancel_as(ACTIVATED, &key, body).await;
        answer.assert_problem(400, "malformed_json");
        assert!(answer.json()["detail"].as_str().unwrap().contains(place), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_body_has_at_most_32_kib() {
    let service = Service::start().await;
    let key = [("X-Api-Key", service.api_key.as_str())];
    let mut body = cancel_next_day().to_string().into_bytes();
    body.resize(32 * 1024, b' ');
    assert_eq!(service.cancel_as(ACTIVATED, &key, &body).await.status, 200);
    body.push(b' ');
    service.cancel_as(ACTIVATED_TOO, &key, &body).await.assert_problem(413, "payload_too_large");
}

#[tokio::test]
async fn a_body_must_be_declared_as_json() {
    let service = Service::start().await;
    let body = cancel_next_day().to_string();
    for (content_type, status) in [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ("application/json; charset=iso-8859-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/octet-stream", 415),
        ("json", 415),
        ("", 415),
    ] {
        let headers = [("X-Api-Key", service.api_key.as_str()), ("Content-Type", content_type)];
        let answer = service.cancel_as(ACTIVATED, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{content_type}: {}", answer.text());
        if status == 415 {
            answer.assert_problem(415, "unsupported_media_type");
        }
    }
    let path = format!("/subscriptions/{ACTIVATED}/cancel");
    let headers = [("X-Api-Key", service.api_key.as_str())];
    let without = service.send(Method::POST, &path, &headers, body.as_bytes()).await;
    without.assert_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn an_invalid_subscription_id_is_refused() {
    let service = Service::start().await;
    for id in ["1", "rid_", "crm-1001"] {
        service.cancel(id, &cancel_next_day()).await.assert_problem(400, "invalid_subscription_id");
        service.cancel(id, &json!({})).await.assert_problem(400, "invalid_subscription_id");
    }
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_on_writes_and_ignored_on_reads() {
    let service = Service::start().await;
    let path = |query: &str| format!("/subscriptions/{ACTIVATED}/cancel?{query}");
    let headers = [("X-Api-Key", service.api_key.as_str()), ("Content-Type", "application/json")];
    let body = cancel_next_day().to_string();
    for (query, named) in [("dryRun=true", "dryRun"), ("b=1&a=2&a=3", "a, b"), ("%3Cx%3E", "<x>")] {
        let refused = service.send(Method::POST, &path(query), &headers, body.as_bytes()).await;
        refused.assert_problem(400, "unknown_parameter");
        assert!(refused.json()["detail"].as_str().unwrap().contains(&format!("no parameter {named}.")));
        let refused = service.send(Method::DELETE, &path(query), &headers[..1], b"").await;
        refused.assert_problem(400, "unknown_parameter");
    }
    assert_eq!(service.version(ACTIVATED).await, 1);
    // An empty query is allowed. A read ignores unknown parameters.
    assert_eq!(service.send(Method::POST, &path(""), &headers, body.as_bytes()).await.status, 200);
    let read = format!("/subscriptions/{ACTIVATED}?fields=status");
    assert_eq!(service.send(Method::GET, &read, &headers[..1], b"").await.status, 200);
}

#[tokio::test]
async fn a_change_with_if_match_applies_only_to_the_state_that_was_read() {
    let service = Service::start().await;
    let (body, other) = (cancel_next_day(), cancel_at("2026-06-01"));
    let read = service.get(ACTIVATED).await.header("etag").unwrap().to_owned();
    // Another caller is faster.
    let theirs = service.cancel(ACTIVATED, &other).await;
    let current = theirs.header("etag").unwrap().to_owned();

    let if_match = |tags: String| [("If-Match", tags)];
    for tags in [read.clone(), format!("W/{current}"), format!("{read}, \"x\""), "2".to_owned()] {
        let [(name, tags)] = if_match(tags);
        let refused = service.cancel_with(ACTIVATED, &[(name, &tags)], &body).await;
        refused.assert_problem(412, "precondition_failed");
        assert_eq!(refused.header("etag"), Some(current.as_str()), "{tags}");
        let refused = service.withdraw_with(ACTIVATED, &[(name, &tags)]).await;
        refused.assert_problem(412, "precondition_failed");
    }
    assert_eq!(service.get(ACTIVATED).await.body, theirs.body);

    let tags = format!("{read}, {current}");
    let replaced = service.cancel_with(ACTIVATED, &[("If-Match", &tags)], &body).await;
    assert_eq!(replaced.json()["pendingStatus"]["scheduledAt"], "2026-02-01");
    assert_eq!(service.withdraw_with(ACTIVATED, &[("If-Match", "*")]).await.status, 200);
    // A refusal for another reason comes before that of the precondition.
    let cancelled = service.cancel_with(CANCELLED, &[("If-Match", "\"0\"")], &body).await;
    cancelled.assert_problem(409, "subscription_already_cancelled");
    let unknown = service.cancel_with("rid_nobody", &[("If-Match", "*")], &body).await;
    unknown.assert_problem(404, "subscription_not_found");
}

#[tokio::test]
async fn a_compressed_body_gets_415_with_the_supported_encoding() {
    let service = Service::start().await;
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0];
    let headers = |encoding| [("X-Api-Key", service.api_key.as_str()), ("Content-Encoding", encoding)];
    let refused = service.cancel_as(ACTIVATED, &headers("gzip"), &gzip).await;
    refused.assert_problem(415, "unsupported_media_type");
    assert_eq!(refused.header("accept-encoding"), Some("identity"));
    // With the encoding `identity`, the fault is that the body is not JSON.
    let malformed = service.cancel_as(ACTIVATED, &headers("identity"), &gzip).await;
    malformed.assert_problem(400, "malformed_json");
    // The header is wrong, and the body is valid JSON.
    let body = cancel_next_day().to_string();
    assert_eq!(service.cancel_as(ACTIVATED, &headers("gzip"), body.as_bytes()).await.status, 200);
}
