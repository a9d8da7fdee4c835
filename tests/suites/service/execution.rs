//! The execution of cancellations: exactly once, not early, and for the promised instant.

mod other_systems;

use std::env;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::api_key::Scope;
use domain::calendar::{Calendar, TimeZone};
use domain::change::Change;
use domain::execute::{DueCancellation, Execution, decide_execution};
use domain::origin::Author;
use domain::tenant::{Pause, PauseReason};
use futures::future::join_all;
use harness::{
    ACTIVATED, ACTIVATED_TOO, BLOCKED, Fault, PAUSED, PENDING, START, Service, cancel_at, cancel_next_day,
    event, instant, options,
};
use lambda_runtime::{Context, LambdaEvent};
use local::up::Options;
use reqwest::Method;
use serde_json::{Value, json};
use service::clock::{self, Clock};
use service::ids;
use service::sweep::Summary;
use store::due::{DueEntry, Executed};
use store::tenants::Paused;

/// Sweeps once, and returns the summary without the lag, which depends on how long the sweep takes.
async fn execute(service: &Service) -> Value {
    let mut summary = service.execute().await;
    summary.as_object_mut().unwrap().remove("lagSeconds").unwrap();
    summary
}

fn summary(due: u64, executed: u64) -> Value {
    json!({
        "due": due, "executed": executed, "skipped": 0, "failed": 0, "notYet": 0, "paused": 0, "moved": 0, "remaining": 0, "unreadShards": 0,
    })
}

/// Sweeps once with a clock of its own, set to this instant when the sweep begins.
async fn execute_at(service: &Service, now: &str) -> Summary {
    let function = service::Service { store: service.store(), clock: Clock::system() };
    let mut context = Context::default();
    context.deadline = clock::deadline_in(Duration::from_secs(60));
    let event = LambdaEvent::new(serde_json::from_value(event("execute-cancellations/ok")).unwrap(), context);
    function.clock.set(instant(now));
    execute_cancellations::handle(&function, event).await.unwrap()
}

#[tokio::test]
async fn a_cancellation_takes_effect_once_at_the_first_instant_of_its_date() {
    let service = Service::start().await;
    let body = json!({"schedule": {"type": "CancelAtBeginningOfNextMonth"}, "reason": "NO_NEED"});
    let scheduled = service.cancel(ACTIVATED, &body).await.json();
    assert_eq!(scheduled["pendingStatus"], json!({"status": "CANCELLED", "scheduledAt": "2026-02-01"}));

    assert_eq!(execute_at(&service, "2026-01-31T22:59:59Z").await.due, 0);
    assert_eq!(service.get(ACTIVATED).await.json(), scheduled);

    service.set_clock("2026-01-31T23:00:00Z").await;
    assert_eq!(execute(&service).await, summary(1, 1));
    let cancelled = service.get(ACTIVATED).await.json();
    assert_eq!(cancelled["status"], "CANCELLED");
    assert_eq!(cancelled["cancelledAt"], "2026-01-31T23:00:00Z");
    assert_eq!(cancelled.get("pendingStatus"), None);

    let stored = service.stored(ACTIVATED).await;
    assert_eq!(execute(&service).await, summary(0, 0));
    assert_eq!(service.stored(ACTIVATED).await, stored);
}

#[tokio::test]
async fn the_time_zone_rules_of_2026_decide_when_a_date_begins_in_morocco() {
    // Since September 2026 Morocco's clocks show UTC. Older rules put them an hour ahead.
    let (time_zone, now) = ("Africa/Casablanca".parse().unwrap(), instant("2026-11-26T20:00:00Z"));
    let service = Service::start_with(Options { time_zone, now: Some(now), ..options() }).await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;

    assert_eq!(execute_at(&service, "2026-11-26T23:00:01Z").await.due, 0);
    assert_eq!(execute_at(&service, "2026-11-26T23:59:59Z").await.due, 0);
    assert_eq!(execute_at(&service, "2026-11-27T00:00:00Z").await.executed, 1);
    assert_eq!(service.get(ACTIVATED).await.json()["cancelledAt"], "2026-11-27T00:00:00Z");
}

#[tokio::test]
async fn a_late_sweep_cancels_for_the_promised_instant() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.set_clock("2026-02-03T08:00:00Z").await;
    let summary = service.execute().await;
    assert_eq!(summary["executed"], 1);
    let lag = summary["lagSeconds"].as_u64().unwrap();
    assert_eq!(lag / 60, (24 + 24 + 9) * 60, "the lag, to the minute");

    let cancelled = service.get(ACTIVATED).await.json();
    assert_eq!(cancelled["cancelledAt"], "2026-01-31T23:00:00Z");
    assert!(cancelled["updatedAt"].as_str().unwrap().starts_with("2026-02-03T08:00:00"));
}

#[tokio::test]
async fn what_comes_due_in_a_pause_is_executed_when_it_is_over_for_the_promised_instant() {
    let service = Service::start().await;
    let by = |by: &str| Pause { at: instant(START), by: by.parse().ok(), reason: PauseReason::Tenant };
    let (demo, pause) = ("demo".parse().unwrap(), by("anna"));
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    assert_eq!(service.admin().pause(&demo, &pause).await.unwrap(), Paused::Now);
    // The first pause counts.
    let later = Pause { at: instant("2026-01-31T22:40:00Z"), ..by("ola") };
    assert_eq!(service.admin().pause(&demo, &later).await.unwrap(), Paused::Before(pause.clone()));

    service.set_clock("2026-02-01T08:00:00Z").await;
    let waiting = service.execute().await;
    assert_eq!(
        (&waiting["due"], &waiting["paused"], &waiting["lagSeconds"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(service.get(ACTIVATED).await.json()["pendingStatus"]["scheduledAt"], "2026-02-01");
    // Callers are not paused.
    assert_eq!(service.withdraw(ACTIVATED).await.status, 200);
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2026-02-02")).await.status, 200);
    service.set_clock("2026-02-03T08:00:00Z").await;
    assert_eq!(execute(&service).await["paused"], 1);

    assert!(!service.admin().resume(&demo, &later).await.unwrap(), "it is another pause");
    assert!(service.admin().resume(&demo, &pause).await.unwrap());
    assert!(!service.admin().resume(&demo, &pause).await.unwrap());
    assert_eq!(execute(&service).await, summary(1, 1));
    assert_eq!(service.get(ACTIVATED).await.json()["cancelledAt"], "2026-02-01T23:00:00Z");
    let nobody = "nobody".parse().unwrap();
    assert_eq!(service.admin().pause(&nobody, &later).await.unwrap(), Paused::NoTenant);
}

#[tokio::test]
async fn a_pause_of_one_tenant_does_not_delay_another() {
    let service = Service::start().await;
    let north = service.add_tenant("north", &Scope::ALL).await;
    let document = json!({"subscriptionId": ACTIVATED, "status": "ACTIVATED"});
    service.import("north", "anna", document).await;
    let cancel = cancel_next_day().to_string();
    let cancelled = service.cancel_as(ACTIVATED, &[("X-Api-Key", &north)], cancel.as_bytes()).await;
    assert_eq!(cancelled.status, 200);
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let mut pause = Pause { at: instant(START), by: None, reason: PauseReason::Tenant };
    let demo = "demo".parse().unwrap();
    service.admin().pause(&demo, &pause).await.unwrap();

    service.set_clock("2026-02-02T08:00:00Z").await;
    let summary = service.execute().await;
    assert_eq!((&summary["executed"], &summary["paused"]), (&json!(1), &json!(1)));
    assert_eq!(service.get_as(&north, ACTIVATED).await.json()["status"], "CANCELLED");
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "ACTIVATED");

    // A tenant that has moved is not executed either, and no alarm tells of it.
    pause.reason = PauseReason::Moved;
    assert_eq!(service.admin().pause(&demo, &pause).await.unwrap(), Paused::Now);
    let summary = service.execute().await;
    assert_eq!(
        (&summary["executed"], &summary["paused"], &summary["moved"]),
        (&json!(0), &json!(0), &json!(1))
    );
}

#[tokio::test]
async fn an_execution_removes_every_pending_change_and_the_index_entry() {
    let service = Service::start_seeded(&[json!({
        "subscriptionId": ACTIVATED,
        "status": "ACTIVATED",
        "pendingMsisdn": {"msisdn": "+46701740621", "scheduledAt": "2026-03-01"},
        "pendingProductOffering": {"scheduledAt": "2026-05-01"},
        "porting": {"status": "SCHEDULED", "direction": "OUTBOUND"},
    })])
    .await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let pending = service.stored(ACTIVATED).await;
    assert!(pending.contains_key("dueShard") && pending.contains_key("dueAt"));

    service.set_clock("2026-02-01T00:00:00Z").await;
    service.execute().await;
    let cancelled = service.get(ACTIVATED).await.json();
    for change in ["pendingStatus", "pendingMsisdn", "pendingProductOffering"] {
        assert_eq!(cancelled.get(change), None, "{change}");
    }
    assert_eq!(cancelled["porting"]["status"], "SCHEDULED", "a porting is not a pending change");
    let done = service.stored(ACTIVATED).await;
    assert!(!done.contains_key("dueShard") && !done.contains_key("dueAt"));
    let mut kept = pending["cancellation"].as_m().unwrap().clone();
    kept.insert("executedAt".to_owned(), AttributeValue::S("2026-02-01T00:00:00Z".to_owned()));
    assert_eq!(done["cancellation"], AttributeValue::M(kept), "kept for reporting");
}

#[tokio::test]
async fn simultaneous_sweeps_execute_each_cancellation_once() {
    let service = Service::start().await;
    let ids = [ACTIVATED, ACTIVATED_TOO, PENDING, BLOCKED, PAUSED];
    for id in ids {
        service.cancel(id, &cancel_next_day()).await;
    }
    service.set_clock("2026-02-01T00:00:00Z").await;
    let summaries = join_all((0..8).map(|_| service.execute())).await;

    let total = |field: &str| summaries.iter().map(|summary| summary[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((total("executed"), total("failed")), (5, 0));
    assert_eq!(total("due"), 5 + total("skipped"));
    for id in ids {
        assert_eq!(service.version(id).await, 3);
        assert_eq!(service.get(id).await.json()["status"], "CANCELLED");
    }
}

#[tokio::test]
async fn a_replaced_cancellation_takes_effect_at_its_new_date_only() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.cancel(ACTIVATED, &cancel_at("2026-03-15")).await;

    service.set_clock("2026-03-14T22:00:00Z").await;
    assert_eq!(execute(&service).await, summary(0, 0));
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "ACTIVATED");

    service.set_clock("2026-03-14T23:00:00Z").await;
    assert_eq!(execute(&service).await, summary(1, 1));
    assert_eq!(service.get(ACTIVATED).await.json()["cancelledAt"], "2026-03-14T23:00:00Z");
}

#[tokio::test]
async fn an_outdated_index_entry_executes_nothing() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let stale = the_due_cancellation(&service).await;
    let another_instant = DueCancellation { effective_at: instant("2026-01-31T22:00:00Z"), ..stale.clone() };
    let store = service.store();
    assert_eq!(
        store.execute(&another_instant, &execution(&another_instant)).await.unwrap(),
        Executed::Superseded
    );

    // An eventually consistent index may show an entry under an id that has been replaced since.
    service.cancel(ACTIVATED, &cancel_at("2026-03-15")).await;
    let before = service.stored(ACTIVATED).await;
    assert_eq!(store.execute(&stale, &execution(&stale)).await.unwrap(), Executed::Superseded);
    assert_eq!(service.stored(ACTIVATED).await, before);
}

#[tokio::test]
async fn a_repeated_execution_changes_nothing() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let due = the_due_cancellation(&service).await;
    let execution = execution(&due);
    let store = service.store();
    assert_eq!(store.execute(&due, &execution).await.unwrap(), Executed::Done);
    let once = service.stored(ACTIVATED).await;
    assert_eq!(store.execute(&due, &execution).await.unwrap(), Executed::Before);
    assert_eq!(service.stored(ACTIVATED).await, once);
}

/// Returns the only cancellation that the index has as due on 1 February.
async fn the_due_cancellation(service: &Service) -> DueCancellation {
    let shard = service.stored(ACTIVATED).await["dueShard"].as_n().unwrap().parse().unwrap();
    let page = service.store().due(shard, instant("2026-02-01T00:00:00Z"), None).await.unwrap();
    let [DueEntry::Cancellation(due)] = page.entries.as_slice() else {
        panic!("there must be exactly one due entry");
    };
    due.clone()
}

/// Returns the decision on such an entry on 1 February, made from the index alone.
fn execution(due: &DueCancellation) -> Change {
    let calendar = Calendar::new(harness::ZONE.parse().unwrap(), instant("2026-02-01T00:00:00Z"));
    match decide_execution(due, None, &calendar, ids::write_id(), &Author::SCHEDULE) {
        Execution::Change(change) => *change,
        Execution::NotYet | Execution::NotPending(_) => panic!("not executed"),
    }
}

#[tokio::test]
async fn a_cancelled_subscription_cannot_be_cancelled_again() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.set_clock("2026-02-01T00:00:00Z").await;
    service.execute().await;
    let refused = service.cancel(ACTIVATED, &cancel_next_day()).await;
    refused.assert_problem(409, "subscription_already_cancelled");
}

#[tokio::test]
async fn a_malformed_item_does_not_hold_up_the_others() {
    let service = Service::start().await;
    for id in [ACTIVATED, ACTIVATED_TOO, PENDING] {
        service.cancel(id, &cancel_next_day()).await;
    }
    // Without its id, a cancellation can't be told apart from another.
    let nonsense = AttributeValue::S("nonsense".to_owned());
    let key = format!("demo#{ACTIVATED_TOO}");
    service.update("subscriptions", &key, "SET cancellationId = :value", nonsense).await;

    service.set_clock("2026-01-31T23:00:00Z").await;
    let mut expected = summary(3, 2);
    expected["failed"] = json!(1);
    assert_eq!(execute(&service).await, expected);
    assert_eq!(service.get(ACTIVATED_TOO).await.json()["status"], "ACTIVATED");

    // The item stays in the index. If it is the only failure, the function is not invoked again.
    let mut expected = summary(1, 0);
    expected["failed"] = json!(1);
    assert_eq!(execute(&service).await, expected);
}

#[tokio::test]
async fn a_sweep_with_only_a_malformed_item_succeeds_and_counts_it_as_failed() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let key = format!("demo#{ACTIVATED}");
    let no_document = AttributeValue::S("gone".to_owned());
    service.update("subscriptions", &key, "SET document = :value", no_document).await;
    let before = service.stored(ACTIVATED).await;

    service.set_clock("2026-01-31T23:00:00Z").await;
    let mut expected = summary(1, 0);
    expected["failed"] = json!(1);
    assert_eq!(execute(&service).await, expected);
    assert_eq!(service.stored(ACTIVATED).await, before);
}

#[tokio::test]
async fn an_execution_whose_acknowledgement_was_lost_is_not_made_twice() {
    let (database, service, wire) = Service::start_wired().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.set_clock("2026-01-31T23:00:00Z").await;
    wire.next("UpdateItem", [Fault::GatewayTimeout]);
    let swept = service.execute().await;
    assert_eq!((&swept["skipped"], &swept["failed"]), (&json!(1), &json!(0)));
    assert_eq!(database.version(ACTIVATED).await, 3);
    assert_eq!(database.get(ACTIVATED).await.json()["status"], "CANCELLED");
}

#[tokio::test]
async fn an_imported_pending_cancellation_takes_effect() {
    let service = Service::start_seeded(&[json!({
        "subscriptionId": ACTIVATED,
        "status": "ACTIVATED",
        "pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-02-01"},
    })])
    .await;
    service.set_clock("2026-01-31T23:00:00Z").await;
    assert_eq!(execute(&service).await, summary(1, 1));
    assert_eq!(service.get(ACTIVATED).await.json()["cancelledAt"], "2026-01-31T23:00:00Z");
}

#[tokio::test]
async fn many_cancellations_due_at_once_are_all_executed() {
    let documents: Vec<_> = (0..300)
        .map(
            |n| json!({"subscriptionId": format!("00000000-0000-4000-8000-{n:012x}"), "status": "ACTIVATED"}),
        )
        .collect();
    let service = Service::start_seeded(&documents).await;
    for id in &service.subscription_ids {
        assert_eq!(service.cancel(id, &cancel_next_day()).await.status, 200);
    }
    service.set_clock("2026-01-31T23:00:00Z").await;
    assert_eq!(execute(&service).await, summary(300, 300));
    for id in &service.subscription_ids {
        assert_eq!(service.get(id).await.json()["status"], "CANCELLED");
    }
}

#[tokio::test]
async fn a_sweep_without_a_working_database_fails_and_the_next_one_executes() {
    let (database, service, wire) = Service::start_wired().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    service.set_clock("2026-01-31T23:00:00Z").await;
    for operation in ["Query", "UpdateItem"] {
        wire.always(operation, Fault::refusal("ThrottlingException"));
        let failed = service.send(Method::POST, "/_local/execute-cancellations", &[], b"").await;
        assert_eq!(failed.status, 500, "{}", failed.text());
        assert!(failed.json()["errorMessage"].as_str().unwrap().contains("not available"));
        wire.clear_faults();
    }
    assert_eq!(database.get(ACTIVATED).await.json()["status"], "ACTIVATED");
    assert_eq!(service.execute().await["executed"], 1);
}

#[tokio::test]
async fn a_sweep_stops_before_its_deadline_and_leaves_the_rest() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let function = service::Service { store: service.store(), clock: Clock::system() };
    function.clock.set(instant("2026-02-01T00:00:00Z"));
    let mut context = Context::default();
    context.deadline = clock::deadline_in(Duration::ZERO);
    let event = LambdaEvent::new(serde_json::from_value(event("execute-cancellations/ok")).unwrap(), context);

    let summary = execute_cancellations::handle(&function, event).await.unwrap();
    assert_eq!(summary.executed, 0);
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "ACTIVATED");
}

#[tokio::test]
async fn a_service_that_was_down_when_the_date_came_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Options { memory: false, data: folder.path().to_owned(), ..options() };
    let service = Service::start_with(kept.clone()).await;
    let key = service.api_key.clone();
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let scheduled = service.get(ACTIVATED).await.json();
    service.stop().await;

    let service = Service::start_with(Options { now: Some(instant("2026-02-02T00:00:00Z")), ..kept }).await;
    assert_eq!(service.api_key, key);
    assert_eq!(service.get(ACTIVATED).await.json(), scheduled);
    assert_eq!(service.execute().await["executed"], 1);
    assert_eq!(service.get(ACTIVATED).await.json()["cancelledAt"], "2026-01-31T23:00:00Z");
}

#[tokio::test]
async fn a_cancellation_waits_until_its_date_has_begun_in_the_current_time_zone() {
    let service = Service::start_with(Options { time_zone: "UTC".parse().unwrap(), ..options() }).await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2026-02-01")).await.status, 200);
    let zone: TimeZone = "America/New_York".parse().unwrap();
    assert!(service.admin().set_time_zone(&"demo".parse().unwrap(), &zone).await.unwrap());

    service.set_clock("2026-02-01T00:00:00Z").await;
    let swept = service.execute().await;
    assert_eq!(
        (&swept["executed"], &swept["notYet"], &swept["lagSeconds"]),
        (&json!(0), &json!(1), &json!(0))
    );
    service.set_clock("2026-02-01T04:59:59Z").await;
    assert_eq!(service.execute().await["notYet"], 1);
    assert_eq!(service.get(ACTIVATED).await.json()["pendingStatus"]["scheduledAt"], "2026-02-01");

    service.set_clock("2026-02-01T05:00:00Z").await;
    assert_eq!(execute(&service).await, summary(1, 1));
    let cancelled = service.get(ACTIVATED).await.json();
    assert_eq!(cancelled["cancelledAt"], "2026-02-01T05:00:00Z");
}

#[tokio::test]
async fn a_service_with_a_moved_clock_executes_nothing_early_on_a_shared_database() {
    let (database, service, _wire) = Service::start_wired().await;
    let date = "2999-01-01";
    assert_eq!(database.cancel(ACTIVATED, &cancel_at(date)).await.status, 200);
    service.set_clock("2999-06-01T00:00:00Z").await;
    assert_eq!(service.execute().await["due"], 0);
    assert_eq!(database.get(ACTIVATED).await.json()["pendingStatus"]["scheduledAt"], date);
    // An embedded database has the clock of the service that it belongs to. Another database has its own clock.
    database.set_clock("2999-06-01T00:00:00Z").await;
    let count = u64::from(env::var("DYNAMODB_ENDPOINT").is_err());
    assert_eq!(execute(&database).await, summary(count, count));
}
