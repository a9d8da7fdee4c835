//! Backups: everything that a tenant has is saved, and restored into a database that does not have it.

use std::fs;

use ::store::tables::TableNames;
use aws_sdk_dynamodb::types::AttributeValue;
use harness::{
    ACTIVATED, ACTIVATED_TOO, BLOCKED, Fault, PAUSED, START, Service, Wire, cancel_at, cancel_next_day,
    options, tables_named, variables_of, webhook,
};
use local::up::Options;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use uuid::Uuid;

use super::{Said, connect, connect_in, process};

/// A service, and a second database, which has tables and no tenant.
struct Move {
    service: Service,
    tables: TableNames,
    folder: TempDir,
}

impl Move {
    async fn start() -> Self {
        let service = Service::start_with(Options { publishes: true, ..options() }).await;
        let tables = tables_named(&Uuid::new_v4().to_string());
        let created = connect_in(&service, &tables, START, &["tables", "create"]).await;
        assert_eq!(created.code, 0);
        Self { service, tables, folder: tempdir().unwrap() }
    }

    fn file(&self) -> String {
        self.folder.path().join("demo.backup").to_str().unwrap().to_owned()
    }

    fn backup(&self) -> Value {
        connect(&self.service, &["backup", &self.file(), "--tenant", "demo", "--json"]).json()
    }

    async fn restore(&self, more: &[&str]) -> Said {
        let restore = ["restore", &self.file(), "--as", "anna", "--json"];
        connect_in(&self.service, &self.tables, START, &[&restore[..], more].concat()).await
    }

    /// Starts a service on the second database.
    async fn there(&self) -> Service {
        let dynamodb_endpoint = Some(self.service.dynamodb_url.clone());
        let tables = self.tables.clone();
        Service::start_with(Options { dynamodb_endpoint, tables, publishes: true, ..options() }).await
    }
}

/// Reads a path of the API with a key: the answer and its ETag.
async fn read(service: &Service, api_key: &str, path: &str) -> (u16, Option<String>, Value) {
    let answer = service.send(Method::GET, path, &[("X-Api-Key", api_key)], b"").await;
    (answer.status, answer.header("etag").map(str::to_owned), answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_tenant_gives_the_same_answers_with_the_same_keys_and_history() {
    let moved = Move::start().await;
    let here = &moved.service;
    let actor = [("X-Actor", "agent-17"), ("X-Idempotency-Key", "k1")];
    let body = json!({"schedule": {"type": "CancelNextDay"}, "reason": "OTHER", "comment": "ä ☎", "metadata": {"n": 1.50}});
    let first = here.cancel_with(ACTIVATED, &actor, &body).await;
    assert_eq!(first.status, 200);
    here.cancel(ACTIVATED_TOO, &cancel_next_day()).await;
    assert_eq!(here.withdraw(ACTIVATED_TOO).await.status, 200);
    here.cancel(BLOCKED, &cancel_at("2026-06-01")).await;
    here.add_webhook(&webhook("https://crm.example.com/events")).await;
    here.until_recorded(ACTIVATED_TOO, 3).await;
    here.until_recorded(BLOCKED, 2).await;
    here.until_recorded(ACTIVATED, 2).await;

    let saved = moved.backup();
    assert_eq!((&saved["items"]["tenant"], &saved["items"]["webhooks"]), (&json!(1), &json!(1)));
    // What changes later is not in the backup.
    let lost = here.cancel(PAUSED, &cancel_at("2026-07-01")).await;
    let entries = here.until_recorded(PAUSED, 2).await.len();

    let restored = moved.restore(&[]).await.json();
    for (part, count) in saved["items"].as_object().unwrap() {
        assert_eq!(restored["items"][part], json!({"added": count, "present": 0}), "{part}");
    }
    assert_eq!(restored["paused"], false);
    let there = moved.there().await;
    for subscription in [ACTIVATED, ACTIVATED_TOO, BLOCKED, "rid_crm-1001"] {
        for part in ["", "/cancellation", "/history?limit=100"] {
            let path = format!("/subscriptions/{subscription}{part}");
            let (before, after) =
                (read(here, &here.api_key, &path).await, read(&there, &here.api_key, &path).await);
            assert_eq!(before, after, "{path}");
        }
    }
    let list = ["webhooks", "list", "--tenant", "demo", "--json"];
    assert_eq!(connect(here, &list).json(), connect(&there, &list).json());
    let by_number = "/subscriptions?msisdn=%2B46701740605";
    let found = read(&there, &here.api_key, by_number).await;
    assert_eq!((found.0, &found.2["items"][0]["subscriptionId"]), (200, &json!(ACTIVATED)), "{found:?}");

    // A request that was answered before is replayed.
    let headers = [&[("X-Api-Key", &*here.api_key)][..], &actor].concat();
    let again = there.cancel_as(ACTIVATED, &headers, body.to_string().as_bytes()).await;
    assert_eq!((again.status, again.json(), again.is_replay()), (200, first.json(), true));
    // The next change has the number of the one that was lost, and another ETag.
    let body = cancel_at("2026-07-01").to_string();
    let next = there.cancel_as(PAUSED, &[("X-Api-Key", &here.api_key)], body.as_bytes()).await;
    let etag = next.header("etag").unwrap();
    assert!(etag.starts_with("\"2-") && Some(etag) != lost.header("etag"), "{etag}");
    assert_eq!(there.until_recorded(PAUSED, 2).await.len(), entries);
    // The date arrives.
    there.set_clock("2026-02-01T12:00:00Z").await;
    assert_eq!(there.execute().await["executed"], 1);
    there.until_recorded(ACTIVATED, 3).await;
    let verified = connect(&there, &["subscriptions", "history", ACTIVATED, "--tenant", "demo", "--verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_executed_of_a_tenant_that_is_restored_paused() {
    let moved = Move::start().await;
    moved.service.cancel(ACTIVATED, &cancel_next_day()).await;
    moved.backup();
    let restored = moved.restore(&["--paused"]).await.json();
    assert_eq!(restored["paused"], true);
    let run = async |arguments: &[&str]| {
        connect_in(&moved.service, &moved.tables, "2026-02-01T12:00:00Z", arguments).await
    };
    let swept = run(&["cancellations", "run", "--json"]).await.json();
    assert_eq!((&swept["executed"], &swept["paused"]), (&json!(0), &json!(1)));
    // A tenant that is there is not restored once more, also if it is paused.
    assert_eq!(moved.restore(&["--paused"]).await.failed(1), "there is a tenant demo already");
    assert_eq!(run(&["cancellations", "resume", "--tenant", "demo", "--yes"]).await.code, 0);
    assert_eq!(run(&["cancellations", "run", "--json"]).await.json()["executed"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_during_a_restore_outlives_it_and_nobody_resumes_before_its_end() {
    let moved = Move::start().await;
    moved.backup();
    let wire = Wire::start(&moved.service.dynamodb_url).await;
    wire.next("PutItem", [Fault::Pass, Fault::Pass, Fault::refusal("AccessDeniedException")]);
    let mut command = process(&moved.service, &wire.url, &["restore", &moved.file(), "--as", "anna"]);
    command.envs(variables_of(&moved.tables));
    let said = Said::of(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    let run = async |arguments: &[&str]| connect_in(&moved.service, &moved.tables, START, arguments).await;
    let resumed = run(&["cancellations", "resume", "--tenant", "demo", "--yes"]).await;
    assert!(resumed.out.contains("a restore of it is not complete"), "{resumed:?}");
    assert_eq!(resumed.code, 1);
    let pause = ["cancellations", "pause", "--tenant", "demo", "--as", "ola", "--json"];
    assert_eq!(run(&pause).await.json()[0]["changed"], true);
    assert_eq!(run(&["cancellations", "resume", "--tenant", "demo", "--yes"]).await.code, 1);
    // The restore goes on, and its end does not end that pause.
    assert_eq!(moved.restore(&[]).await.json()["paused"], true);
    assert!(
        run(&["tenants", "list"])
            .await
            .notes
            .contains("demo: cancellations paused since 2026-01-31T22:30:00Z by ola")
    );
    assert_eq!(run(&["cancellations", "resume", "--tenant", "demo", "--yes"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_executed_only_after_a_question() {
    let moved = Move::start().await;
    moved.service.cancel(ACTIVATED, &cancel_next_day()).await;
    moved.backup();
    let restore = ["restore", &moved.file(), "--as", "anna"];
    let late = "2026-02-01T12:00:00Z";
    let said = connect_in(&moved.service, &moved.tables, late, &restore).await;
    assert_eq!(
        said.failed(2),
        "This executes 1 due cancellation within a minute; to confirm this without a terminal, add --yes"
    );
    let tenants = connect_in(&moved.service, &moved.tables, late, &["tenants", "list"]).await;
    assert!(tenants.notes.contains("demo: cancellations paused"), "{tenants:?}");
    let said = connect_in(&moved.service, &moved.tables, late, &[&restore[..], &["--yes"]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_a_whole_backup_is_refused_before_anything_is_written() {
    let moved = Move::start().await;
    moved.backup();
    let whole = fs::read_to_string(moved.file()).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    let without_end = lines[..lines.len() - 1].join("\n");
    let without_one = [&lines[..2], &lines[3..]].concat().join("\n");
    let later = whole.replacen(r#""format":1"#, r#""format":2"#, 1);
    let of_another = whole.replacen(r#""S":"demo#"#, r#""S":"other#"#, 1);
    for (file, fault) in [
        (without_end.as_str(), "it is not complete: its last line is missing, or has other counts"),
        (&without_one, "it is not complete: its last line is missing, or has other counts"),
        (&later, "a later version of connect has written it, in format 2"),
        (&of_another, "does not belong to the tenant of the backup"),
        (&lines[1..].join("\n"), "it is not a backup: its first line is not a heading"),
        ("", "it is not a backup: its first line is not a heading"),
        (&whole.replacen(r#"{"item""#, r#"{"thing""#, 1), "line 2 is not that of a backup"),
    ] {
        fs::write(moved.file(), file).unwrap();
        let failed = moved.restore(&[]).await.failed(1);
        assert!(failed.ends_with(fault), "{failed}");
        let tenants = connect_in(&moved.service, &moved.tables, START, &["tenants", "list", "--json"]).await;
        assert_eq!(tenants.json(), json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_is_continued_and_until_then_no_key_is_valid() {
    let moved = Move::start().await;
    let saved = moved.backup();
    let wire = Wire::start(&moved.service.dynamodb_url).await;
    let run = async || {
        let mut command =
            process(&moved.service, &wire.url, &["restore", &moved.file(), "--as", "anna", "--json"]);
        command.envs(variables_of(&moved.tables));
        Said::of(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
    };
    // More than the SDK and the command try again, for a reason that no retry solves.
    wire.next("PutItem", [Fault::Pass, Fault::Pass, Fault::Pass, Fault::refusal("AccessDeniedException")]);
    let said = run().await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.notes.contains("the cancellations of demo are paused"), "{said:?}");
    let keys =
        connect_in(&moved.service, &moved.tables, START, &["keys", "list", "--tenant", "demo", "--json"]);
    assert_eq!(keys.await.json(), json!([]));

    let restored = run().await.json();
    assert_eq!(restored["items"]["tenant"], json!({"added": 0, "present": 1}));
    for (part, count) in saved["items"].as_object().unwrap() {
        let [added, present] =
            ["added", "present"].map(|kind| restored["items"][part][kind].as_u64().unwrap());
        assert_eq!(Some(added + present), count.as_u64(), "{part}: {restored}");
    }
    assert_eq!(
        read(&moved.there().await, &moved.service.api_key, &format!("/subscriptions/{BLOCKED}")).await.0,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_item_stays_is_named_and_keeps_the_tenant_paused() {
    let moved = Move::start().await;
    moved.backup();
    let mut other = moved.service.stored(BLOCKED).await;
    other.insert("version".to_owned(), AttributeValue::N("7".to_owned()));
    let put = moved.service.dynamodb().put_item().table_name(&moved.tables.subscriptions);
    put.set_item(Some(other)).send().await.unwrap();

    let said = moved.restore(&[]).await;
    assert!(said.notes.contains(&format!("another item is there, and stays: demo#{BLOCKED}")), "{said:?}");
    let tally: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&tally["paused"], &tally["others"]), (&json!(true), &json!([format!("demo#{BLOCKED}")])));
    assert_eq!(said.failed(1), "1 item not restored; the tenant stays paused");
}
