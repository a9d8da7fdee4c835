//! Importing: which lines are taken in, which stored subscriptions are kept, and that nothing is lost.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, ACTIVATED_TOO, CANCELLED, Fault, Service, cancel_at, cancel_next_day};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, tempdir};

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

/// Added, updated, unchanged, kept, rejected.
fn counts(said: &Said) -> [u64; 5] {
    let tally: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    ["added", "updated", "unchanged", "kept", "rejected"].map(|name| tally[name].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_lines_are_rejected_by_number_and_the_others_are_imported() {
    let service = Service::start().await;
    let folder = tempdir().unwrap();
    let file = folder.path().join("all.ndjson");
    let rejects = folder.path().join("all.ndjson.rejects");
    let taken = document(ID_TOO, json!({"referenceId": "crm-1001"}));
    let large = document(&ID.replace("b1", "b3"), json!({"display": "x".repeat(500_000)}));
    let good = document(ID, json!({}));
    fs::write(&file, format!("{{\"status\": \"secret\"}}\n\n{taken}\n{good}\n{large}\nsecret\n")).unwrap();
    let import = ["subscriptions", "import", "--tenant", "demo", "--json", file.to_str().unwrap()];

    let said = connect(&service, &import);
    assert_eq!(counts(&said), [1, 0, 0, 0, 4]);
    let faults = [
        "line 1: status: expected one of",
        "line 3: referenceId: belongs to another subscription",
        "line 5: the database refuses it: over 400 KB",
        "line 6: not JSON",
    ];
    for (line, fault) in said.notes.lines().zip(faults) {
        assert!(line.starts_with(fault), "{line}");
    }
    assert!(!said.notes.contains("secret"), "{said:?}");
    assert_eq!(said.failed(1), format!("4 lines rejected; see {}", rejects.display()));
    assert_eq!(service.get(ID).await.status, 200);
    assert_eq!(service.get(ID_TOO).await.status, 404);

    // The rejects hold the lines as they were, for their owner alone.
    let rejected: Vec<Value> = fs::read_to_string(&rejects)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let numbers: Vec<_> = rejected.iter().map(|reject| reject["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 3, 5, 6]);
    assert_eq!(rejected[1]["text"], taken.to_string());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&rejects).unwrap().permissions().mode() & 0o777, 0o600);
    }

    // The file itself is none to write them to.
    let said = connect(&service, &[&import[..], &["--rejects", file.to_str().unwrap()]].concat()).failed(2);
    assert_eq!(said, "--rejects names the file that is imported");
    assert!(file.exists());

    // Mended, and imported again: no rejects are left.
    fs::write(&file, format!("{good}\n{}\n", document(ID_TOO, json!({"referenceId": "r"})))).unwrap();
    assert_eq!(counts(&connect(&service, &import)), [1, 0, 1, 0, 0]);
    assert!(!rejects.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_be_empty_or_hold_a_long_run_of_faulty_lines() {
    let service = Service::start().await;
    let good = document(ID, json!({})).to_string();
    let many_faults = "{}\n".repeat(1_100);
    for (text, expected) in [
        (String::new(), [0, 0, 0, 0, 0]),
        ("\n \n".to_owned(), [0, 0, 0, 0, 0]),
        ("{}\n".to_owned(), [0, 0, 0, 0, 1]),
        (format!("{many_faults}{good}"), [1, 0, 0, 0, 1_100]),
    ] {
        let folder = tempdir().unwrap();
        let file = folder.path().join("all.ndjson");
        fs::write(&file, &text).unwrap();
        let import = ["subscriptions", "import", "--json", "--tenant", "demo", file.to_str().unwrap()];
        let said = connect(&service, &import);
        assert_eq!(counts(&said), expected, "{said:?}");
        assert_eq!(said.code, i32::from(expected[4] > 0));
        assert!(said.notes.lines().count() < 25, "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_overwrite_an_existing_file_only_if_it_is_named() {
    let service = Service::start().await;
    let folder = tempdir().unwrap();
    let kept = folder.path().join("import.rejects");
    fs::write(&kept, "of another import").unwrap();
    let import = |ndjson: &str, options: &[&str]| {
        let arguments =
            [&["subscriptions", "import", "-", "--json", "--tenant", "demo"][..], options].concat();
        let mut command = process(&service, &service.dynamodb_url, &arguments);
        let streams = command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = streams.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(ndjson.as_bytes()).unwrap();
        Said::of(child.wait_with_output().unwrap())
    };
    let good = document(ID, json!({})).to_string();
    // Before anything is imported.
    let said = import(&good, &[]).failed(1);
    assert!(said.starts_with("cannot write rejects to import.rejects"), "{said}");
    assert_eq!(service.get(ID).await.status, 404);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "of another import");

    // One that is named is this import's alone.
    let said = import("{}\n[]", &["--rejects", "named"]).failed(1);
    assert_eq!(said, "2 lines rejected; see named");
    let named = folder.path().join("named");
    assert_eq!(fs::read_to_string(&named).unwrap().lines().count(), 2);
    assert_eq!(import(&good, &["--rejects", "named"]).code, 0);
    assert_eq!(fs::read_to_string(&named).unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_subscription_is_replaced_only_on_request() {
    let service = Service::start().await;
    let renamed = [document(ACTIVATED, json!({"display": "new", "referenceId": "crm-1001"}))];
    assert_eq!(counts(&import(&service, &renamed, &[])), [0, 0, 0, 1, 0]);
    assert_ne!(service.get(ACTIVATED).await.json()["display"], "new");

    // What another system keeps beside the document stays.
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET billing = :value", AttributeValue::S("b-1".into())).await;
    let update = ["--existing", "update"];
    assert_eq!(counts(&import(&service, &renamed, &update)), [0, 1, 0, 0, 0]);
    assert_eq!(service.get("rid_crm-1001").await.json()["display"], "new");
    assert_eq!(service.version(ACTIVATED).await, 2);
    assert!(service.stored(ACTIVATED).await.contains_key("billing"));

    assert_eq!(counts(&import(&service, &renamed, &update)), [0, 0, 1, 0, 0]);
    assert_eq!(service.version(ACTIVATED).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_undoes_a_cancellation_only_on_request() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2026-02-10")).await.status, 200);
    let documents = [ACTIVATED, CANCELLED].map(|id| document(id, json!({"display": "new"})));
    for existing in ["keep", "update"] {
        assert_eq!(counts(&import(&service, &documents, &["--existing", existing])), [0, 0, 0, 2, 0]);
    }
    assert_eq!(service.get(ACTIVATED).await.json()["pendingStatus"]["scheduledAt"], "2026-02-10");
    assert_eq!(service.due("2026-03-01T00:00:00Z").await, [ACTIVATED]);
    assert_eq!(service.get(CANCELLED).await.json()["status"], "CANCELLED");

    let overwrite = ["--existing", "overwrite"];
    let said = import(&service, &documents, &overwrite).failed(2);
    assert!(said.ends_with("so say --yes"), "{said}");
    assert_eq!(service.due("2026-03-01T00:00:00Z").await, [ACTIVATED]);

    let overwrite = [&overwrite[..], &["--yes"]].concat();
    let said = import(&service, &documents, &overwrite);
    assert_eq!(counts(&said), [0, 2, 0, 0, 0]);
    assert!(said.out.contains(r#""undone":2"#) && said.notes.contains(ACTIVATED), "{said:?}");
    assert_eq!(service.due("2026-03-01T00:00:00Z").await, [""; 0]);
    for id in [ACTIVATED, CANCELLED] {
        let answer = service.cancel(id, &cancel_next_day()).await;
        assert_eq!(answer.json()["pendingStatus"]["scheduledAt"], "2026-02-01", "{}", answer.text());
    }
    service.set_clock("2026-01-31T23:00:00Z").await;
    assert_eq!(service.execute().await["executed"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_undoes_a_withdrawal_only_on_request() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2099-02-10")).await.status, 200);
    let documents = [service.get(ACTIVATED).await.json()];
    assert_eq!(service.withdraw(ACTIVATED).await.status, 200);
    for existing in ["keep", "update"] {
        assert_eq!(counts(&import(&service, &documents, &["--existing", existing])), [0, 0, 0, 1, 0]);
    }
    assert_eq!(service.due("9999-01-01T00:00:00Z").await, [""; 0]);
    let said = import(&service, &documents, &["--existing", "overwrite", "--yes"]);
    assert!(said.out.contains(r#""undone":1"#), "{said:?}");
    assert_eq!(service.due("9999-01-01T00:00:00Z").await, [ACTIVATED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_cancellation_replaces_a_pending_one_only_on_request() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2026-02-10")).await.status, 200);
    let pending = json!({"pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-02-05"}});
    let documents = [document(ACTIVATED, pending)];
    assert_eq!(counts(&import(&service, &documents, &["--existing", "update"])), [0, 0, 0, 1, 0]);
    assert_eq!(counts(&import(&service, &documents, &["--existing", "overwrite", "--yes"])), [0, 0, 0, 0, 1]);
    let overwrite = ["--existing", "overwrite", "--yes", "--overdue"];
    assert_eq!(counts(&import(&service, &documents, &overwrite)), [0, 1, 0, 0, 0]);
    assert_eq!(service.due("2026-02-04T23:00:00Z").await, [ACTIVATED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_cancellation_is_imported_only_on_request() {
    let service = Service::start().await;
    // By the clock of this machine, which is what the command goes by, that date is long past.
    let pending = json!({"pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-01-31"}});
    let documents = [document(ID, pending)];
    let said = import(&service, &documents, &[]);
    assert_eq!(counts(&said), [0, 0, 0, 0, 1]);
    assert!(said.notes.starts_with("line 1: pendingStatus: its date has begun"), "{said:?}");
    assert_eq!(service.get(ID).await.status, 404);

    assert_eq!(counts(&import(&service, &documents, &["--overdue"])), [1, 0, 0, 0, 0]);
    assert_eq!(service.execute().await["executed"], 1);
    // What has become of it meanwhile is kept.
    assert_eq!(counts(&import(&service, &documents, &[])), [0, 0, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_repeats_a_cancellation_keeps_its_reason_and_instant() {
    let service = Service::start().await;
    assert_eq!(service.cancel(ACTIVATED, &cancel_at("2026-02-10")).await.status, 200);
    let before = service.stored(ACTIVATED).await;
    let store = service.admin();
    store.set_time_zone(&"demo".parse().unwrap(), &"Asia/Tokyo".parse().unwrap()).await.unwrap();
    let mut document = service.get(ACTIVATED).await.json();
    for (existing, display) in [("update", "new"), ("overwrite", "newer")] {
        document["display"] = json!(display);
        let said = import(&service, &[document.clone()], &["--existing", existing, "--yes"]);
        assert_eq!(counts(&said), [0, 1, 0, 0, 0]);
        let after = service.stored(ACTIVATED).await;
        for name in ["cancellationId", "cancellation", "dueAt", "dueShard"] {
            assert_eq!(after[name], before[name], "{existing}");
        }
        assert_eq!(service.get(ACTIVATED).await.json()["display"], display);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_reference_id_now_held_by_another_subscription_stays_with_it() {
    let service = Service::start().await;
    let former = AttributeValue::S(ACTIVATED_TOO.into());
    service.update("subscriptions", "demo#rid_crm-1001", "SET subscriptionId = :value", former).await;
    let documents = [document(ACTIVATED, json!({"referenceId": "other"})), document(ID, json!({}))];
    let said = import(&service, &documents, &["--existing", "update"]);
    assert_eq!(counts(&said), [1, 0, 0, 0, 1]);
    assert_eq!(service.get("rid_crm-1001").await.json()["subscriptionId"], ACTIVATED_TOO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_id_that_a_path_cannot_carry_is_rejected() {
    let service = Service::start().await;
    let references = ["a/b", "a?b", "50%", "%41", "a\u{1}b", "a\u{7f}", "a\u{85}", "", &"x".repeat(256)];
    let documents = references.map(|reference| document(ID, json!({"referenceId": reference})));
    let said = import(&service, &documents, &[]);
    assert_eq!(counts(&said), [0, 0, 0, 0, 9]);
    for (n, line) in said.notes.lines().take(9).enumerate() {
        let fault = "referenceId: 1 to 255 characters without / ? % and control characters";
        assert_eq!(line, format!("line {}: {fault}", n + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_reference_id_that_is_already_stored_is_exported_and_can_be_replaced() {
    let service = Service::start().await;
    let former = AttributeValue::S("a/b?".to_owned());
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET document.referenceId = :value", former).await;
    let of = AttributeValue::S(ACTIVATED.to_owned());
    service.update("subscriptions", "demo#rid_a/b?", "SET subscriptionId = :value", of).await;

    let exported = connect(&service, &["subscriptions", "export", "--tenant", "demo"]).done();
    assert!(exported.lines().any(|line| line.contains(r#""referenceId":"a/b?""#)), "{exported}");
    let said =
        import(&service, &[document(ACTIVATED, json!({"referenceId": "a-b"}))], &["--existing", "update"]);
    assert_eq!(counts(&said), [0, 1, 0, 0, 0]);
    assert_eq!(service.get("rid_a-b").await.json()["subscriptionId"], ACTIVATED);
    assert_eq!(service.item("subscriptions", "demo#rid_a/b?").await, None);
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
    // A reference id wanders from one subscription to another, which can have it once the first gives it up.
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

    // One that is given up is free.
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
    assert!(said.ends_with("; the same command goes on"), "{said}");
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
        said.notes
            .contains("line 1: what is stored under its id or reference id is not what this service writes"),
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

    // Its standard input stays open: without the signal it would wait for the second half for ever.
    let mut child = start("broken");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all((documents[..1_500].join("\n") + "\n").as_bytes()).unwrap();
    // By the time that there are some of the first part, the signal is listened for.
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
    assert_eq!(said, format!("interrupted after {added} lines; the same command goes on"));

    // Parts that were being written when it was interrupted are complete.
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

/// Lines of a file, imported; what was said of those that were rejected.
fn rejected(service: &Service, text: &str) -> Vec<String> {
    let folder = tempdir().unwrap();
    let file = folder.path().join("all.ndjson");
    fs::write(&file, text).unwrap();
    let import = ["subscriptions", "import", "--json", "--tenant", "demo", file.to_str().unwrap()];
    let said = connect(service, &import);
    said.notes.lines().filter(|line| line.starts_with("line ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_kept_exactly_or_contradicts_itself_is_rejected_by_place() {
    let service = Service::start().await;
    let line = |more: &str| format!(r#"{{"subscriptionId": "{ID}", "status": "ACTIVATED", {more}}}"#);
    let text = [
        line(r#""metadata": {"iccid": 89460000000000000017}"#),
        line(r#""extensions": {"a": [1, 0.12345678901234567]}"#),
        line(r#""$serde_json::private::RawValue": "nope""#),
        line(r#""metadata": {"deep": [{"$serde_json::private::RawValue": "nope"}]}"#),
        line(r#""display": "cut \ud83d""#),
        line(r#""cancelledAt": "2026-01-01T00:00:00Z""#),
        line(r#""activatedAt": "+99999-01-01T00:00:00Z""#),
        document(ID, json!({"status": "CANCELLED", "cancelledAt": "2099-01-01T00:00:00Z"})).to_string(),
        line(r#""createdAt": "2026-01-01T00:00:00.1234567891Z""#),
        line(r#""subscriber": {"subscriberId": "s", "updatedAt": " 2026-01-01T00:00:00Z"}"#),
        line(r#""metadata": {"balance": -0.0}"#),
        document(ID_TOO, json!({"metadata": {"iccid": 8_946_000_000_000_000_017_u64}})).to_string(),
    ];
    let said = rejected(&service, &text.join("\n"));
    let faults = [
        "line 1: metadata.iccid: a number that is not kept to the digit",
        "line 2: extensions.a.1: a number that is not kept to the digit",
        "line 3: $serde_json::private::RawValue: a member can't be called so",
        "line 4: metadata.deep.0.$serde_json::private::RawValue: a member can't be called so",
        "line 5: display: not Unicode",
        "line 6: cancelledAt: a subscription that is not CANCELLED",
        "line 7: activatedAt: must lie in the years 0000 to 9999",
        "line 8: cancelledAt: must not lie in the future",
        "line 9: createdAt: an instant has at most nine digits",
        "line 10: subscriber.updatedAt: an instant has at most nine digits",
        "line 11: metadata.balance: a number that is not kept to the digit",
    ];
    assert_eq!(said.len(), faults.len(), "{said:?}");
    for (said, fault) in said.iter().zip(faults) {
        assert!(said.starts_with(fault), "{said}");
    }
    assert_eq!(service.get(ID).await.status, 404);
    let kept = service.get(ID_TOO).await.text().to_owned();
    assert!(kept.contains("8946000000000000017"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_item_is_replaced_only_on_request() {
    let service = Service::start().await;
    let key = format!("demo#{ACTIVATED}");
    service.update("subscriptions", &key, "SET document = :value", AttributeValue::S("x".into())).await;
    assert_eq!(service.get(ACTIVATED).await.status, 500);
    let again = [document(ACTIVATED, json!({"display": "whole"}))];
    for options in [&[][..], &["--existing", "update"]] {
        let said = import(&service, &again, options);
        assert_eq!(counts(&said), [0, 0, 0, 0, 1]);
        assert!(said.notes.contains("is not what this service writes"), "{said:?}");
    }
    assert_eq!(counts(&import(&service, &again, &["--existing", "overwrite", "--yes"])), [0, 1, 0, 0, 0]);
    let read = service.get(ACTIVATED).await;
    assert_eq!((read.status, &read.json()["display"]), (200, &json!("whole")));
    assert_eq!(service.cancel(ACTIVATED, &cancel_next_day()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradictory_subscription_is_replaced_on_request() {
    let service = Service::start().await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let cancelled = AttributeValue::S("CANCELLED".to_owned());
    service
        .dynamodb()
        .update_item()
        .table_name(&service.tables.subscriptions)
        .key("pk", AttributeValue::S(format!("demo#{ACTIVATED}")))
        .update_expression("SET document.#status = :cancelled ADD version :one")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":cancelled", cancelled)
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
        .send()
        .await
        .unwrap();
    let mut same = service.get(ACTIVATED).await.json();
    assert_eq!(same["status"], "CANCELLED");
    same.as_object_mut().unwrap().remove("cancelledAt");
    let said = import(&service, &[same], &["--existing", "overwrite", "--yes"]);
    assert_eq!(counts(&said), [0, 1, 0, 0, 0], "{said:?}");
    assert_eq!(service.due("9999-01-01T00:00:00Z").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_clock_is_behind_still_rejects_a_date_that_has_begun() {
    let service = Service::start().await;
    let pending =
        document(ID, json!({"pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-03-01"}}));
    let file = lines(&[pending]);
    let import = ["subscriptions", "import", "--json", "--tenant", "demo", path(&file)];
    // The database's clock is the system's, and that is past this date.
    let said = connect_at(&service, "2026-02-27T00:00:00Z", &import).await;
    assert_eq!(counts(&said), [0, 0, 0, 0, 1], "{said:?}");
    assert!(said.notes.contains("pendingStatus: its date has begun"), "{said:?}");
    assert_eq!(service.get(ID).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_sets_updated_at_later_than_before() {
    let service = Service::start().await;
    let ahead = [document(ID, json!({"display": "a", "updatedAt": "2999-01-01T00:00:00Z"}))];
    assert_eq!(counts(&import(&service, &ahead, &[])), [1, 0, 0, 0, 0]);
    let other = [document(ID, json!({"display": "b", "updatedAt": "2026-01-01T00:00:00Z"}))];
    assert_eq!(counts(&import(&service, &other, &["--existing", "update"])), [0, 1, 0, 0, 0]);
    assert_eq!(service.get(ID).await.json()["updatedAt"], "2999-01-01T00:00:00.001Z");
    assert_eq!(counts(&import(&service, &other, &["--existing", "update"])), [0, 0, 1, 0, 0]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn rejects_never_overwrite_the_imported_file_and_only_their_owner_can_read_them() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let service = Service::start().await;
    let folder = tempdir().unwrap();
    let file = folder.path().join("all.ndjson");
    let text = format!("{}\nsecret\n", document(ID, json!({})));
    fs::write(&file, &text).unwrap();
    let [hard, soft, open] = ["hard", "soft", "open"].map(|name| folder.path().join(name));
    fs::hard_link(&file, &hard).unwrap();
    symlink(&file, &soft).unwrap();
    let import = ["subscriptions", "import", "--json", "--tenant", "demo"];
    let named = |source: &str, rejects: &std::path::Path| {
        let options = [source, "--rejects", rejects.to_str().unwrap()];
        process(&service, &service.dynamodb_url, &[&import[..], &options].concat())
    };
    for link in [&hard, &soft] {
        let said = Said::of(named(file.to_str().unwrap(), link).output().unwrap()).failed(2);
        assert_eq!(said, "--rejects names the file that is imported");
        // Also if it comes over standard input.
        let mut command = named("-", link);
        let command = command.stdin(fs::File::open(&file).unwrap());
        assert_eq!(Said::of(command.output().unwrap()).code, 2);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }

    // One that everybody can read, and that somebody else has under another name.
    fs::write(&open, "of another import").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let other = folder.path().join("other");
    fs::hard_link(&open, &other).unwrap();
    assert_eq!(Said::of(named(file.to_str().unwrap(), &open).output().unwrap()).code, 1);
    assert_eq!(fs::metadata(&open).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&open).unwrap().contains("secret"));
    assert_eq!(fs::read_to_string(&other).unwrap(), "of another import");
    // Devices stay what they are.
    let nowhere = std::path::Path::new("/dev/null");
    assert_eq!(Said::of(named(file.to_str().unwrap(), nowhere).output().unwrap()).code, 1);
}
