//! Erasing: nothing personal of a cancelled subscription is left in any table, and who erased it is known.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ::store::compression::decompress;
use ::store::deliveries::Kept;
use ::store::tables::TableNames;
use aws_sdk_dynamodb::types::AttributeValue;
use harness::receiver::Receiver;
use harness::{
    ACTIVATED, CANCELLED, Fault, START, Service, Wire, cancel_next_day, instant, options, webhook,
};
use local::up::Options;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::{ID, ID_TOO, Said, connect, connect_at, process};

/// A name that occurs nowhere else.
const NAME: &str = "Zebedeus";
const LATER: &str = "2026-03-01T08:00:00Z";

fn document(id: &str, number: u32) -> Value {
    json!({
        "subscriptionId": id, "status": "ACTIVATED", "referenceId": format!("{NAME}-{number}"),
        "display": NAME, "msisdn": format!("+4670000000{number}"), "customerId": format!("c-{NAME}"),
        "customer": {"customerId": format!("c-{NAME}"), "name": NAME}, "subscriber": {"firstName": NAME},
        "extensions": {"note": NAME}, "metadata": {"note": NAME}, "unknown": {"pin": NAME},
        "createdAt": "2020-01-01T00:00:00Z",
    })
}

/// Returns the tables in which a text occurs, also compressed.
async fn tables_with(service: &Service, text: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for table in ["subscriptions", "idempotency", "tenants", "history", "webhooks", "deliveries"] {
        for item in service.scan(table).await {
            let everything: String = item.values().map(texts).collect();
            if everything.contains(text) {
                found.insert(table);
            }
        }
    }
    found
}

fn texts(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => text.clone(),
        AttributeValue::M(map) => map.iter().map(|(name, value)| name.clone() + &texts(value)).collect(),
        AttributeValue::L(list) => list.iter().map(texts).collect(),
        AttributeValue::B(bytes) => {
            let plain = decompress(bytes.as_ref()).unwrap_or_default();
            String::from_utf8_lossy(&[bytes.as_ref(), &plain].concat()).into_owned()
        }
        _ => String::new(),
    }
}

async fn erase(service: &Service, arguments: &[&str]) -> Said {
    let erase = ["subscriptions", "erase", "--tenant", "demo", "--as", "anna", "--json"];
    connect_at(service, LATER, &[&erase[..], arguments].concat()).await
}

/// Cancels a subscription with everything that may be personal, and lets its date arrive.
async fn cancel_and_execute(service: &Service, id: &str) -> Value {
    let body = json!({
        "schedule": {"type": "CancelNextDay"}, "reason": "OTHER", "comment": NAME, "metadata": {"by": NAME},
    });
    let headers = [("X-Idempotency-Key", "k1"), ("X-Actor", NAME)];
    assert_eq!(service.cancel_with(id, &[("X-Actor", NAME)], &cancel_next_day()).await.status, 200);
    assert_eq!(service.withdraw_with(id, &[("X-Actor", NAME)]).await.status, 200);
    assert_eq!(service.cancel_with(id, &headers, &body).await.status, 200);
    service.set_clock("2026-02-01T12:00:00Z").await;
    assert_eq!(service.execute().await["executed"], 1);
    service.set_clock(START).await;
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_is_left_in_any_table_and_the_rest_says_who_erased_it() {
    let receiver = Receiver::start();
    let service = Service::start_with(Options { publishes: true, ..options() }).await;
    service.add_webhook(&webhook(&receiver.url)).await;
    service.import("demo", "ola", document(ID, 1)).await;
    let puk = AttributeValue::S(NAME.to_owned());
    service.update("subscriptions", &format!("demo#{ID}"), "SET puk = :value", puk).await;
    let body = cancel_and_execute(&service, ID).await;
    receiver.taken(4).await;
    let personal = BTreeSet::from(["subscriptions", "idempotency", "history", "deliveries"]);
    assert_eq!(tables_with(&service, NAME).await, personal);

    let tally = erase(&service, &[ID, "--yes"]).await.json();
    assert_eq!(
        (&tally["erased"], &tally["refused"], &tally["answers"]),
        (&json!([ID]), &json!([]), &json!(1))
    );
    assert!(tally["deliveries"].as_u64() >= Some(4), "{tally}");
    assert_eq!(tables_with(&service, NAME).await, BTreeSet::new());

    // A delivery that is late does not bring an event back.
    let first = receiver.taken(4).await[0].clone();
    let id = first["eventId"].as_str().unwrap().parse().unwrap();
    let kept =
        service.admin().keep_event(&"demo".parse().unwrap(), id, &first.to_string(), instant(LATER)).await;
    assert_eq!(kept.unwrap(), Kept::Erased);
    assert_eq!(tables_with(&service, NAME).await, BTreeSet::new());
    let resend = ["webhooks", "resend", "--tenant", "demo", "--event", first["eventId"].as_str().unwrap()];
    assert!(connect(&service, &resend).failed(1).contains("is not kept"));

    // What is left.
    let left = json!({
        "subscriptionId": ID, "status": "CANCELLED", "createdAt": "2020-01-01T00:00:00Z",
        "updatedAt": LATER, "cancelledAt": "2026-01-31T23:00:00Z",
    });
    assert_eq!(service.get(ID).await.json(), left);
    let read = async |path: &str| {
        let path = format!("/subscriptions/{ID}{path}");
        service.send(Method::GET, &path, &[("X-Api-Key", &service.api_key)], b"").await.json()
    };
    let cancellation = read("/cancellation").await;
    assert_eq!((&cancellation["reason"], &cancellation["state"]), (&json!("OTHER"), &json!("EXECUTED")));
    let history = read("/history").await;
    let causes: Vec<_> = history["items"].as_array().unwrap().iter().map(|entry| &entry["cause"]).collect();
    assert_eq!(causes, ["ERASED", "EXECUTED", "SCHEDULED", "WITHDRAWN", "SCHEDULED", "IMPORTED"]);
    let last = &history["items"][0];
    assert_eq!(
        (&last["source"], &last["requestedBy"], &last["at"]),
        (&json!("OPERATOR"), &json!({"actor": "anna"}), &json!(LATER))
    );
    let verify = ["subscriptions", "history", ID, "--tenant", "demo", "--verify"];
    assert_eq!(connect(&service, &verify).code, 0);
    // Receivers are told, so that they erase their copies.
    let events = receiver.taken(5).await;
    let event = events.iter().find(|event| event["cause"] == "ERASED").unwrap();
    assert_eq!((&event["data"], &event["type"]), (&left, &json!("subscription.updated")));
    // The answer to a repeated request shows what it showed, without what was erased.
    let again = service.cancel_with(ID, &[("X-Idempotency-Key", "k1"), ("X-Actor", NAME)], &body).await;
    assert_eq!((again.status, again.is_replay()), (200, true));
    let shown = again.json();
    assert_eq!((&shown["pendingStatus"]["scheduledAt"], shown.get("display")), (&json!("2026-02-01"), None));
    // Neither its number nor its reference id finds it.
    let found = service
        .send(Method::GET, "/subscriptions?msisdn=%2B46700000001", &[("X-Api-Key", &service.api_key)], b"")
        .await;
    assert_eq!(found.json()["items"], json!([]));
    assert_eq!(service.get(&format!("rid_{NAME}-1")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cancelled_subscriptions_of_a_customer_are_erased_and_the_others_are_named() {
    let service = Service::start_with(Options { publishes: true, ..options() }).await;
    service.import("demo", "ola", document(ID, 1)).await;
    service.import("demo", "ola", document(ID_TOO, 2)).await;
    cancel_and_execute(&service, ID).await;
    let of_customer = ["--customer", &format!("c-{NAME}")];
    let preview = erase(&service, &[&of_customer[..], &["--dry-run"]].concat()).await;
    let tally: Value = serde_json::from_str(&preview.out).unwrap();
    assert_eq!((&tally["erased"], &tally["refused"][0]["subscriptionId"]), (&json!([ID]), &json!(ID_TOO)));
    assert_eq!(service.get(ID).await.json()["display"], NAME);
    // Nobody answers the question here.
    let said = erase(&service, &of_customer).await;
    assert!(said.failed(2).starts_with("This erases everything personal of 2 subscriptions of demo"));

    let said = erase(&service, &[&of_customer[..], &["--yes"]].concat()).await;
    let tally: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(tally["refused"][0]["why"], "it is ACTIVATED, and only a CANCELLED subscription is erased");
    assert_eq!(said.failed(1), "1 subscription not erased");
    assert_eq!(service.get(ID).await.json().get("display"), None);
    assert_eq!(service.get(ID_TOO).await.json()["display"], NAME);
    // An import that updates does not bring back what was erased.
    let file = super::file(&document(ID, 1).to_string().replace("ACTIVATED", "CANCELLED"));
    let import =
        ["subscriptions", "import", "--tenant", "demo", super::path(&file), "--existing", "update", "--json"];
    assert_eq!(connect(&service, &import).json()["kept"], 1);
    assert_eq!(
        erase(&service, &["00000000-0000-4000-8000-000000000000"]).await.failed(1),
        "demo has no such subscription"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_long_ago_is_erased_once() {
    let service = Service::start_with(Options { publishes: true, ..options() }).await;
    for (id, number, at) in [(ID, 1, "2025-12-31T22:59:59Z"), (ID_TOO, 2, "2025-12-31T23:00:00Z")] {
        let mut document = document(id, number);
        document["status"] = json!("CANCELLED");
        document["cancelledAt"] = json!(at);
        service.import("demo", "ola", document).await;
        service.until_recorded(id, 1).await;
    }
    // In Stockholm, the second one was cancelled on 1 January.
    let before = ["--cancelled-before", "2026-01-01", "--yes"];
    assert_eq!(erase(&service, &before).await.json()["erased"], json!([CANCELLED, ID]));
    assert_eq!(erase(&service, &before).await.json()["erased"], json!([]));
    assert_eq!(service.version(ID).await, 2);
    // Another import makes it one to erase again.
    service
        .import("demo", "ola", {
            let mut document = document(ID, 1);
            document["status"] = json!("CANCELLED");
            document["cancelledAt"] = json!("2025-12-31T22:59:59Z");
            document
        })
        .await;
    assert_eq!(erase(&service, &before).await.json()["erased"], json!([ID]));
    assert_eq!(service.get(ACTIVATED).await.json()["status"], "ACTIVATED");
}

/// Returns the files of a folder in which a text occurs.
fn files_with(folder: &Path, text: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let has = |file: &fs::DirEntry| {
        // A log of SQLite may go after its database is closed.
        let bytes = fs::read(file.path()).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files.filter(has).map(|file| file.file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_later_nothing_is_left_in_the_files_of_the_service_on_one_machine() {
    let folder = tempdir().unwrap();
    let start = || {
        let (data, tables) = (folder.path().to_owned(), TableNames::default());
        // Also if the other tests run on another database.
        Service::start_with(Options {
            memory: false,
            data,
            dynamodb_endpoint: None,
            tables,
            publishes: true,
            ..options()
        })
    };
    let receiver = Receiver::start();
    let service = start().await;
    service.add_webhook(&webhook(&receiver.url)).await;
    service.import("demo", "ola", document(ID, 1)).await;
    cancel_and_execute(&service, ID).await;
    receiver.taken(4).await;
    assert_eq!(erase(&service, &[ID, "--yes"]).await.code, 0);
    receiver.taken(5).await;
    service.stop().await;
    // The stream still has the changes, as on AWS. They are in the database or in its write-ahead log: the connection that copies the
    // log into the database as it closes may outlive the service by a moment.
    let found = files_with(folder.path(), NAME);
    let database = ["dynamodb.sqlite", "dynamodb.sqlite-wal"].map(str::to_owned);
    assert!(!found.is_empty() && found.is_subset(&database.into()), "{found:?}");

    let connection = Connection::open(folder.path().join("dynamodb.sqlite")).unwrap();
    connection.execute("UPDATE _stream_records SET created_at = created_at - 90000", ()).unwrap();
    drop(connection);
    let service = start().await;
    assert_eq!(service.get(ID).await.json()["status"], "CANCELLED");
    // Changes are still published.
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    receiver.taken(6).await;
    service.stop().await;
    assert_eq!(files_with(folder.path(), NAME), BTreeSet::new());
}

/// The first attempt ends after the subscription is written: its customer finds it no more, and its ids are known.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_erasure_is_continued_with_the_ids_that_it_has_printed() {
    let service = Service::start_with(Options { publishes: true, ..options() }).await;
    service.import("demo", "ola", document(ID, 1)).await;
    cancel_and_execute(&service, ID).await;
    service.until_recorded(ID, 5).await;
    let wire = Wire::start(&service.dynamodb_url).await;
    let erase_by = ["subscriptions", "erase", "--tenant", "demo", "--as", "anna", "--yes"];
    let find = ["--customer", &format!("c-{NAME}")];
    // The first query finds the customer.
    wire.next("Query", [Fault::Pass, Fault::refusal("AccessDeniedException")]);
    let mut command = process(&service, &wire.url, &[&erase_by[..], &find].concat());
    let said = Said::of(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.notes.contains(&format!("if this is interrupted, continue with these ids: {ID}")),
        "{said:?}"
    );
    assert_eq!(service.get(ID).await.json().get("display"), None);
    assert!(tables_with(&service, NAME).await.contains("history"));

    assert_eq!(connect(&service, &[&erase_by[..], &[ID]].concat()).code, 0);
    assert_eq!(tables_with(&service, NAME).await, BTreeSet::new());
}
