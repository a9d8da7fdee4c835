//! API keys.

use harness::{ACTIVATED, START, Service};
use serde_json::Value;

use super::{connect, connect_at};

async fn keys(service: &Service, now: &str) -> Value {
    connect_at(service, now, &["keys", "list", "--tenant", "demo", "--json"]).await.json()
}

/// Makes a key when it is START; its token and its id.
async fn create(service: &Service, options: &[&str]) -> (String, String) {
    let create = ["keys", "create", "--tenant", "demo", "--json"];
    let key = connect_at(service, START, &[&create[..], options].concat()).await.json();
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    (text("token"), text("keyId"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_do_what_it_was_made_for_until_it_expires() {
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
    assert_eq!(said, "the time at which the key expires does not lie in the future");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_told_by_its_last_four_characters() {
    let service = Service::start().await;
    let said = connect(&service, &["keys", "create", "--tenant", "demo", "--name", "CRM"]);
    let token = said.out.trim_end().to_owned();
    assert!(token.starts_with("ck_demo_") && token.lines().count() == 1, "{token}");
    assert!(said.notes.contains("is not shown again"), "{}", said.notes);

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
async fn a_rotated_key_is_valid_beside_its_successor_for_as_long_as_was_said() {
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
async fn a_rotation_never_prolongs_a_key_nor_revives_one() {
    let service = Service::start().await;
    let (_, id) = create(&service, &["--expires", "1h"]).await;
    let rotate = ["keys", "rotate", &id, "--tenant", "demo", "--until", "7d"];
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
    assert_eq!(said, "the end of the former key does not lie in the future");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_from_the_next_request() {
    let service = Service::start().await;
    let (key, id) = create(&service, &[]).await;
    assert_eq!(service.get_as(&key, ACTIVATED).await.status, 200);

    let revoke = ["keys", "revoke", &id, "--tenant", "demo"];
    let said = connect(&service, &revoke).failed(2);
    assert!(said.ends_with("there is nobody to ask, so say --yes"), "{said}");
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
