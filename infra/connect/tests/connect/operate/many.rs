//! Many cancellations at once: `cancellations schedule` and `withdraw`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{
    ACTIVATED, ACTIVATED_TOO, BLOCKED, CANCELLED, Fault, PENDING, START, Service, Wire, cancel_at,
    cancel_next_day,
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::{Said, connect, connect_at, process};

/// A service, and a folder for files.
struct Batches {
    service: Service,
    folder: TempDir,
}

impl Batches {
    async fn start() -> Self {
        Self { service: Service::start().await, folder: tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a command of `cancellations` for the demo tenant. Returns what it said, and its results by subscription.
    async fn run(&self, command: &str, more: &[&str]) -> (Said, BTreeMap<String, Value>) {
        let results = self.path("results");
        // Each run appends to the file.
        let _ = fs::remove_file(&results);
        let fixed =
            ["cancellations", command, "--tenant", "demo", "--as", "anna", "--results", &results, "--json"];
        let said = connect_at(&self.service, START, &[&fixed[..], more].concat()).await;
        let lines =
            if Path::new(&results).exists() { fs::read_to_string(&results).unwrap() } else { String::new() };
        let read = |line: &str| {
            let result: Value = serde_json::from_str(line).unwrap();
            (result["subscription"].as_str().unwrap().to_owned(), result)
        };
        (said, lines.lines().map(read).collect())
    }

    async fn schedule(&self, more: &[&str]) -> (Said, BTreeMap<String, Value>) {
        self.run("schedule", more).await
    }

    async fn cancellation(&self, subscription: &str) -> Value {
        let path = format!("/subscriptions/{subscription}/cancellation");
        let headers = [("X-Api-Key", self.service.api_key.as_str())];
        self.service.send(Method::GET, &path, &headers, b"").await.json()
    }
}

/// Returns the outcomes of results.
fn outcomes(results: &BTreeMap<String, Value>) -> BTreeMap<&str, &str> {
    results.iter().map(|(name, result)| (name.as_str(), result["outcome"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_file_are_cancelled_and_the_faulty_ones_are_named() {
    let batches = Batches::start().await;
    let nobody = "00000000-0000-4000-8000-000000000000";
    let own = json!({
        "subscriptionId": BLOCKED, "schedule": {"type": "CancelAtDate", "date": "2026-03-01"}, "reason": "OTHER",
        "comment": "old product", "metadata": {"ticket": "T-1"},
    });
    let file = batches.path("lines");
    let lines = [
        "rid_crm-1001".to_owned(),
        String::new(),
        ACTIVATED_TOO.to_owned(),
        own.to_string(),
        nobody.to_owned(),
        CANCELLED.to_owned(),
        "nonsense".to_owned(),
        json!({"subscriptionId": PENDING, "reason": "NONE"}).to_string(),
    ];
    fs::write(&file, lines.join("\r\n")).unwrap();
    let schedule = ["--from", &file, "--next-day", "--reason", "no_need", "--batch", "b-1", "--yes"];

    let (said, preview) = batches.schedule(&[&schedule[..], &["--dry-run"]].concat()).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(preview["rid_crm-1001"]["answer"]["scheduledAt"], "2026-02-01");
    assert_eq!(batches.service.version(ACTIVATED).await, 1);

    let (said, results) = batches.schedule(&schedule).await;
    let expected = BTreeMap::from([
        ("rid_crm-1001", "scheduled"),
        (ACTIVATED_TOO, "scheduled"),
        (BLOCKED, "scheduled"),
        (nobody, "subscription_not_found"),
        (CANCELLED, "subscription_already_cancelled"),
        ("nonsense", "invalid_line"),
        (PENDING, "validation_failed"),
    ]);
    assert_eq!(outcomes(&results), expected);
    assert_eq!(
        outcomes(&preview).into_iter().filter(|(_, outcome)| *outcome != "would be scheduled").count(),
        4,
        "a preview refuses the same lines"
    );
    let tally: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&tally["batch"], &tally["lines"], &tally["done"]), (&json!("b-1"), &json!(7), &json!(3)));
    assert!(said.failed(1).starts_with("4 lines refused; see "), "{results:?}");
    assert!(results[PENDING]["detail"].as_str().unwrap().starts_with("/reason: "), "{}", results[PENDING]);
    assert_eq!(results["rid_crm-1001"]["line"], 1);
    assert_eq!(results[ACTIVATED_TOO]["line"], 3);
    assert_eq!(results[BLOCKED]["answer"]["pendingStatus"]["scheduledAt"], "2026-03-01");

    let first = batches.cancellation(ACTIVATED).await;
    assert_eq!((&first["reason"], &first["scheduledAt"]), (&json!("NO_NEED"), &json!("2026-02-01")));
    assert_eq!(first["requestedBy"], json!({"actor": "anna", "batch": "b-1"}));
    let of_line = batches.cancellation(BLOCKED).await;
    assert_eq!(
        (&of_line["comment"], &of_line["metadata"]),
        (&json!("old product"), &json!({"ticket": "T-1"}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_goes_on_and_cancels_nothing_twice() {
    let batches = Batches::start().await;
    let file = batches.path("lines");
    let schedule = ["--from", &file, "--date", "2026-03-01", "--reason", "FRAUD", "--batch", "b-1", "--yes"];
    fs::write(&file, ACTIVATED).unwrap();
    let (said, _) = batches.schedule(&schedule).await;
    assert_eq!(said.json()["done"], 1);
    // A caller has withdrawn it since. The batch does not cancel it again, because that line is done.
    assert_eq!(batches.service.withdraw(ACTIVATED).await.status, 200);
    fs::write(&file, format!("{ACTIVATED}\n{BLOCKED}\n{BLOCKED}\n")).unwrap();
    let (said, results) = batches.schedule(&schedule).await;
    let tally = said.json();
    assert_eq!(
        (&tally["lines"], &tally["done"], &tally["before"]),
        (&json!(3), &json!(1), &json!(2)),
        "{results:?}"
    );
    assert_eq!(batches.cancellation(ACTIVATED).await["state"], "WITHDRAWN");
    assert_eq!(results[ACTIVATED]["state"], "WITHDRAWN");
    // Also when the idempotency keys have expired, and for another date.
    let (batch, two_days_later) = (["--batch", "b-1", "--next-day", "--yes"], "2026-02-02T22:30:00Z");
    let later =
        ["cancellations", "schedule", "--tenant", "demo", "--from", &file, "--reason", "FRAUD", "--json"];
    let results = batches.path("later");
    let later = [&later[..], &batch, &["--as", "anna", "--results", &results]].concat();
    let said = connect_at(&batches.service, two_days_later, &later).await.json();
    assert_eq!((&said["done"], &said["before"]), (&json!(0), &json!(3)));
    assert_eq!(batches.cancellation(ACTIVATED).await["state"], "WITHDRAWN");
    // The same cancellation by another batch changes nothing, and a preview says so.
    let version = batches.service.version(BLOCKED).await;
    let again = ["--from", &file, "--date", "2026-03-01", "--reason", "FRAUD", "--yes"];
    let (_, results) = batches.schedule(&again).await;
    assert_eq!(outcomes(&results)[BLOCKED], "scheduled before");
    let (_, results) = batches.schedule(&[&again[..], &["--dry-run"]].concat()).await;
    assert_eq!(outcomes(&results)[BLOCKED], "scheduled before");
    assert_eq!(batches.service.version(BLOCKED).await, version);
}

/// The command to continue has the date in place of the next day. The idempotency key of the line says that it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_a_caller_has_put_in_place_of_the_batchs_stays() {
    let batches = Batches::start().await;
    let file = batches.path("lines");
    fs::write(&file, ACTIVATED).unwrap();
    let batch = ["--from", &file, "--reason", "FRAUD", "--batch", "b-1", "--yes"];
    let (said, _) = batches.schedule(&[&batch[..], &["--next-day"]].concat()).await;
    assert_eq!(said.json()["done"], 1);
    assert_eq!(batches.service.cancel(ACTIVATED, &cancel_at("2026-06-01")).await.status, 200);

    let (said, results) = batches.schedule(&[&batch[..], &["--date", "2026-02-01"]].concat()).await;
    assert_eq!((said.code, outcomes(&results)[ACTIVATED]), (0, "scheduled before"), "{said:?}");
    assert_eq!(batches.cancellation(ACTIVATED).await["scheduledAt"], "2026-06-01");
    // Another request under the name of the batch is refused.
    let (_, results) = batches.schedule(&[&batch[..], &["--date", "2026-02-02"]].concat()).await;
    assert_eq!(outcomes(&results)[ACTIVATED], "idempotency_key_mismatch");
    assert_eq!(batches.cancellation(ACTIVATED).await["scheduledAt"], "2026-06-01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_twice_or_is_that_of_the_results_is_refused() {
    let batches = Batches::start().await;
    let file = batches.path("lines");
    fs::write(&file, ACTIVATED).unwrap();
    let schedule = |from: &str, results: &str| {
        let schedule =
            ["cancellations", "schedule", "--tenant", "demo", "--next-day", "--reason", "FRAUD", "--yes"];
        connect(&batches.service, &[&schedule[..], &["--from", from, "--results", results]].concat())
    };
    assert_eq!(
        schedule(&file, &file).failed(2),
        "the file of the results is that of --from; name another with --results"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), ACTIVATED);
    let results = batches.path("results");
    assert_eq!(schedule("/dev/null", &results).failed(2), "--from must be a file: it is read twice");
}

/// The service on one machine is reached through the wire, which loses answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_whose_acknowledgement_is_lost_is_done_once_and_reported_as_done() {
    let batches = Batches::start().await;
    let wire = Wire::start(&batches.service.dynamodb_url).await;
    let (file, results) = (batches.path("lines"), batches.path("results"));
    fs::write(&file, ACTIVATED).unwrap();
    let run = async |arguments: &[&str]| {
        let fixed = ["--tenant", "demo", "--results", &results, "--batch", "b-1", "--json", "--yes"];
        let arguments = [&["cancellations"], arguments, &fixed].concat();
        // More than the SDK tries by itself.
        wire.next("TransactWriteItems", vec![Fault::GatewayTimeout; 4]);
        let mut command = process(&batches.service, &wire.url, &arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let tally = Said::of(output).json();
        (tally["done"].clone(), tally["lines"].clone(), wire.faults())
    };
    let scheduled = run(&["schedule", "--from", &file, "--next-day", "--reason", "FRAUD"]).await;
    assert_eq!(scheduled, (json!(1), json!(1), 4));
    assert_eq!(batches.service.version(ACTIVATED).await, 2);
    let withdrawn = run(&["withdraw"]).await;
    assert_eq!(withdrawn, (json!(1), json!(1), 8));
    assert_eq!(batches.service.version(ACTIVATED).await, 3);
}

/// A line fails for a reason that no retry solves: the others are done, and are in the results.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_line_does_not_hide_what_was_done_with_the_others() {
    let batches = Batches::start().await;
    let wire = Wire::start(&batches.service.dynamodb_url).await;
    let (file, results) = (batches.path("lines"), batches.path("results"));
    fs::write(&file, [ACTIVATED, ACTIVATED_TOO, BLOCKED].join("\n")).unwrap();
    wire.next("TransactWriteItems", [Fault::refusal("AccessDeniedException")]);
    let schedule =
        ["cancellations", "schedule", "--tenant", "demo", "--from", &file, "--next-day", "--reason", "FRAUD"];
    let more = ["--batch", "b-1", "--results", &results, "--json", "--yes"];
    let mut command = process(&batches.service, &wire.url, &[&schedule[..], &more].concat());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = Said::of(output);
    let tally: Value = serde_json::from_str(&said.out).unwrap();
    let done = tally["done"].as_u64().unwrap();
    let mut pending = 0;
    for id in [ACTIVATED, ACTIVATED_TOO, BLOCKED] {
        pending += u64::from(batches.service.version(id).await == 2);
    }
    assert_eq!(
        (done, fs::read_to_string(&results).unwrap().lines().count()),
        (pending, usize::try_from(tally["lines"].as_u64().unwrap()).unwrap())
    );
    assert!(pending < 3 && said.code == 1, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subscriptions_with_a_product_are_cancelled_after_a_question() {
    let batches = Batches::start().await;
    let product = batches.service.get(ACTIVATED).await.json()["productOfferingId"].clone();
    let product = product.as_str().unwrap();
    let schedule = ["--product", product, "--next-month", "--reason", "TEST_OR_MARKETING"];
    // Nobody answers the question here.
    let (said, _) = batches.schedule(&schedule).await;
    assert_eq!(said.code, 2);
    assert!(said.notes.contains("% of 7 that are not cancelled"), "{said:?}");
    assert_eq!(batches.service.version(ACTIVATED).await, 1);

    let (said, results) = batches.schedule(&[&schedule[..], &["--ask-above", "100"]].concat()).await;
    let done = said.json()["done"].as_u64().unwrap();
    assert!(
        done >= 1 && u64::try_from(results.len()) == Ok(done) && results.contains_key(ACTIVATED),
        "{results:?}"
    );
    for name in results.keys() {
        let subscription = batches.service.get(name).await.json();
        assert_eq!(subscription["productOfferingId"], product);
        assert_eq!(
            subscription["pendingStatus"],
            json!({"status": "CANCELLED", "scheduledAt": "2026-02-01"})
        );
    }
}

/// The product of such an item is not known, so it might be one to cancel.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_cannot_be_read_is_refused_and_named() {
    let batches = Batches::start().await;
    let nothing = AttributeValue::S("x".to_owned());
    batches
        .service
        .update("subscriptions", &format!("demo#{BLOCKED}"), "SET document = :value", nothing)
        .await;
    let schedule = ["--product", "none", "--next-month", "--reason", "FRAUD", "--yes"];
    let (said, results) = batches.schedule(&schedule).await;
    assert_eq!(outcomes(&results), BTreeMap::from([(BLOCKED, "unreadable_subscription")]));
    assert!(said.failed(1).starts_with("1 line refused; see "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_withdrawn_and_nothing_else() {
    let batches = Batches::start().await;
    let service = &batches.service;
    let file = batches.path("lines");
    fs::write(&file, [ACTIVATED, ACTIVATED_TOO, BLOCKED].join("\n")).unwrap();
    batches.schedule(&["--from", &file, "--next-day", "--reason", "FRAUD", "--batch", "b-1", "--yes"]).await;
    // A caller cancels another one, and one of the batch anew.
    assert_eq!(service.cancel(PENDING, &cancel_next_day()).await.status, 200);
    assert_eq!(service.cancel(BLOCKED, &cancel_at("2026-03-01")).await.status, 200);

    let (said, results) = batches.run("withdraw", &["--batch", "b-1", "--dry-run"]).await;
    assert_eq!((said.code, results.len()), (0, 2), "{said:?}");
    assert_eq!(batches.cancellation(ACTIVATED).await["state"], "PENDING");
    let (said, _) = batches.run("withdraw", &["--batch", "b-1"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    let (said, results) = batches.run("withdraw", &["--batch", "b-1", "--yes"]).await;
    assert_eq!(said.json()["done"], 2);
    assert_eq!(outcomes(&results), BTreeMap::from([(ACTIVATED, "withdrawn"), (ACTIVATED_TOO, "withdrawn")]));
    let withdrawn = batches.cancellation(ACTIVATED).await;
    assert_eq!(
        (&withdrawn["state"], &withdrawn["withdrawnBy"], &withdrawn["requestedBy"]["batch"]),
        (&json!("WITHDRAWN"), &json!({"actor": "anna"}), &json!("b-1"))
    );
    for kept in [PENDING, BLOCKED] {
        assert_eq!(batches.cancellation(kept).await["state"], "PENDING");
    }
    // The third one is of a caller by now.
    let list = ["cancellations", "batches", "--tenant", "demo", "--json"];
    let expected = json!([{
        "batch": "b-1", "requestedAt": "2026-01-31T22:30:00Z", "requestedBy": "anna", "from": "2026-02-01", "to": "2026-02-01",
        "pending": 0, "executed": 0, "withdrawn": 2,
    }]);
    assert_eq!(connect(service, &list).json(), expected);
    let (said, _) = batches.run("withdraw", &["--batch", "b-1", "--yes"]).await;
    assert_eq!(said.json()["lines"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cancellations_of_a_leaked_key_since_then_are_withdrawn() {
    let batches = Batches::start().await;
    let service = &batches.service;
    let key = service.api_key.split('_').nth(2).unwrap();
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    service.advance_clock("PT10M").await;
    assert_eq!(service.cancel(BLOCKED, &cancel_next_day()).await.status, 200);
    let withdraw = ["--requested-by", key, "--since", "2026-01-31T22:35:00Z", "--yes"];
    let (said, results) = batches.run("withdraw", &withdraw).await;
    assert_eq!(said.json()["done"], 1, "{results:?}");
    assert_eq!(outcomes(&results), BTreeMap::from([(BLOCKED, "withdrawn")]));
    assert_eq!(batches.cancellation(ACTIVATED).await["state"], "PENDING");
    // Since when must be said.
    let without = ["cancellations", "withdraw", "--tenant", "demo", "--requested-by", key, "--yes"];
    assert_eq!(connect(service, &without).code, 2);
}

/// The indexes by number and customer have only keys, and a cancellation changes neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_and_a_customer_cost_nothing_when_a_cancellation_is_written() {
    let batches = Batches::start().await;
    let service = &batches.service;
    let bare = service.dynamodb().update_item().table_name(&service.tables.subscriptions);
    let bare = bare.key("pk", AttributeValue::S(format!("demo#{ACTIVATED_TOO}")));
    bare.update_expression("REMOVE msisdn, customerId").send().await.unwrap();
    let indexed = service.stored(ACTIVATED).await;
    assert!(indexed.contains_key("msisdn") && indexed.contains_key("customerId"), "{:?}", indexed.keys());

    let wire = Wire::metered(&service.dynamodb_url).await;
    let (file, results) = (batches.path("lines"), batches.path("results"));
    let units = async |subscription: &str| {
        fs::write(&file, subscription).unwrap();
        let schedule =
            ["cancellations", "schedule", "--tenant", "demo", "--from", &file, "--next-day", "--reason"];
        let more = ["FRAUD", "--results", &results, "--json", "--yes"];
        let mut command = process(service, &wire.url, &[&schedule[..], &more].concat());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(Said::of(output).json()["done"], 1);
        wire.take_capacity().write
    };
    // Two for the record and two for the subscription, as for each write of a transaction, and one for the index `due`.
    assert_eq!((units(ACTIVATED).await, units(ACTIVATED_TOO).await), (5.0, 5.0));
}
