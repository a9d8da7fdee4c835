//! Delivery of events, from a change to its receiver. A fault on the way delays events, and loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::calendar::{Calendar, TimeZone};
use domain::import::{Existing, NewSubscription, Rules};
use domain::origin::Author;
use domain::webhook::DisabledBy;
use futures::future::join_all;
use harness::receiver::{Answer, Receiver};
use harness::{ACTIVATED, BLOCKED, PAUSED, PENDING, Service, cancel_at, cancel_next_day, instant, options};
use local::up::Options;
use serde_json::{Value, json};
use service::deliver::Limits;
use service::ids;
use service::import;
use tempfile::{TempDir, tempdir};

fn publishing(receiver: &Receiver) -> Options {
    Options { webhook: Some(receiver.parsed_url()), publishes: true, ..options() }
}

/// Starts a service that posts events to this receiver, which verifies the signatures.
async fn start(receiver: &Receiver) -> Service {
    start_with(receiver, publishing(receiver)).await
}

async fn start_with(receiver: &Receiver, options: Options) -> Service {
    let service = Service::start_with(options).await;
    receiver.verify_with(service.webhook_secret.as_deref().unwrap());
    service
}

/// A service with a folder of its own, so that it can be started again.
struct Kept {
    options: Options,
    _folder: TempDir,
}

impl Kept {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let data = folder.path().to_owned();
        Self { options: Options { memory: false, data, publishes: true, ..options() }, _folder: folder }
    }

    async fn start(&self, receiver: &Receiver) -> Service {
        start_with(receiver, Options { webhook: Some(receiver.parsed_url()), ..self.options.clone() }).await
    }
}

/// Returns the dates for which a subscription is to be cancelled, in the order of the events.
fn dates(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["data"]["pendingStatus"]["scheduledAt"].as_str().unwrap_or("-")).collect()
}

#[tokio::test]
async fn each_change_of_a_subscription_is_posted_once() {
    let receiver = Receiver::start();
    let service = start(&receiver).await;
    let scheduled = service.cancel(ACTIVATED, &cancel_next_day()).await.json();
    let replaced = service.cancel(ACTIVATED, &cancel_at("2026-03-15")).await.json();
    // None of these is a change.
    service.cancel(ACTIVATED, &cancel_at("2026-03-15")).await;
    service.cancel(ACTIVATED, &json!({})).await.assert_problem(422, "validation_failed");
    service.withdraw(BLOCKED).await.assert_problem(409, "no_pending_cancellation");
    let withdrawn = service.withdraw_once(ACTIVATED, "k").await.json();
    assert!(service.withdraw_once(ACTIVATED, "k").await.is_replay());
    let again = service.cancel(ACTIVATED, &cancel_next_day()).await.json();
    service.set_clock("2026-01-31T23:00:30Z").await;
    assert_eq!(service.execute().await["executed"], 1);
    let cancelled = service.get(ACTIVATED).await.json();

    let events = receiver.taken(5).await;
    let data: Vec<_> = events.iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, [scheduled, replaced, withdrawn, again, cancelled.clone()]);
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, [&["subscription.updated"; 4][..], &["subscription.cancelled"]].concat());
    for event in &events[..4] {
        assert_eq!(event["occurredAt"], event["data"]["updatedAt"]);
    }
    assert_eq!(events[4]["occurredAt"], cancelled["cancelledAt"]);
    let ids: BTreeSet<_> = events.iter().map(|event| event["eventId"].to_string()).collect();
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn an_import_is_published_without_the_members_that_callers_do_not_see() {
    let receiver = Receiver::start();
    let service = start(&receiver).await;
    let now = instant(harness::START);
    let import = async |mut document: Value| {
        let known = service.get(document["subscriptionId"].as_str().unwrap()).await;
        if known.status == 200 {
            let mut all = known.json();
            all.as_object_mut().unwrap().extend(document.as_object().unwrap().clone());
            document = all;
        }
        let new = NewSubscription::from_json(document, &Calendar::new(TimeZone::UTC, now), now, ids::new())
            .unwrap();
        let rules = Rules { existing: Existing::Overwrite, takes_overdue: true };
        import::import(&service.admin(), &"demo".parse().unwrap(), &new, rules, &Author::import(None), now)
            .await
            .unwrap();
    };
    import(json!({"subscriptionId": "a81bc81b-dead-4e5d-abff-90865d1e13b1", "status": "ACTIVATED"})).await;
    import(json!({"subscriptionId": BLOCKED, "puk": "12345678"})).await;
    import(json!({"subscriptionId": BLOCKED, "display": "070-1"})).await;
    import(json!({"subscriptionId": BLOCKED, "status": "CANCELLED", "cancelledAt": "2026-01-01T00:00:00Z"}))
        .await;

    let events = receiver.taken(3).await;
    let said = events.iter().map(|event| json!([event["version"], event["type"], event["data"]["display"]]));
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            // The change of a hidden member is published as a change without its value.
            json!([2, "subscription.updated", "070-174 06 10"]),
            json!([3, "subscription.updated", "070-1"]),
            json!([4, "subscription.cancelled", "070-1"]),
        ]
    );
    // The time of an imported event is that of the write, whatever the document says.
    assert!(events[2]["occurredAt"].as_str() > Some("2026-01-01T00:00:00Z"), "{}", events[2]);
    assert!(events.iter().all(|event| event["cause"] == "IMPORTED"), "{events:?}");
    assert!(!format!("{events:?}").contains("12345678"));
}

#[tokio::test]
async fn events_for_a_receiver_that_is_down_are_posted_when_it_is_back() {
    let receiver = Receiver::down();
    let service = start(&receiver).await;
    for date in ["2026-03-01", "2026-04-01", "2026-05-01"] {
        assert_eq!(service.cancel(ACTIVATED, &cancel_at(date)).await.status, 200);
    }
    service.until_posted(2).await;
    receiver.open();
    assert_eq!(dates(&receiver.taken(3).await), ["2026-03-01", "2026-04-01", "2026-05-01"]);
}

#[tokio::test]
async fn an_event_is_posted_again_until_a_failing_or_slow_receiver_accepts_it() {
    let receiver = Receiver::start();
    // A refusal or a redirect may be a mistake of the receiver, too.
    let failures = [500, 429, 401, 404, 302].map(Answer::Status);
    receiver.next(failures.into_iter().chain([Answer::Never]));
    let limits = Limits { answer: Duration::from_secs(2), ..options().limits };
    let service = start_with(&receiver, Options { limits, ..publishing(&receiver) }).await;
    service.cancel(ACTIVATED, &cancel_at("2026-03-01")).await;
    let posted = receiver.posted(1).await;
    let answers: Vec<_> = posted.iter().map(|(_, answer)| *answer).collect();
    assert_eq!(answers, [&failures[..], &[Answer::Never, Answer::Status(204)]].concat());
    // Every repetition is the same event.
    assert!(posted.iter().all(|(event, _)| *event == posted[0].0));
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_no_more_events_until_its_webhook_is_enabled() {
    let receiver = Receiver::start();
    receiver.next([Answer::Status(410)]);
    let service = start(&receiver).await;
    service.cancel(ACTIVATED, &cancel_at("2026-03-01")).await;
    service.until_delivered(1).await;
    service.cancel(ACTIVATED, &cancel_at("2026-04-01")).await;
    service.until_delivered(2).await;
    let tenant = "demo".parse().unwrap();
    let webhook = service.store().webhooks(&tenant).await.unwrap().found.remove(0);
    assert_eq!(webhook.disabled.unwrap().by, DisabledBy::Gone);
    service.admin().enable_webhook(&tenant, webhook.id).await.unwrap();
    service.cancel(ACTIVATED, &cancel_at("2026-05-01")).await;
    assert_eq!(dates(&receiver.taken(1).await), ["2026-05-01"]);
}

#[tokio::test]
async fn an_unanswered_event_does_not_hold_up_other_subscriptions() {
    let receiver = Receiver::start();
    receiver.next([Answer::Never]);
    let service = start(&receiver).await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    receiver.posted_at_all(1).await;
    for id in [BLOCKED, PAUSED, PENDING] {
        service.cancel(id, &cancel_next_day()).await;
    }
    let taken = receiver.taken(3).await;
    assert!(taken.iter().all(|event| event["data"]["subscriptionId"] != ACTIVATED));
}

#[tokio::test]
async fn each_of_many_simultaneous_changes_is_posted_once() {
    let receiver = Receiver::start();
    receiver.next([Answer::Status(500); 10]);
    let service = start(&receiver).await;
    let ids = [ACTIVATED, BLOCKED, PAUSED, PENDING];
    let change = async |n: usize| {
        let id = ids[n % ids.len()];
        match n % 3 {
            0 => service.withdraw(id).await,
            _ => service.cancel(id, &cancel_at(&format!("2026-03-{:02}", n % 28 + 1))).await,
        }
    };
    join_all((0..60).map(change)).await;
    let mut versions = BTreeMap::new();
    for id in ids {
        versions.insert(id.to_owned(), usize::try_from(service.version(id).await - 1).unwrap());
    }
    let events = receiver.taken(versions.values().sum()).await;
    let mut published: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in &events {
        let id = event["data"]["subscriptionId"].as_str().unwrap().to_owned();
        assert!(
            published.entry(id).or_default().insert(event["eventId"].to_string()),
            "published twice: {event}"
        );
    }
    assert_eq!(
        published.into_iter().map(|(id, published)| (id, published.len())).collect::<BTreeMap<_, _>>(),
        versions
    );
    // The last event of each subscription shows its current state.
    for id in ids {
        let last = events.iter().rfind(|event| event["data"]["subscriptionId"] == id);
        assert_eq!(last.unwrap()["data"], service.get(id).await.json());
    }
}

#[tokio::test]
async fn events_that_were_undelivered_at_a_stop_are_posted_after_the_next_start() {
    let kept = Kept::new();
    let receiver = Receiver::start();
    receiver.always(Answer::Status(500));
    // Events are undelivered at two stops, the first of which follows the very first start.
    for (id, date) in [(ACTIVATED, "2026-04-01"), (BLOCKED, "2026-05-01")] {
        let service = kept.start(&receiver).await;
        service.cancel(id, &cancel_at(date)).await;
        service.until_posted(2).await;
        service.stop().await;
    }

    receiver.always(Answer::Status(204));
    let service = kept.start(&receiver).await;
    service.withdraw(BLOCKED).await;
    let events = receiver.taken(3).await;
    assert_eq!(dates(&events), ["2026-04-01", "2026-05-01", "-"]);
    service.stop().await;
}

#[tokio::test]
async fn a_delivered_event_is_not_posted_again_after_the_next_start() {
    let kept = Kept::new();
    let receiver = Receiver::start();
    let service = kept.start(&receiver).await;
    service.cancel(ACTIVATED, &cancel_at("2026-03-01")).await;
    service.until_delivered(1).await;
    service.stop().await;
    let service = kept.start(&receiver).await;
    service.cancel(ACTIVATED, &cancel_at("2026-04-01")).await;
    assert_eq!(dates(&receiver.taken(2).await), ["2026-03-01", "2026-04-01"]);
}

#[tokio::test]
async fn changes_made_before_publishing_was_turned_on_are_not_posted() {
    let kept = Kept::new();
    let receiver = Receiver::start();
    let silent = Options { publishes: false, ..kept.options.clone() };
    let service = Service::start_with(silent).await;
    for date in ["2026-03-01", "2026-04-01"] {
        service.cancel(ACTIVATED, &cancel_at(date)).await;
    }
    service.stop().await;
    let service = kept.start(&receiver).await;
    service.cancel(ACTIVATED, &cancel_at("2026-05-01")).await;
    assert_eq!(dates(&receiver.taken(1).await), ["2026-05-01"]);
}

#[tokio::test]
async fn the_status_shows_the_last_events_with_their_delivery() {
    let receiver = Receiver::start();
    receiver.next([Answer::Status(500)]);
    let service = start(&receiver).await;
    service.cancel(ACTIVATED, &cancel_at("2026-03-01")).await;
    service.until_delivered(1).await;
    receiver.next([Answer::Status(410)]);
    service.cancel(ACTIVATED, &cancel_at("2026-04-01")).await;
    let shown = service.until_delivered(2).await;
    let said: Vec<_> =
        shown.iter().map(|shown| (shown["delivery"].clone(), shown["attempts"].clone())).collect();
    assert_eq!(said, [(json!("dropped"), json!(1)), (json!("delivered"), json!(2))]);
    assert_eq!(shown[1]["event"], receiver.taken(1).await[0]);
}

#[tokio::test]
async fn event_ids_and_etags_stay_unique_after_the_table_is_restored() {
    let receiver = Receiver::start();
    let service = start(&receiver).await;
    let before = service.stored(ACTIVATED).await;
    let first = service.cancel(ACTIVATED, &cancel_next_day()).await;
    // Puts the old item back, as a restore does.
    let restore = service.dynamodb().put_item().table_name(&service.tables.subscriptions);
    restore.set_item(Some(before)).send().await.unwrap();
    let second = service.cancel(ACTIVATED, &cancel_at("2026-06-01")).await;

    let events = receiver.taken(2).await;
    let versions: Vec<_> = events.iter().map(|event| event["version"].as_u64()).collect();
    assert_eq!(versions, [Some(2), Some(2)]);
    assert_ne!(events[0]["eventId"], events[1]["eventId"]);
    assert_ne!(first.header("etag"), second.header("etag"));
}

#[tokio::test]
async fn events_are_ordered_by_version_and_name_their_cause() {
    let receiver = Receiver::start();
    let service = start(&receiver).await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.cancel(ACTIVATED, &cancel_at("2026-06-01")).await;
    service.withdraw(ACTIVATED).await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.set_clock("2026-02-01T12:00:00Z").await;
    service.execute().await;
    let events = receiver.taken(5).await;
    let said: Vec<_> = events
        .iter()
        .map(|event| {
            let etag = &event["version"];
            let cancellation = &event["cancellation"];
            json!([etag, event["cause"], cancellation["state"], cancellation["scheduledAt"]])
        })
        .collect();
    assert_eq!(
        said,
        [
            json!([2, "SCHEDULED", "PENDING", "2026-02-01"]),
            json!([3, "REPLACED", "PENDING", "2026-06-01"]),
            json!([4, "WITHDRAWN", "WITHDRAWN", "2026-06-01"]),
            json!([5, "SCHEDULED", "PENDING", "2026-02-01"]),
            json!([6, "EXECUTED", "EXECUTED", "2026-02-01"]),
        ]
    );
    let updated: Vec<_> =
        events.iter().map(|event| instant(event["data"]["updatedAt"].as_str().unwrap())).collect();
    assert!(updated.is_sorted(), "{updated:?}");
}
