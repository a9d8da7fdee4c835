//! Cancellations: upcoming, due and executed ones, and the repair of contradictions.

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, ACTIVATED_TOO, BLOCKED, PAUSED, PENDING, Service, cancel_at};
use serde_json::{Value, json};

use super::{connect, connect_at};

/// Starts a service at 23:30 on 31 January in Stockholm, with three pending cancellations.
async fn with_cancellations() -> Service {
    let service = Service::start().await;
    let other = json!({
        "schedule": {"type": "CancelAtDate", "date": "2026-02-01"}, "reason": "OTHER", "comment": "moving",
    });
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2026-02-10")).await.status, 200);
    assert_eq!(service.cancel(PAUSED, &cancel_at("2026-02-01")).await.status, 200);
    assert_eq!(service.cancel(BLOCKED, &other).await.status, 200);
    service
}

async fn due(service: &Service, now: &str, options: &[&str]) -> Vec<(String, bool)> {
    let due = ["cancellations", "due", "--json"];
    let due = connect_at(service, now, &[&due[..], options].concat()).await.json();
    let entry =
        |due: &Value| (due["subscriptionId"].as_str().unwrap().to_owned(), due["overdue"].as_bool().unwrap());
    due.as_array().unwrap().iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn upcoming_cancellations_are_listed_in_order_of_their_date() {
    let service = with_cancellations().await;
    let entries =
        |ids: &[&str], overdue| ids.iter().map(|id| ((*id).to_owned(), overdue)).collect::<Vec<_>>();

    assert_eq!(due(&service, harness::START, &[]).await, entries(&[BLOCKED, PAUSED], false));
    assert_eq!(due(&service, harness::START, &["--within", "29m"]).await, []);
    let all = due(&service, harness::START, &["--within", "30d"]).await;
    assert_eq!(all, entries(&[BLOCKED, PAUSED, ACTIVATED], false));
    assert_eq!(
        due(&service, "2026-01-31T23:00:00Z", &["--within", "1s"]).await,
        entries(&[BLOCKED, PAUSED], true)
    );

    let other = service.add_tenant("other", &[]).await;
    assert!(!other.is_empty());
    assert_eq!(due(&service, harness::START, &["--tenant", "other"]).await, []);
    let said =
        connect_at(&service, harness::START, &["cancellations", "due", "--tenant", "demo"]).await.done();
    let row: Vec<_> = said.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["2026-01-31T23:00:00Z", "2026-02-01", "demo", BLOCKED, "OTHER", "to", "come"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn due_cancellations_are_chosen_by_date_and_counted() {
    let service = with_cancellations().await;
    let chosen = async |options: &[&str]| due(&service, harness::START, options).await.len();
    assert_eq!(chosen(&["--from", "2026-02-02"]).await, 1);
    assert_eq!(chosen(&["--to", "2026-02-01"]).await, 2);
    assert_eq!(chosen(&["--from", "2026-02-01", "--to", "2026-02-10"]).await, 3);
    let due = async |options: &[&str]| {
        connect_at(&service, harness::START, &[&["cancellations", "due"][..], options].concat()).await
    };
    let all = ["--from", "2026-01-01"];
    let summary = due(&[&all[..], &["--summary", "--json"]].concat()).await.json();
    let expected = json!([
        {"date": "2026-02-01", "reason": "NO_NEED", "count": 1},
        {"date": "2026-02-01", "reason": "OTHER", "count": 1},
        {"date": "2026-02-10", "reason": "NO_NEED", "count": 1},
    ]);
    assert_eq!(summary, expected);
    let csv = due(&[&all[..], &["--summary", "--csv"]].concat()).await.done();
    assert_eq!(csv, "date,reason,count\n2026-02-01,NO_NEED,1\n2026-02-01,OTHER,1\n2026-02-10,NO_NEED,1");
    let csv = due(&[&all[..], &["--csv"]].concat()).await.done();
    assert_eq!(csv.lines().next(), Some("effectiveAt,date,tenant,subscriptionId,reason,state"));
    assert_eq!(
        csv.lines().nth(3),
        Some(&*format!("2026-02-09T23:00:00Z,2026-02-10,demo,{ACTIVATED},NO_NEED,to come"))
    );
    assert_eq!(
        due(&["--from", "2026-02-02", "--to", "2026-02-01"]).await.failed(2),
        "--from is later than --to"
    );
    let both = ["cancellations", "due", "--from", "2026-02-02", "--within", "1d"];
    assert_eq!(connect(&service, &both).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn due_cancellations_are_executed_and_their_lag_is_reported() {
    let service = with_cancellations().await;
    let lag = ["cancellations", "lag", "--json"];
    assert_eq!(connect_at(&service, harness::START, &lag).await.json()["due"], 0);
    let late = "2026-01-31T23:02:05Z";
    let said = connect_at(&service, late, &lag).await.json();
    assert_eq!((&said["due"], &said["lagSeconds"]), (&2.into(), &125.into()));
    assert_eq!(said["oldest"]["effectiveAt"], "2026-01-31T23:00:00Z");

    let said = connect_at(&service, late, &["cancellations", "run"]).await.done();
    assert_eq!(said, "2 due: 2 executed, 0 skipped, 0 failed, 0 remaining");
    assert_eq!(service.get(PAUSED).await.json()["cancelledAt"], "2026-01-31T23:00:00Z");
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "ACTIVATED");
    assert_eq!(connect_at(&service, late, &["cancellations", "lag"]).await.done(), "nothing is due");
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_cancellations_wait_and_every_command_says_so() {
    let service = with_cancellations().await;
    let late = "2026-01-31T23:10:00Z";
    let run = async |arguments: &[&str]| connect_at(&service, late, arguments).await;
    assert_eq!(connect(&service, &["cancellations", "pause"]).code, 2, "of all, or of one");
    let pause = ["cancellations", "pause", "--tenant", "demo", "--as", "anna"];
    assert_eq!(run(&pause).await.done(), "the cancellations of demo are paused");
    let again = run(&pause).await.done();
    assert_eq!(again, "the cancellations of demo have been paused since 2026-01-31T23:10:00Z by anna");

    let said = run(&["cancellations", "run"]).await.done();
    assert_eq!(said, "2 due: 0 executed, 0 skipped, 0 failed, 0 remaining, 2 paused");
    assert_eq!(run(&["cancellations", "lag"]).await.done(), "nothing is due");
    let due = run(&["cancellations", "due", "--csv"]).await.done();
    assert_eq!(due.matches(",paused").count(), 2, "{due}");
    let notes = run(&["tenants", "list"]).await.notes;
    assert!(notes.contains("demo: cancellations paused since 2026-01-31T23:10:00Z by anna"), "{notes}");
    let doctor: Value = serde_json::from_str(&run(&["doctor", "--json"]).await.out).unwrap();
    let finding = doctor.as_array().unwrap().iter().find(|finding| finding["check"] == "paused").unwrap();
    assert_eq!(finding["what"], "1 tenant, with 2 cancellations due: demo since 2026-01-31T23:10:00Z");

    // Nobody answers the question here.
    // It was not paused with all.
    let of_all = run(&["cancellations", "resume", "--all", "--yes"]).await.done();
    assert!(of_all.starts_with("the cancellations of demo have been paused since"), "{of_all}");
    let resume = ["cancellations", "resume", "--tenant", "demo"];
    assert!(run(&resume).await.failed(2).contains("This executes 2 due cancellations within a minute"));
    let resumed = run(&[&resume[..], &["--yes", "--json"]].concat()).await.json();
    assert_eq!(resumed, json!([{"tenant": "demo", "changed": true}]));
    assert_eq!(run(&resume).await.done(), "the cancellations of demo were not paused");
    let all = ["cancellations", "pause", "--all", "--as", "ola", "--json"];
    assert_eq!(run(&all).await.json()[0]["paused"]["reason"], "ALL");
    assert_eq!(
        run(&["cancellations", "resume", "--all", "--yes"]).await.done(),
        "the cancellations of demo are resumed"
    );
    let said = run(&["cancellations", "run"]).await.done();
    assert_eq!(said, "2 due: 2 executed, 0 skipped, 0 failed, 0 remaining");
    let nobody = ["cancellations", "resume", "--tenant", "nobody"];
    assert_eq!(run(&nobody).await.failed(1), "there is no tenant nobody");
    // A tenant that has moved stays where it is.
    assert_eq!(run(&[&pause[..], &["--moved"]].concat()).await.code, 0);
    assert_eq!(run(&[&resume[..], &["--yes"]].concat()).await.failed(1), "the cancellations stay paused");
    let doctor: Value = serde_json::from_str(&run(&["doctor", "--json"]).await.out).unwrap();
    assert!(doctor.to_string().contains(r#"{"check":"paused","state":"ok""#), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_clock_is_ahead_executes_only_cancellations_that_are_due() {
    let service = with_cancellations().await;
    assert_eq!(service.cancel(ACTIVATED_TOO, &cancel_at("2998-12-31")).await.status, 200);
    // By the database's clock, three are due and the fourth is not.
    let said = connect_at(&service, "2999-01-01T00:00:00Z", &["cancellations", "run"]).await.done();
    assert_eq!(said, "3 due: 3 executed, 0 skipped, 0 failed, 0 remaining");
    assert_eq!(service.get(ACTIVATED_TOO).await.json()["status"], "ACTIVATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_cannot_be_executed_is_reported() {
    let service = with_cancellations().await;
    // A document that is not a map can't be updated.
    let key = format!("demo#{PAUSED}");
    service.update("subscriptions", &key, "SET document = :value", AttributeValue::S("x".into())).await;
    let run = connect_at(&service, "2026-01-31T23:00:00Z", &["cancellations", "run"]).await;
    assert_eq!(run.out, "2 due: 1 executed, 0 skipped, 1 failed, 0 remaining\n");
    assert_eq!(
        run.failed(1),
        "1 can't be executed, because they are contradictory or unreadable; connect doctor names them"
    );
    // The cancellation stays in the index.
    assert_eq!(due(&service, "2026-01-31T23:00:00Z", &["--within", "1s"]).await, [(PAUSED.to_owned(), true)]);

    // Now the entry of the index is malformed, too.
    service.update("subscriptions", &key, "SET cancellationId = :value", AttributeValue::S("x".into())).await;
    let lag = connect_at(&service, "2026-01-31T23:00:00Z", &["cancellations", "lag"]).await;
    assert!(lag.notes.contains(&key), "{lag:?}");
    assert_eq!(lag.failed(1), "1 item can't be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancellations_are_counted_by_month_and_reason() {
    let service = with_cancellations().await;
    let now = "2026-01-31T23:00:00Z";
    connect_at(&service, now, &["cancellations", "run"]).await.done();
    assert_eq!(service.cancel(ACTIVATED_TOO, &cancel_at("2026-03-01")).await.status, 200);
    assert_eq!(service.cancel(PENDING, &cancel_at("2026-03-01")).await.status, 200);
    assert_eq!(service.withdraw(PENDING).await.status, 200);

    // They were executed in the last hour of January in UTC, which is 1 February in the tenant's calendar.
    let range = ["--from", "2026-02-01", "--to", "2026-02-28"];
    let report = |options: &[&'static str]| [&["cancellations", "report"][..], options].concat();
    let counts = connect_at(&service, now, &report(&[&range[..], &["--json"]].concat())).await.json();
    let expected = json!([
        {"month": "2026-02", "reason": "NO_NEED", "executed": 1, "pending": 1, "withdrawn": 0},
        {"month": "2026-02", "reason": "OTHER", "executed": 1, "pending": 0, "withdrawn": 0},
    ]);
    assert_eq!(counts, expected);

    let csv = connect_at(&service, now, &report(&["--csv"])).await.done();
    let expected = "month,reason,executed,pending,withdrawn\n2026-02,NO_NEED,1,1,0\n2026-02,OTHER,1,0,0\n2026-03,NO_NEED,0,1,1";
    assert_eq!(csv, expected);

    let text = connect_at(&service, now, &report(&["--to", "2026-12-31"])).await.done();
    let row = |nth: usize| text.lines().nth(nth).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row(1), ["2026-02", "NO_NEED", "1", "1", "0"]);
    let bars = text.lines().filter(|line| line.contains('█')).map(|line| line.matches('█').count());
    assert_eq!(bars.collect::<Vec<_>>(), [40, 13, 40, 13], "{text}");
    assert!(text.ends_with("4 cancellations from 2025-02-01 to 2026-12-31, and 1 withdrawn"), "{text}");

    let of = |tenant: &'static str| report(&["--to", "2026-12-31", "--json", "--tenant", tenant]);
    service.add_tenant("other", &[]).await;
    assert_eq!(connect_at(&service, now, &of("other")).await.json(), json!([]));
    assert_eq!(connect_at(&service, now, &of("demo")).await.json().as_array().unwrap().len(), 3);
}

/// Updates a subscription as another system does: with a new version.
async fn write_as_another_system(service: &Service, subscription: &str, expression: &str) {
    let update = service
        .dynamodb()
        .update_item()
        .table_name(&service.tables.subscriptions)
        .key("pk", AttributeValue::S(format!("demo#{subscription}")))
        .update_expression(format!("{expression} ADD version :one"))
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    update.send().await.unwrap();
}

/// Returns the cause of a subscription's last change, its source, and its actor.
async fn made_by(service: &Service, subscription: &str) -> [String; 3] {
    let stored = service.stored(subscription).await;
    let changed_by = stored["changedBy"].as_m().unwrap();
    ["cause", "source", "actor"].map(|name| changed_by[name].as_s().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn rederiving_after_a_change_of_time_zone_moves_instants_and_keeps_dates() {
    let service = with_cancellations().await;
    let zone = ["tenants", "set-time-zone", "demo", "America/New_York"];
    assert_eq!(connect(&service, &zone).code, 0);
    let doctor = connect_at(&service, harness::START, &["doctor"]).await.out;
    assert!(doctor.contains("WRONG   instants  3 cancellations not at the first instant"), "{doctor}");

    let dry =
        connect_at(&service, harness::START, &["cancellations", "rederive", "--dry-run", "--json"]).await;
    let moved = dry.json();
    assert_eq!(moved.as_array().unwrap().len(), 3);
    assert_eq!(
        (&moved[0]["date"], &moved[0]["from"], &moved[0]["to"]),
        (&json!("2026-02-01"), &json!("2026-01-31T23:00:00Z"), &json!("2026-02-01T05:00:00Z"))
    );
    let before = service.get(BLOCKED).await;
    let rederive = ["cancellations", "rederive", "--tenant", "demo", "--as", "anna", "--json"];
    assert_eq!(connect_at(&service, harness::START, &rederive).await.json(), moved);
    assert_eq!(connect_at(&service, harness::START, &rederive).await.json(), json!([]));
    let after = service.get(BLOCKED).await;
    assert_eq!(after.json()["pendingStatus"], before.json()["pendingStatus"]);
    assert_ne!(after.header("etag"), before.header("etag"));
    assert_eq!(made_by(&service, BLOCKED).await, ["REPLACED", "OPERATOR", "anna"]);

    let run = ["cancellations", "run", "--as", "anna", "--json"];
    assert_eq!(connect_at(&service, "2026-02-01T04:59:59Z", &run).await.json()["due"], 0);
    assert_eq!(connect_at(&service, "2026-02-01T05:00:00Z", &run).await.json()["executed"], 2);
    assert_eq!(service.get(BLOCKED).await.json()["cancelledAt"], "2026-02-01T05:00:00Z");
    assert_eq!(made_by(&service, BLOCKED).await, ["EXECUTED", "OPERATOR", "anna"]);
    // Cancellations that were promised for February count there, whatever their instant.
    let report = ["cancellations", "report", "--from", "2026-01-01", "--json"];
    let counts = connect_at(&service, harness::START, &report).await.json();
    assert!(counts.as_array().unwrap().iter().all(|count| count["month"] == "2026-02"), "{counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_with_a_damaged_index_entry_is_neither_shown_nor_executed_until_repaired() {
    for entry in [
        "dueAt = :entry, cancellation.effectiveAt = :entry",
        "dueAt = :other",
        "dueAt = :soon",
        "dueShard = :shard",
        "cancellationId = :soon",
        "cancellationId = :upper, cancellation.cancellationId = :upper",
    ] {
        let service = with_cancellations().await;
        let id = service.stored(BLOCKED).await["cancellationId"].as_s().unwrap().to_uppercase();
        let values = [
            (":entry", AttributeValue::S("+262142-12-31T23:59:59Z".to_owned())),
            (":other", AttributeValue::S("2026-02-01T00:00:00.000Z".to_owned())),
            (":soon", AttributeValue::S("2026-01-soon".to_owned())),
            (":shard", AttributeValue::N("16".to_owned())),
            (":upper", AttributeValue::S(id)),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value));
        let key = AttributeValue::S(format!("demo#{BLOCKED}"));
        let update =
            service.dynamodb().update_item().table_name(&service.tables.subscriptions).key("pk", key);
        let used = values.into_iter().filter(|(name, _)| entry.contains(name)).collect();
        let update = update.update_expression(format!("SET {entry} ADD version :one"));
        let update = update.set_expression_attribute_values(Some(used));
        update.expression_attribute_values(":one", AttributeValue::N("1".to_owned())).send().await.unwrap();

        let late = "2026-02-05T10:00:00Z";
        assert_eq!(service.get(BLOCKED).await.json().get("pendingStatus"), None, "{entry}");
        let run = connect_at(&service, late, &["cancellations", "run", "--json"]).await;
        assert!(run.out.contains(r#""executed":1"#), "{entry}: {}", run.out);
        let repair = ["cancellations", "repair", "--by", "document", "--yes", "--json"];
        let repaired = connect_at(&service, late, &repair).await.json();
        assert_eq!(
            (&repaired[0]["subscriptionId"], &repaired[0]["date"]),
            (&json!(BLOCKED), &json!("2026-02-01"))
        );
        let run = connect_at(&service, late, &["cancellations", "run", "--json"]).await.json();
        assert_eq!((&run["executed"], &run["failed"]), (&json!(1), &json!(0)), "{entry}");
        assert_eq!(service.get(BLOCKED).await.json()["status"], "CANCELLED", "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradiction_is_reported_and_repaired_by_the_part_that_the_operator_chooses() {
    let service = with_cancellations().await;
    write_as_another_system(&service, BLOCKED, "REMOVE document.pendingStatus").await;
    write_as_another_system(&service, ACTIVATED, "REMOVE dueAt, dueShard, cancellationId, cancellation")
        .await;
    let late = "2026-02-01T10:00:00Z";
    let lag = connect_at(&service, late, &["cancellations", "lag", "--json"]).await.json();
    assert_eq!(lag["due"], 1, "what can't be executed is not late");
    let doctor = connect_at(&service, harness::START, &["doctor"]).await.out;
    let expected = format!(
        "WRONG   pending   1 cancellation will not be executed: demo#{BLOCKED} \
         (a cancellation is to be executed, and the document does not say so)"
    );
    assert!(doctor.contains(&expected), "{doctor}");
    let listed = connect_at(&service, late, &["cancellations", "due", "--json"]).await.json();
    assert!(listed[0]["contradiction"].is_string(), "{listed}");
    let shown = connect(&service, &["subscriptions", "show", "--tenant", "demo", BLOCKED]).done();
    assert!(shown.contains("fix it with connect cancellations repair"), "{shown}");

    let repair = |by: &'static str| ["cancellations", "repair", "--by", by, "--json"];
    let dry =
        connect_at(&service, late, &[&repair("cancellation")[..], &["--dry-run"]].concat()).await.json();
    let said = |repaired: &Value, id: &str| {
        let one = repaired.as_array().unwrap().iter().find(|one| one["subscriptionId"] == id).unwrap();
        json!([one["date"], one["overdue"]])
    };
    assert_eq!(said(&dry, BLOCKED), json!(["2026-02-01", true]));
    assert_eq!(said(&dry, ACTIVATED), json!([null, false]));
    let asked = connect_at(&service, late, &repair("document")).await.failed(2);
    assert!(asked.contains("to confirm this without a terminal, add --yes"), "{asked}");

    let yes = [&repair("document")[..], &["--yes", "--as", "anna"]].concat();
    let done = connect_at(&service, late, &yes).await.json();
    assert_eq!(made_by(&service, BLOCKED).await, ["WITHDRAWN", "OPERATOR", "anna"]);
    assert_eq!(made_by(&service, ACTIVATED).await, ["SCHEDULED", "OPERATOR", "anna"]);
    let shown = connect(&service, &["subscriptions", "show", "--tenant", "demo", BLOCKED]).done();
    assert!(shown.contains(&format!("  withdrawn    {late} by anna")), "{shown}");
    assert_eq!(said(&done, BLOCKED), json!([null, false]));
    assert_eq!(said(&done, ACTIVATED), json!(["2026-02-10", false]));
    assert_eq!(connect_at(&service, late, &repair("document")).await.json(), json!([]));
    let run = connect_at(&service, "2026-02-10T00:00:00Z", &["cancellations", "run", "--json"]).await.json();
    assert_eq!((&run["executed"], &run["failed"]), (&json!(2), &json!(0)));
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "CANCELLED");
    assert_ne!(service.get(BLOCKED).await.json()["status"], "CANCELLED");
    service.withdraw(BLOCKED).await.assert_problem(409, "no_pending_cancellation");
}
