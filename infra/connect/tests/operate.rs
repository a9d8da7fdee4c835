//! The operator's commands: the real process, on the database of a service that runs.

#![allow(clippy::unwrap_used, reason = "a test that meets what it does not expect should panic")]

use std::io::Write;
use std::process::Command;

use harness::{Service, cancel_next_day};
use reqwest::Method;
use tempfile::NamedTempFile;

/// Runs a command; its exit code, and the line it prints: on standard output if it went well, else on
/// standard error.
fn connect(service: &Service, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_connect"))
        .args(arguments)
        .args(["--dynamodb-endpoint", &service.dynamodb_url])
        .output()
        .unwrap();
    let (said, silent) =
        if output.status.success() { (output.stdout, output.stderr) } else { (output.stderr, output.stdout) };
    assert_eq!(String::from_utf8(silent).unwrap(), "");
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code(), said.trim_end().to_owned())
}

/// Runs a command that goes well; the line it prints.
#[track_caller]
fn done(service: &Service, arguments: &[&str]) -> String {
    let (code, said) = connect(service, arguments);
    assert_eq!(code, Some(0), "{said}");
    said
}

fn file(ndjson: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(ndjson.as_bytes()).unwrap();
    file
}

const ID: &str = "a81bc81b-dead-4e5d-abff-90865d1e13b1";

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_from_nothing_to_its_first_cancellation() {
    let service = Service::start().await;
    let subscription =
        file(&format!(r#"{{"subscriptionId": "{ID}", "status": "ACTIVATED", "referenceId": "r"}}"#));
    let path = subscription.path().to_str().unwrap();

    let zone = ["--name", "Acme Telecom", "--time-zone", "Asia/Tokyo"];
    let said = done(&service, &[&["tenants", "create", "acme"][..], &zone].concat());
    assert_eq!(said, "created the tenant acme, whose days begin in Asia/Tokyo");
    let key = done(&service, &["keys", "create", "--tenant", "acme"]);
    let import = ["subscriptions", "import", "--tenant", "acme", path];
    assert_eq!(done(&service, &import), "imported 1 subscriptions; 0 were there already");
    assert_eq!(done(&service, &import), "imported 0 subscriptions; 1 were there already");

    let answer =
        service.cancel_as(ID, &[("X-Api-Key", &key)], cancel_next_day().to_string().as_bytes()).await;
    // The service's clock shows half past seven on 1 February in Tokyo.
    assert_eq!(answer.json()["pendingStatus"]["scheduledAt"], "2026-02-02", "{}", answer.text());
    assert_eq!(service.get(ID).await.status, 404, "it is not the demo tenant's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_do_what_it_was_made_for_until_it_expires() {
    let service = Service::start().await;
    let key = done(&service, &["keys", "create", "--tenant", "demo", "--scope", "subscriptions:cancel"]);
    service.get_as(&key, ID).await.assert_problem(403, "insufficient_scope");

    let key = done(&service, &["keys", "create", "--tenant", "demo", "--expires", "2026-01-31T22:31:00Z"]);
    assert_eq!(service.get_as(&key, ID).await.status, 404);
    service.set_clock("2026-01-31T22:31:00Z").await;
    service.get_as(&key, ID).await.assert_problem(401, "api_key_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_done_is_one_clear_line() {
    let service = Service::start().await;
    let taken = format!(r#"{{"subscriptionId": "{ID}", "status": "ACTIVATED", "referenceId": "crm-1001"}}"#);
    let (faulty, taken) = (file("{}\n"), file(&taken));
    let (faulty, taken) = (faulty.path().to_str().unwrap(), taken.path().to_str().unwrap());
    for (arguments, code, line) in [
        (&["tenants", "create", "demo"][..], 1, "error: there is a tenant demo already"),
        (&["tenants", "create", "Demo"], 2, "error: invalid value 'Demo' for '<ID>': not a valid identifier"),
        (&["keys", "create", "--tenant", "nobody"], 1, "error: there is no tenant nobody"),
        (
            &["keys", "create", "--tenant", "demo", "--scope", "all"],
            2,
            "error: invalid value 'all' for '--scope <SCOPE>': a scope is subscriptions:read or subscriptions:cancel",
        ),
        (
            &["subscriptions", "import", "--tenant", "demo", "nowhere"],
            1,
            "error: cannot read nowhere: No such file or directory (os error 2)",
        ),
        (
            &["subscriptions", "import", "--tenant", "demo", faulty],
            1,
            &format!("error: {faulty}, line 1: missing field `subscriptionId`"),
        ),
        (
            &["subscriptions", "import", "--tenant", "demo", taken],
            1,
            &format!("error: the subscription {ID} has a reference id that belongs to another one"),
        ),
    ] {
        assert_eq!(connect(&service, arguments), (Some(code), line.to_owned()));
    }
    // What was there before is as it was.
    assert_eq!(
        service
            .send(Method::GET, &format!("/subscriptions/{ID}"), &[("X-Api-Key", &service.api_key)], b"")
            .await
            .status,
        404
    );
}

#[test]
fn without_a_database_it_says_what_is_missing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect"));
    let output = command.args(["tenants", "create", "acme"]).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "error: the environment variable AWS_REGION is not set; or name the database with --dynamodb-endpoint\n"
    );
}
