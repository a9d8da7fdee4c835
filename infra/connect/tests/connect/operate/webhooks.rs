//! Webhooks: added, listed, rotated and removed; attempts; and events that are sent again.

use ::domain::webhook::Webhook;
use harness::receiver::{Answer, Receiver};
use harness::{ACTIVATED, BLOCKED, Service, cancel_at, cancel_next_day, options};
use local::up::Options;
use serde_json::{Value, json};

use super::{Said, connect, connect_in, process};

/// Starts a service that publishes and delivers events.
async fn publishing() -> Service {
    Service::start_with(Options { publishes: true, ..options() }).await
}

/// Runs a command at the present time, in which deliveries happen.
async fn webhooks(service: &Service, arguments: &[&str]) -> Said {
    let now = service::clock::Clock::system().now().to_rfc3339();
    connect_in(service, &service.tables, &now, &[&["webhooks"], arguments, &["--tenant", "demo"]].concat())
        .await
}

/// Adds a webhook for this receiver, which verifies the signatures from then on. Returns its id.
async fn add(service: &Service, receiver: &Receiver) -> String {
    let added = webhooks(service, &["add", &receiver.url, "--any-address", "--json"]).await.json();
    receiver.verify_with(added["secret"].as_str().unwrap());
    added["webhookId"].as_str().unwrap().to_owned()
}

async fn stored(service: &Service) -> Vec<Webhook> {
    service.store().webhooks(&"demo".parse().unwrap()).await.unwrap().found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once() {
    let service = Service::start().await;
    let added = webhooks(&service, &["add", "https://anna:s3cret@example.com/events"]).await;
    let secret = added.out.trim_end();
    assert!(secret.starts_with("whsec_") && secret.lines().count() == 1, "{added:?}");
    let id = stored(&service).await[0].id.to_string();
    assert!(added.notes.contains(&id), "{added:?}");
    for command in [&["list"][..], &["show", &id], &["disable", &id], &["enable", &id], &["list", "--json"]] {
        let shown = webhooks(&service, command).await.done();
        assert!(shown.contains(&id) && shown.contains("https://anna:***@example.com/events"), "{shown}");
        assert!(!shown.contains("whsec_") && !shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_not_of_the_public_internet_is_refused_unless_allowed() {
    let service = Service::start().await;
    for (url, why) in [
        ("example.com", "write a URL"),
        ("http://example.com", "must begin with https"),
        ("https://10.0.0.1/events", "the address is not public"),
        ("https://[::1]/events", "the address is not public"),
    ] {
        let refused = webhooks(&service, &["add", url]).await.failed(2);
        assert!(refused.contains(why), "{url}: {refused}");
    }
    webhooks(&service, &["add", "http://10.0.0.1/events", "--any-address"]).await.done();
    assert_eq!(stored(&service).await.len(), 1);
    let other = connect(&service, &["webhooks", "add", "https://example.com", "--tenant", "nobody"]);
    assert_eq!(other.failed(1), "there is no tenant nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_filtered_by_type_disabled_enabled_and_removed() {
    let (service, receiver) = (publishing().await, Receiver::start());
    let id = add(&service, &receiver).await;
    let only = ["add", &receiver.url, "--any-address", "--event", "subscription.cancelled"];
    webhooks(&service, &only).await.done();
    service.cancel(ACTIVATED, &cancel_at("2026-03-01")).await;
    assert_eq!(receiver.taken(1).await.len(), 1);

    let disabled = webhooks(&service, &["disable", &id, "--json"]).await.json();
    assert_eq!((&disabled["enabled"], &disabled["disabledBy"]), (&json!(false), &json!("OPERATOR")));
    service.cancel(ACTIVATED, &cancel_at("2026-04-01")).await;
    service.until_delivered(2).await;
    let enabled = webhooks(&service, &["enable", &id, "--json"]).await.json();
    assert_eq!((&enabled["enabled"], enabled.get("disabledBy")), (&json!(true), None));
    // What was missed meanwhile is sent on request.
    let resent = webhooks(&service, &["resend", "--failed", "--since", "1h", "--json"]).await.json();
    assert_eq!(resent.as_array().unwrap().len(), 1);
    let dates = |events: &[Value]| -> Vec<Value> {
        events.iter().map(|event| event["data"]["pendingStatus"]["scheduledAt"].clone()).collect()
    };
    assert_eq!(dates(&receiver.taken(2).await), ["2026-03-01", "2026-04-01"]);
    // Now nothing is missing.
    let resent = webhooks(&service, &["resend", "--failed", "--since", "1h"]).await.done();
    assert_eq!(resent, "0 events sent again");

    let asked = webhooks(&service, &["remove", &id]).await.failed(2);
    assert!(asked.contains("add --yes"), "{asked}");
    webhooks(&service, &["remove", &id, "--yes"]).await.done();
    assert_eq!(stored(&service).await.len(), 1);
    let gone = webhooks(&service, &["show", &id]).await.failed(1);
    assert_eq!(gone, format!("demo has no webhook {id}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_signs_beside_its_successor_for_a_while_or_not_at_all() {
    let (service, receiver) = (publishing().await, Receiver::start());
    let id = add(&service, &receiver).await;
    // The receiver still has the former secret.
    let rotated = webhooks(&service, &["rotate", &id, "--until", "1h", "--json"]).await.json();
    assert!(rotated["formerSecretUntil"].is_string(), "{rotated}");
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    receiver.taken(1).await;
    // And then the new one.
    receiver.verify_with(rotated["secret"].as_str().unwrap());
    service.withdraw(ACTIVATED).await;
    receiver.taken(2).await;
    let last = webhooks(&service, &["rotate", &id, "--now"]).await;
    assert!(last.notes.contains("is dropped now") && last.notes.contains("signs no more"), "{last:?}");
    receiver.verify_with(last.out.trim_end());
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    receiver.taken(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_listed_and_an_event_is_sent_again() {
    let (service, receiver) = (publishing().await, Receiver::start());
    let id = add(&service, &receiver).await;
    receiver.next([Answer::Status(500)]);
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.until_delivered(1).await;
    service.cancel(BLOCKED, &cancel_next_day()).await;
    service.until_delivered(2).await;

    let attempts = webhooks(&service, &["attempts", "--json"]).await.json();
    let said: Vec<_> =
        attempts.as_array().unwrap().iter().map(|attempt| attempt["outcome"].clone()).collect();
    assert_eq!(said, ["DELIVERED", "DELIVERED", "RETRYING"]);
    let first = attempts[2]["eventId"].as_str().unwrap();
    let of_event = webhooks(&service, &["attempts", "--event", first]).await.done();
    assert_eq!(of_event.lines().count(), 3, "{of_event}");
    assert!(of_event.contains(" 500") && of_event.contains(" 204"), "{of_event}");
    let failed = webhooks(&service, &["attempts", "--failed", "--json", "--webhook", &id]).await.json();
    assert_eq!((failed.as_array().unwrap().len(), &failed[0]["status"]), (1, &json!(500)));
    let limited = webhooks(&service, &["attempts", "--limit", "1", "--json"]).await.json();
    assert_eq!(limited.as_array().unwrap().len(), 1);

    let resent = webhooks(&service, &["resend", "--event", first, "--json"]).await.json();
    assert_eq!(resent, json!([{"webhookId": id, "eventId": first}]));
    let posted = receiver.posted(3).await;
    let of_it = posted.iter().filter(|(event, _)| event["eventId"] == first).collect::<Vec<_>>();
    assert!(of_it.len() == 3 && of_it.iter().all(|(event, _)| *event == of_it[0].0), "{of_it:?}");
    let unknown = ["resend", "--event", "00000000-0000-4000-8000-000000000000"];
    let unknown = webhooks(&service, &unknown).await.failed(1);
    assert!(unknown.contains("is not kept"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_shows_the_answer_of_the_receiver() {
    let (service, receiver) = (publishing().await, Receiver::start());
    let id = add(&service, &receiver).await;
    let pinged = webhooks(&service, &["ping", &id, "--json"]).await.json();
    assert_eq!((&pinged["status"], &pinged["type"]), (&json!(204), &json!("webhook.ping")));
    assert_eq!(receiver.taken(1).await[0]["data"]["webhookId"], json!(id));
    receiver.next([Answer::Status(404)]);
    let refused = webhooks(&service, &["ping", &id]).await;
    assert!(refused.out.contains(" 404"), "{refused:?}");
    assert_eq!(refused.failed(1), "the receiver did not accept the event");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_receiver_cannot_act_on_the_terminal() {
    let (service, receiver) = (publishing().await, Receiver::start());
    let id = add(&service, &receiver).await;
    receiver.next([Answer::Text(200, "\u{1b}]0;X\u{7}\u{1b}[2J\r\nFAKE")]);
    let pinged = webhooks(&service, &["ping", &id]).await.done();
    assert!(pinged.contains(r"\u{1b}]0;X\u{7}\u{1b}[2J\r\nFAKE"), "{pinged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_has_a_json_schema_that_stands_alone() {
    let (service, receiver) = (publishing().await, Receiver::start());
    add(&service, &receiver).await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let event = &receiver.taken(1).await[0];
    let mut command = process(&service, &service.dynamodb_url, &["events", "schema", "--json"]);
    let schemas = Said::of(command.output().unwrap()).json();
    let types: Vec<_> = schemas.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(types, ["subscription.cancelled", "subscription.updated", "webhook.ping"]);
    let updated = connect(&service, &["events", "schema", "subscription.updated"]).done();
    let updated: Value = serde_json::from_str(&updated).unwrap();
    assert_eq!(updated, schemas["subscription.updated"]);
    harness::openapi::check(&jsonschema::validator_for(&updated).unwrap(), event).unwrap();
    let mut other = event.clone();
    other["version"] = json!("2");
    assert!(!jsonschema::is_valid(&updated, &other));
    let unknown = connect(&service, &["events", "schema", "x"]).failed(2);
    assert_eq!(unknown, "there is no such type of events");
}
