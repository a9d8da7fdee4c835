//! Importing: the order of lines, other changes meanwhile, faults of the database, and interruptions. Nothing is lost.

mod existing;
mod rejects;

use std::io::Write;
use std::process::{Command, Stdio};

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, ACTIVATED_TOO, Fault, Service, cancel_next_day};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{ID, ID_TOO, Said, connect, connect_at, file, path, process};

fn document(id: &str, more: Value) -> Value {
    let mut document = json!({"subscriptionId": id, "status": "ACTIVATED"});
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document
}

fn lines(documents: &[Value]) -> NamedTempFile {
    file(&documents.iter().map(|document| format!("{document}\n")).collect::<String>())
}

fn import(service: &Service, documents: &[Value], options: &[&str]) -> Said {
    let file = lines(documents);
    let import = ["subscriptions", "import", "--json", "--tenant", "demo", path(&file)];
    connect(service, &[&import[..], options].concat())
}

/// Returns the counts: added, updated, unchanged, kept, rejected.
fn counts(said: &Said) -> [u64; 5] {
    let tally: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    ["added", "updated", "unchanged", "kept", "rejected"].map(|name| tally[name].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_notes_its_author() {
    let service = Service::start().await;
    let author = async || {
        let stored = service.stored(ID).await;
        let changed_by = stored["changedBy"].as_m().unwrap();
        assert_eq!(changed_by["cause"], AttributeValue::S("IMPORTED".to_owned()));
        assert_eq!(changed_by["source"], AttributeValue::S("IMPORT".to_owned()));
        changed_by["actor"].as_s().unwrap().clone()
    };
    assert_eq!(counts(&import(&service, &[document(ID, json!({}))], &[])), [1, 0, 0, 0, 0]);
    let user = Command::new("id").arg("-un").output().unwrap();
    assert_eq!(author().await, String::from_utf8(user.stdout).unwrap().trim());

    let renamed = [document(ID, json!({"display": "new"}))];
    let said = import(&service, &renamed, &["--existing", "update", "--as", "Anna L."]);
    assert_eq!(counts(&said), [0, 1, 0, 0, 0]);
    assert_eq!(author().await, "Anna L.");
    let said = import(&service, &renamed, &["--as", "Åsa"]).failed(2);
    assert!(said.contains("write 1 to 128 printable ASCII characters"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_keeps_a_cancellation_that_a_caller_makes_meanwhile() {
    let (database, service, wire) = Service::start_wired().await;
    let file = lines(&[
        document(ACTIVATED, json!({"display": "new"})),
        document(ACTIVATED_TOO, json!({"display": "new"})),
    ]);
    let held = wire.hold_request("TransactWriteItems");
    let arguments =
        ["subscriptions", "import", "--json", "--tenant", "demo", "--existing", "update", path(&file)];
    let mut command = process(&service, &wire.url, &arguments);
    let importing = tokio::task::spawn_blocking(move || Said::of(command.output().unwrap()));
    held.reached().await;
    assert_eq!(database.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
    held.release();

    assert_eq!(counts(&importing.await.unwrap()), [0, 1, 0, 1, 0]);
    assert_eq!(service.get(ACTIVATED).await.json()["pendingStatus"]["scheduledAt"], "2026-02-01");
    assert_eq!(database.due("2026-01-31T23:00:00Z").await, [ACTIVATED]);
    assert_eq!(service.get(ACTIVATED_TOO).await.json()["display"], "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_take_effect_in_the_order_of_the_file() {
    let service = Service::start().await;
    // A reference id moves from one subscription to another, after the first has given it up.
    let documents = [
        document(ID, json!({"referenceId": "r"})),
        document(ID_TOO, json!({"referenceId": "r"})),
        document(ID, json!({"referenceId": "s"})),
        document(ID_TOO, json!({"referenceId": "r"})),
        document(ID, json!({"referenceId": "s", "display": "last"})),
    ];
    let said = import(&service, &documents, &["--existing", "update"]);
    assert_eq!(counts(&said), [2, 2, 1, 0, 0]);
    assert_eq!(service.get("rid_r").await.json()["subscriptionId"], ID_TOO);
    assert_eq!(service.get("rid_s").await.json()["display"], "last");

    // A reference id that is given up is free.
    let freed = [document(ID, json!({})), document(ID_TOO, json!({"referenceId": "s"}))];
    assert_eq!(counts(&import(&service, &freed, &["--existing", "update"])), [0, 2, 0, 0, 0]);
    assert_eq!(service.get("rid_r").await.status, 404);
    assert_eq!(service.get("rid_s").await.json()["subscriptionId"], ID_TOO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_database_is_asked_again() {
    let (_database, service, wire) = Service::start_wired().await;
    let throttled = || Fault::refusal("ProvisionedThroughputExceededException");
    for (operation, faults) in [
        ("BatchGetItem", vec![Fault::LeaveUnprocessed, Fault::LeaveUnprocessed]),
        ("BatchGetItem", vec![throttled(), throttled(), throttled(), throttled()]),
        ("TransactWriteItems", vec![throttled(), Fault::DropRequest, throttled(), throttled()]),
        ("TransactWriteItems", vec![Fault::cancelled(["None", "ThrottlingError"])]),
        ("TransactWriteItems", vec![Fault::conflict(), Fault::conflict()]),
        ("TransactWriteItems", vec![Fault::DropAnswer]),
    ] {
        let id = uuid::Uuid::new_v4().to_string();
        let file = lines(&[document(&id, json!({"referenceId": id}))]);
        wire.next(operation, faults);
        let arguments = ["subscriptions", "import", "--json", "--tenant", "demo", path(&file)];
        let mut command = process(&service, &wire.url, &arguments);
        let said = tokio::task::spawn_blocking(move || Said::of(command.output().unwrap())).await.unwrap();
        assert_eq!(counts(&said), [1, 0, 0, 0, 0], "{operation}: {said:?}");
        assert_eq!(service.get(&format!("rid_{id}")).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_stops_the_import() {
    let (_database, service, wire) = Service::start_wired().await;
    wire.always("TransactWriteItems", Fault::refusal("AccessDeniedException"));
    let file = lines(&[document(ID, json!({})), document(ID_TOO, json!({}))]);
    let arguments = ["subscriptions", "import", "--json", "--tenant", "demo", path(&file)];
    let mut command = process(&service, &wire.url, &arguments);
    let said = tokio::task::spawn_blocking(move || Said::of(command.output().unwrap())).await.unwrap();
    assert_eq!(counts(&said), [0; 5]);
    let said = said.failed(1);
    assert!(
        said.starts_with("stopped after 0 lines: the database refused a request: AccessDenied"),
        "{said}"
    );
    assert!(said.ends_with("; run the same command again to continue"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_for_an_unreadable_item_is_rejected_and_the_others_are_imported() {
    let service = Service::start().await;
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET version = :value", AttributeValue::S("x".into())).await;
    let documents = [document(ACTIVATED, json!({})), document(ID, json!({}))];
    let said = import(&service, &documents, &["--existing", "update"]);
    assert_eq!(counts(&said), [1, 0, 0, 0, 1]);
    assert!(
        said.notes.contains("line 1: the item stored under the id or reference id is malformed"),
        "{said:?}"
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_ends_in_the_same_state_when_it_is_run_again() {
    let service = Service::start().await;
    let id = |n: usize| format!("00000000-0000-4000-8000-{n:012x}");
    let documents: Vec<_> =
        (0..3_000).map(|n| document(&id(n), json!({"referenceId": format!("r-{n}")})).to_string()).collect();
    for tenant in ["whole", "broken"] {
        connect(&service, &["tenants", "create", tenant]).done();
    }
    let start = |tenant| {
        let mut command = process(
            &service,
            &service.dynamodb_url,
            &["subscriptions", "import", "-", "--json", "--tenant", tenant],
        );
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        streams.spawn().unwrap()
    };
    let all = |tenant| {
        let mut child = start(tenant);
        child.stdin.take().unwrap().write_all(documents.join("\n").as_bytes()).unwrap();
        Said::of(child.wait_with_output().unwrap())
    };
    assert_eq!(counts(&all("whole")), [3_000, 0, 0, 0, 0]);

    // Standard input stays open: without the signal, the import would wait forever for the second half.
    let mut child = start("broken");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all((documents[..1_500].join("\n") + "\n").as_bytes()).unwrap();
    // When the first subscription is stored, the process already listens for the signal.
    let first = format!("broken#{}", id(0));
    let arrived = async { while service.item("subscriptions", &first).await.is_none() {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), arrived).await.unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    let interrupted = Said::of(child.wait_with_output().unwrap());
    drop(stdin);
    let tally: Value = serde_json::from_str(&interrupted.out).unwrap();
    let [added, ..] = counts(&interrupted);
    assert_eq!((&tally["interrupted"], &tally["lines"]), (&true.into(), &added.into()));
    assert!((1..=1_500).contains(&added), "{added}");
    let said = interrupted.failed(1);
    assert_eq!(said, format!("interrupted after {added} lines; run the same command again to continue"));

    // A part that was being written at the signal is complete.
    assert_eq!(counts(&all("broken")), [3_000 - added, 0, added, 0, 0]);
    let items = |tenant: &'static str| {
        let service = &service;
        async move {
            let mut items: Vec<String> = Vec::new();
            for item in service.scan("subscriptions").await {
                let key = item["pk"].as_s().unwrap().clone();
                if let Some(key) = key.strip_prefix(&format!("{tenant}#")) {
                    let mut attributes: Vec<_> = item
                        .iter()
                        .filter(|(name, _)| !["pk", "writeId"].contains(&name.as_str()))
                        .map(|(name, value)| match value {
                            AttributeValue::M(map) => format!("{name} {} members", map.len()),
                            value => format!("{name} {value:?}"),
                        })
                        .collect();
                    attributes.sort();
                    items.push(format!("{key}: {}", attributes.join(", ")));
                }
            }
            items.sort();
            items
        }
    };
    assert_eq!(items("broken").await, items("whole").await);
    assert_eq!(items("whole").await.len(), 6_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_clock_is_behind_still_rejects_a_date_that_has_begun() {
    let service = Service::start().await;
    let pending =
        document(ID, json!({"pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-03-01"}}));
    let file = lines(&[pending]);
    let import = ["subscriptions", "import", "--json", "--tenant", "demo", path(&file)];
    // The database uses the clock of the system, which is past this date.
    let said = connect_at(&service, "2026-02-27T00:00:00Z", &import).await;
    assert_eq!(counts(&said), [0, 0, 0, 0, 1], "{said:?}");
    assert!(said.notes.contains("pendingStatus: the date has begun"), "{said:?}");
    assert_eq!(service.get(ID).await.status, 404);
}
