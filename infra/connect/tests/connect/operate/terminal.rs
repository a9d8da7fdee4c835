//! Output for a terminal: characters that a terminal acts on are escaped, whatever their source.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::api_key::{ApiKey, Scope};
use domain::tenant::Tenant;
use harness::{ACTIVATED, ACTIVATED_TOO, START, Service, cancel_next_day, instant};
use serde_json::{Value, json};
use service::ids;
use tempfile::tempdir;

use super::{Said, connect, file, path, process};

/// Returns a text that sets the title of a terminal, clears its screen and adds a line. It also has all other characters that a
/// terminal acts on, or that change the direction of text.
fn hostile() -> String {
    let control = ('\u{1}'..='\u{1f}').chain('\u{7f}'..='\u{9f}');
    let direction = ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter().chain('\u{202a}'..='\u{202e}');
    let rest = ('\u{2066}'..='\u{2069}').chain('\u{2028}'..='\u{2029}');
    let all: String = control.chain(direction).chain(rest).collect();
    format!("a\u{1b}]0;X\u{7}\u{1b}[2J\r\nFAKE{all}z")
}

#[track_caller]
fn assert_harmless(said: &Said, lines: usize) {
    for stream in [&said.out, &said.notes] {
        let acts = |c: char| c != '\n' && (c.is_control() || hostile().contains(c) && !c.is_ascii());
        assert!(!stream.contains(acts), "{said:?}");
        assert!(stream.lines().all(|line| !line.starts_with("FAKE")), "{said:?}");
    }
    assert_eq!(said.out.lines().count() + said.notes.lines().count(), lines, "{said:?}");
}

/// Starts a service with hostile texts wherever a text can be stored. Also returns the id of a key.
async fn start() -> (Service, String) {
    let service = Service::start().await;
    let (tenant, key_id) = ("demo".parse().unwrap(), "k1".parse().unwrap());
    let token = ids::token(tenant, key_id).unwrap();
    let key = ApiKey { name: Some(hostile()), ..ApiKey::new(&token, &Scope::ALL, instant(START)) };
    service.admin().add_api_key(token.tenant(), token.key_id(), &key).await.unwrap();
    let demo = service.admin().tenant(token.tenant()).await.unwrap().unwrap();
    service.admin().put_tenant(&Tenant { name: hostile(), ..demo }).await.unwrap();

    let body = json!({
        "schedule": {"type": "CancelNextDay"}, "reason": "OTHER", "comment": hostile(),
        "metadata": {"a\u{1b}[2J\r\nFAKE\u{9b}\u{202e}z": hostile()},
    });
    let token = token.reveal();
    let headers = [("X-Api-Key", token.as_str())];
    let cancelled = service.cancel_as(ACTIVATED, &headers, body.to_string().as_bytes()).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    let display = AttributeValue::S(hostile());
    service
        .update("subscriptions", &format!("demo#{ACTIVATED}"), "SET document.display = :value", display)
        .await;
    (service, "k1".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_values_are_escaped_in_text_and_in_json() {
    let (service, id) = start().await;
    let demo = |arguments: &[&'static str]| [arguments, &["--tenant", "demo"]].concat();
    let show = demo(&["subscriptions", "show", "rid_crm-1001"]);
    let shown = connect(&service, &show);
    assert!(shown.out.contains(r"comment      a\u{1b}]0;X\u{7}\u{1b}[2J\r\nFAKE"), "{shown:?}");
    let document = shown.out.split_once("{\n").unwrap().1;
    let document: Value = serde_json::from_str(&format!("{{{document}")).unwrap();
    assert_eq!(document["display"], hostile());
    assert_harmless(&shown, 8 + serde_json::to_string_pretty(&document).unwrap().lines().count());

    let shown = connect(&service, &[&show[..], &["--json"]].concat());
    assert_harmless(&shown, 1);
    let shown = shown.json();
    assert_eq!(shown["cancellation"]["metadata"], json!({"a\u{1b}[2J\r\nFAKE\u{9b}\u{202e}z": hostile()}));
    for text in [
        &shown["cancellation"]["comment"],
        &shown["cancellation"]["requestedBy"]["keyName"],
        &shown["subscription"]["display"],
    ] {
        assert_eq!(text, &hostile());
    }

    let keys = connect(&service, &demo(&["keys", "list", "--json"]));
    assert_harmless(&keys, 1);
    let count = keys.json().as_array().unwrap().len();
    let keys = connect(&service, &demo(&["keys", "list"]));
    assert_harmless(&keys, 1 + count);
    assert_eq!(keys.out.lines().filter(|line| line.contains(r"\nFAKE")).count(), 1, "{keys:?}");
    for list in [&["tenants", "list"][..], &["tenants", "show", "demo"]] {
        assert_harmless(&connect(&service, list), 2);
        assert_harmless(&connect(&service, &[list, &["--json"]].concat()), 1);
    }
    let asked = connect(&service, &["keys", "revoke", &id, "--tenant", "demo"]);
    assert_harmless(&asked, 1);
    assert!(asked.failed(2).contains(r"\nFAKE"));

    let exported = connect(&service, &demo(&["subscriptions", "export"]));
    assert_harmless(&exported, 8 + 1);
    assert!(
        exported.out.lines().any(|line| serde_json::from_str::<Value>(line).unwrap()["display"] == hostile())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_unreadable_items_are_printed_with_escapes() {
    let (service, _) = start().await;
    let name = hostile();
    let rotten = format!("demo#{name}");
    let nothing = || AttributeValue::S("x".into());
    service.update("subscriptions", &rotten, "SET document = :value", nothing()).await;
    assert_harmless(&connect(&service, &["subscriptions", "export", "--tenant", "demo"]), 8 + 3);
    service.update("tenants", &rotten, "SET scopes = :value", nothing()).await;
    assert_harmless(&connect(&service, &["keys", "list", "--tenant", "demo", "--json"]), 1 + 2);

    for arguments in [
        &["subscriptions", "import", "--tenant", "demo", &name][..],
        &["subscriptions", "export", "--tenant", "demo", &format!("nowhere/{name}")],
        &["subscriptions", "show", "--tenant", "demo", &name],
        &["tenants", "create", &name],
        &["tenants", &name],
        &["keys", "create", "--tenant", "demo", "--expires", &name],
        &["keys", "list", "--tenant", "demo", "--json", &name],
    ] {
        assert_harmless(&connect(&service, arguments), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_and_rejects_of_an_import_are_escaped() {
    let service = Service::start().await;
    let folder = tempdir().unwrap();
    let rejects = folder.path().join(hostile());
    let lines = file(&format!(
        "{}\n{}\n{}\n",
        json!({"subscriptionId": ACTIVATED_TOO, "status": hostile()}),
        json!({hostile(): hostile(), "status": {hostile(): 1}}),
        json!({"subscriptionId": ACTIVATED_TOO, "status": "ACTIVATED", "packages": [{hostile(): 1}], "metadata": {hostile(): [hostile()]}, "activatedAt": hostile()}),
    ));
    let import = ["subscriptions", "import", "--tenant", "demo", path(&lines), "--rejects"];
    let said = connect(&service, &[&import[..], &[rejects.to_str().unwrap()]].concat());
    assert_harmless(&said, 3 + 2);
    // Rejects may be printed to a terminal, too.
    let said = connect(&service, &[&import[..], &["/dev/stderr"]].concat());
    assert_harmless(&said, 2 * 3 + 2);
    let rejected = said.notes.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()).unwrap();
    let text: Value = serde_json::from_str(rejected["text"].as_str().unwrap()).unwrap();
    assert_eq!(text["status"], hostile());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_control_or_direction_characters_is_refused() {
    let service = Service::start().await;
    for hidden in hostile().chars().filter(|c| c.is_control() || !c.is_ascii()) {
        let name = format!("a{hidden}b");
        for arguments in [
            ["tenants", "create", "acme", "--name", &name],
            ["keys", "create", "--tenant=demo", "--name", &name],
        ] {
            let said = connect(&service, &arguments);
            assert_harmless(&said, 1);
            let said = said.failed(2);
            let why =
                "a name must not have control characters, or characters that change the direction of text";
            assert!(said.ends_with(why), "{said}");
        }
    }
    connect(&service, &["tenants", "create", "acme", "--name", "Société Ünïön شركة"]).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_events_are_named_with_escapes() {
    let service = Service::start().await;
    let nothing = AttributeValue::S("x".into());
    service.update("subscriptions", &hostile(), "SET document = :value", nothing).await;
    service.cancel(ACTIVATED, &cancel_next_day()).await;
    let mut command = process(&service, &service.dynamodb_url, &["events", "tail", "--from-beginning"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let event = out.find(|line| line.as_ref().unwrap().contains("will be CANCELLED")).unwrap().unwrap();
    child.kill().unwrap();
    let notes = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(notes.contains(r"\nFAKE"), "{notes}");
    assert_harmless(&Said { code: 0, out: event, notes }, 1 + 2);
}
