//! API keys.

use std::io::Write;
use std::process::Stdio;

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{ACTIVATED, BLOCKED, START, Service, cancel_next_day, options};
use local::up::Options;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Said, connect, connect_at, process};

async fn keys(service: &Service, now: &str) -> Value {
    connect_at(service, now, &["keys", "list", "--tenant", "demo", "--json"]).await.json()
}

/// Creates a key at START. Returns its token and its id.
async fn create(service: &Service, options: &[&str]) -> (String, String) {
    let create = ["keys", "create", "--tenant", "demo", "--json"];
    let key = connect_at(service, START, &[&create[..], options].concat()).await.json();
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    (text("token"), text("keyId"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_allows_its_scopes_until_it_expires() {
    let service = Service::start().await;
    let (key, _) = create(&service, &["--scope", "subscriptions:cancel"]).await;
    service.get_as(&key, ACTIVATED).await.assert_problem(403, "insufficient_scope");

    for expires in ["2026-01-31T22:31:00Z", "1m"] {
        let (key, _) = create(&service, &["--expires", expires]).await;
        service.set_clock("2026-01-31T22:30:59Z").await;
        assert_eq!(service.get_as(&key, ACTIVATED).await.status, 200);
        service.set_clock("2026-01-31T22:31:00Z").await;
        service.get_as(&key, ACTIVATED).await.assert_problem(401, "api_key_invalid");
    }
    let past = ["keys", "create", "--tenant", "demo", "--expires", START];
    let said = connect_at(&service, START, &past).await.failed(1);
    assert_eq!(said, "the time at which the key expires is not in the future");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_listed_by_its_last_four_characters() {
    let service = Service::start().await;
    let said = connect(&service, &["keys", "create", "--tenant", "demo", "--name", "CRM"]);
    let token = said.out.trim_end().to_owned();
    assert!(token.starts_with("ck_demo_") && token.lines().count() == 1, "{token}");
    assert!(
        said.notes.contains(
            " never expires, and has the scopes subscriptions:read, subscriptions:cancel, cancellations:read."
        ),
        "{}",
        said.notes
    );

    let secret = token.rsplit('_').next().unwrap();
    let (body, last_four) = token.split_at(token.len() - 4);
    let listed = connect(&service, &["keys", "list", "--tenant", "demo"]).done();
    assert!(listed.contains("CRM") && listed.contains(&format!("…{last_four}")), "{listed}");
    let json = connect(&service, &["keys", "list", "--tenant", "demo", "--json"]).done();
    for said in [listed, json, format!("{:?}", service.scan("tenants").await)] {
        assert!(!said.contains(secret) && !said.contains(body) && !said.contains(&secret[..16]), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_be_given_another_scope() {
    let service = Service::start().await;
    let (key, id) = create(&service, &["--scope", "subscriptions:cancel"]).await;
    service.get_as(&key, ACTIVATED).await.assert_problem(403, "insufficient_scope");
    let grant = ["keys", "grant", &id, "--tenant", "demo", "--scope", "subscriptions:read"];
    let said = connect_at(&service, START, &grant).await.done();
    assert_eq!(said, format!("the key {id} has the scopes subscriptions:cancel, subscriptions:read"));
    assert_eq!(service.get_as(&key, ACTIVATED).await.status, 200);
    // Again, and with scopes that this version does not know.
    let scopes = ["invoices:read", "subscriptions:read"].map(|scope| AttributeValue::S(scope.into()));
    service
        .update("tenants", &format!("demo#{id}"), "SET scopes = :value", AttributeValue::L(scopes.into()))
        .await;
    let granted = connect_at(&service, START, &[&grant[..], &["--json"]].concat()).await.json();
    assert_eq!(granted["scopes"], serde_json::json!(["subscriptions:read", "invoices:read"]));

    connect_at(&service, START, &["keys", "revoke", &id, "--tenant", "demo", "--yes"]).await.done();
    let refused = connect_at(&service, START, &grant).await.failed(1);
    assert!(refused.contains("is revoked"), "{refused}");
    let nobody = ["keys", "grant", "nobody", "--tenant", "demo", "--scope", "subscriptions:read"];
    assert_eq!(connect_at(&service, START, &nobody).await.failed(1), "demo has no key nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_stays_valid_until_the_time_that_was_given() {
    let service = Service::start().await;
    let (former, id) = create(&service, &["--name", "CRM", "--scope", "subscriptions:read"]).await;
    let rotate = ["keys", "rotate", &id, "--tenant", "demo", "--until", "1h", "--expires", "90d", "--json"];
    let successor = connect_at(&service, START, &rotate).await.json();
    assert_eq!(successor["name"], "CRM");
    assert_eq!(successor["scopes"], serde_json::json!(["subscriptions:read"]));
    assert_eq!(successor["expiresAt"], "2026-05-01T22:30:00Z");
    let successor = successor["token"].as_str().unwrap();

    for (now, status) in [("2026-01-31T23:29:59Z", 200), ("2026-01-31T23:30:00Z", 401)] {
        service.set_clock(now).await;
        assert_eq!(service.get_as(&former, ACTIVATED).await.status, status);
        assert_eq!(service.get_as(successor, ACTIVATED).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_copies_all_scopes_including_unknown_ones() {
    let service = Service::start().await;
    let (_, id) = create(&service, &["--scope", "subscriptions:read"]).await;
    let scopes = ["subscriptions:read", "invoices:read"].map(|scope| AttributeValue::S(scope.into()));
    let key = format!("demo#{id}");
    service.update("tenants", &key, "SET scopes = :value", AttributeValue::L(scopes.into())).await;
    let rotate = ["keys", "rotate", &id, "--tenant", "demo", "--json"];
    let successor = connect_at(&service, START, &rotate).await.json();
    assert_eq!(successor["scopes"], serde_json::json!(["subscriptions:read", "invoices:read"]));
    let stored = service.item("tenants", &format!("demo#{}", successor["keyId"].as_str().unwrap())).await;
    assert_eq!(stored.unwrap()["scopes"].as_l().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_neither_extends_nor_revives_a_key() {
    let service = Service::start().await;
    let (_, id) = create(&service, &["--expires", "1h"]).await;
    let rotate = ["keys", "rotate", &id, "--tenant", "demo", "--until", "7d"];
    let said = connect_at(&service, START, &rotate).await.failed(2);
    assert_eq!(said, "the key expires; give the expiry of the new key with --expires (a time, or never)");
    let rotate = [&rotate[..], &["--expires", "never"]].concat();
    connect_at(&service, START, &rotate).await.done();
    let keys = keys(&service, START).await;
    let former = keys.as_array().unwrap().iter().find(|key| key["keyId"] == *id).unwrap();
    assert_eq!(former["expiresAt"], "2026-01-31T23:30:00Z");

    let said = connect_at(&service, "2026-01-31T23:30:00Z", &rotate).await.failed(1);
    assert_eq!(said, format!("the key {id} has expired; create another one"));
    connect_at(&service, START, &["keys", "revoke", &id, "--tenant", "demo", "--yes"]).await.done();
    let said = connect_at(&service, START, &rotate).await.failed(1);
    assert_eq!(said, format!("the key {id} is revoked; create another one"));
    let past = ["keys", "rotate", &id, "--tenant", "demo", "--until", START];
    let said = connect_at(&service, START, &past).await.failed(1);
    assert_eq!(said, "the end of the former key is not in the future");
}

/// Runs a command with a line on standard input.
fn with_input(service: &Service, line: &str, arguments: &[&str]) -> Said {
    let mut command = process(service, &service.dynamodb_url, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    Said::of(running.wait_with_output().unwrap())
}

/// The token may be all that is known of a leaked key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_be_named_by_its_token_on_standard_input_and_the_token_is_never_printed() {
    let service = Service::start().await;
    let (key, id) = create(&service, &[]).await;
    service.add_tenant("other", &[]).await;
    let incomplete = "standard input has no complete token";
    let secret = key.rsplit('_').next().unwrap();
    for (token, tenant, why) in [
        (key.as_str(), "other", "the token belongs to another tenant"),
        (&key[..key.len() - 1], "demo", incomplete),
        (secret, "demo", incomplete),
        ("", "demo", incomplete),
    ] {
        let said = with_input(&service, token, &["keys", "revoke", "-", "--tenant", tenant, "--yes"]);
        assert!(!said.notes.contains(&secret[..32]), "{said:?}");
        assert_eq!(said.failed(2), why);
    }
    // As an argument, others could see it.
    for token in [key.as_str(), secret] {
        let said = connect(&service, &["keys", "revoke", token, "--tenant", "demo", "--yes"]);
        assert!(!said.notes.contains(&secret[..32]), "{said:?}");
        assert!(said.failed(2).ends_with("write -, and give it on standard input"));
    }
    assert_eq!(service.get_as(&key, ACTIVATED).await.status, 200);
    // A token in the place of another argument is not shown in the error either.
    for arguments in
        [&["keys", "list", "--tenant", "demo", &key][..], &["keys", "revoke", "k1", "--tenant", &key]]
    {
        let said = connect(&service, arguments);
        assert!(said.code == 2 && !said.notes.contains(&secret[..32]), "{said:?}");
    }
    let revoke = ["keys", "revoke", "-", "--tenant", "demo", "--yes"];
    let said = with_input(&service, &format!("{key}\n"), &revoke).done();
    assert_eq!(said, format!("revoked the key {id} of demo"));
    service.get_as(&key, ACTIVATED).await.assert_problem(401, "api_key_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_key_is_named_and_the_others_are_listed() {
    let service = Service::start().await;
    let (_, id) = create(&service, &[]).await;
    let broken = AttributeValue::S("x".into());
    service.update("tenants", &format!("demo#{id}"), "SET secretHash = :value", broken).await;
    let (_, other) = create(&service, &[]).await;
    let listed = connect(&service, &["keys", "list", "--tenant", "demo"]);
    assert!(listed.out.contains(&other) && listed.notes.contains(&format!("demo#{id}")), "{listed:?}");
    assert_eq!(listed.failed(1), "1 item can't be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_token_cannot_be_printed_is_an_error() {
    let service = Service::start().await;
    let mut command = process(&service, &service.dynamodb_url, &["keys", "create", "--tenant", "demo"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said = Said::of(child.wait_with_output().unwrap());
    // The note names the key, so that it can be revoked.
    assert!(said.notes.starts_with("The key "), "{said:?}");
    assert!(said.failed(1).starts_with("cannot print"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_from_the_next_request() {
    let service = Service::start().await;
    let (key, id) = create(&service, &[]).await;
    assert_eq!(service.get_as(&key, ACTIVATED).await.status, 200);

    let revoke = ["keys", "revoke", &id, "--tenant", "demo"];
    let said = connect(&service, &revoke).failed(2);
    assert!(said.ends_with("to confirm this without a terminal, add --yes"), "{said}");
    assert_eq!(service.get_as(&key, ACTIVATED).await.status, 200);

    let revoke = [&revoke[..], &["--yes"]].concat();
    assert_eq!(connect_at(&service, START, &revoke).await.done(), format!("revoked the key {id} of demo"));
    service.get_as(&key, ACTIVATED).await.assert_problem(401, "api_key_invalid");
    let again = connect_at(&service, "2026-02-01T00:00:00Z", &revoke).await.done();
    assert_eq!(again, format!("the key {id} of demo was revoked at {START}"));

    let keys = keys(&service, START).await;
    let revoked = keys.as_array().unwrap().iter().find(|key| key["keyId"] == *id).unwrap();
    assert_eq!((&revoked["state"], &revoked["revokedAt"]), (&"revoked".into(), &START.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_without_overlap_revokes_the_former_key_at_once() {
    let service = Service::start().await;
    for at_once in [&["--now"][..], &["--until", "0s"]] {
        let (token, id) = create(&service, &["--name", "CRM"]).await;
        let rotate = [&["keys", "rotate", &id, "--tenant", "demo", "--json"][..], at_once].concat();
        let asked = connect_at(&service, START, &rotate).await.failed(2);
        assert!(asked.contains("to confirm this without a terminal, add --yes"), "{asked}");
        assert_eq!(service.get_as(&token, ACTIVATED).await.status, 200);

        let said = connect_at(&service, START, &[&rotate[..], &["--yes"]].concat()).await;
        assert!(said.notes.contains(&format!("The key {id} is revoked.")), "{said:?}");
        let new = said.json()["token"].as_str().unwrap().to_owned();
        service.get_as(&token, ACTIVATED).await.assert_problem(401, "api_key_invalid");
        assert_eq!(service.get_as(&new, ACTIVATED).await.status, 200);
        let keys = keys(&service, START).await;
        let former = keys.as_array().unwrap().iter().find(|key| key["keyId"] == id.as_str()).unwrap();
        assert_eq!(former["state"], "revoked");
    }
    let both = ["keys", "rotate", "k1", "--tenant", "demo", "--now", "--until", "1h"];
    let said = connect(&service, &both).failed(2);
    assert!(said.contains("cannot be used with"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_activity_of_a_key_is_every_change_that_was_requested_with_it() {
    let service = Service::start_with(Options { publishes: true, ..options() }).await;
    let (key, id) = create(&service, &["--name", "CRM"]).await;
    let (_, unused) = create(&service, &["--name", "Web"]).await;
    let body = cancel_next_day().to_string();
    let headers = [("X-Api-Key", key.as_str()), ("X-Actor", "agent-17")];
    assert_eq!(service.cancel_as(ACTIVATED, &headers, body.as_bytes()).await.status, 200);
    service.advance_clock("PT1M").await;
    let path = format!("/subscriptions/{ACTIVATED}/cancel");
    assert_eq!(service.send(Method::DELETE, &path, &headers, b"").await.status, 200);
    // Others change something too.
    assert_eq!(service.cancel(BLOCKED, &cancel_next_day()).await.status, 200);
    service.until_recorded(ACTIVATED, 3).await;
    service.until_recorded(BLOCKED, 2).await;

    let activity = ["keys", "activity", &id, "--tenant", "demo"];
    let changes = connect_at(&service, START, &[&activity[..], &["--json"]].concat()).await.json();
    let shown =
        changes.as_array().unwrap().iter().map(|change| json!([change["subscriptionId"], change["cause"]]));
    let expected = [json!([ACTIVATED, "SCHEDULED"]), json!([ACTIVATED, "WITHDRAWN"])];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    assert_eq!(changes[0]["requestedBy"]["actor"], "agent-17");
    let since = [&activity[..], &["--since", "2026-01-31T22:30:30Z"]].concat();
    let said = connect_at(&service, START, &since).await;
    assert!(
        said.notes.contains(&format!("1 change by the key {id} since 2026-01-31T22:30:30Z: 1 WITHDRAWN")),
        "{said:?}"
    );
    assert!(said.out.starts_with("AT") && said.out.contains("agent-17"), "{said:?}");

    // In Stockholm it was before midnight.
    let list = ["keys", "list", "--tenant", "demo", "--last-used", "--json"];
    let keys = connect_at(&service, START, &list).await.json();
    let last_used = |id: &str| {
        let key = keys.as_array().unwrap().iter().find(|key| key["keyId"] == *id).unwrap();
        key.get("lastUsed").cloned()
    };
    assert_eq!(last_used(&id), Some(json!("2026-01-31")));
    assert_eq!(last_used(&unused), None);
}
