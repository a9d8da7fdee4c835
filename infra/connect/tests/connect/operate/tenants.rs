//! Tenants.

use harness::{ACTIVATED, START, Service, cancel_next_day};

use super::{Said, connect_at, process};

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_listed_with_their_local_time() {
    let service = Service::start().await;
    connect_at(&service, START, &["tenants", "create", "acme", "--time-zone", "Asia/Tokyo"]).await.done();
    let said = connect_at(&service, START, &["tenants", "list"]).await.done();
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["acme", "acme", "Asia/Tokyo", "2026-02-01", "07:30"]);
    assert_eq!(rows[2], ["demo", "Demo", "Telecom", "Europe/Stockholm", "2026-01-31", "23:30"]);

    let listed = connect_at(&service, START, &["tenants", "list", "--json"]).await.json();
    assert_eq!(listed[0]["tenant"], "acme");
    assert_eq!(listed[0]["timeZone"], "Asia/Tokyo");
    let shown = connect_at(&service, START, &["tenants", "show", "acme", "--json"]).await.json();
    assert_eq!((&shown["localTime"], &shown["validKeys"]), (&"2026-02-01 07:30".into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_zone_is_stored_in_the_iana_spelling_and_an_old_name_is_kept() {
    let service = Service::start().await;
    for (typed, stored) in [("asia/TOKYO", "Asia/Tokyo"), ("Asia/Calcutta", "Asia/Calcutta"), ("utc", "UTC")]
    {
        connect_at(&service, START, &["tenants", "set-time-zone", "demo", typed]).await.done();
        let item = service.item("tenants", "demo").await.unwrap();
        assert_eq!(item["timeZone"].as_s().unwrap(), stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_time_zone_leaves_pending_cancellations_and_applies_to_later_ones() {
    let service = Service::start().await;
    let scheduled = service.cancel(ACTIVATED, &cancel_next_day()).await.json();
    assert_eq!(scheduled["pendingStatus"]["scheduledAt"], "2026-02-01");
    connect_at(&service, START, &["tenants", "set-time-zone", "demo", "Asia/Tokyo"]).await.done();

    assert_eq!(service.due("2026-01-31T22:59:59Z").await, [""; 0]);
    assert_eq!(service.due("2026-01-31T23:00:00Z").await, [ACTIVATED]);
    // Later requests use the new time zone.
    let other = service.cancel(harness::ACTIVATED_TOO, &cancel_next_day()).await.json();
    assert_eq!(other["pendingStatus"]["scheduledAt"], "2026-02-02");
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_a_tenant_succeeds_although_the_acknowledgement_was_lost() {
    let (_database, service, wire) = Service::start_wired().await;
    for fault in [harness::Fault::DropAnswer, harness::Fault::GatewayTimeout, harness::Fault::CutAnswer] {
        let id = format!("t{}", wire.faults());
        wire.next("TransactWriteItems", [fault]);
        let mut create = process(&service, &wire.url, &["tenants", "create", &id]);
        let said = tokio::task::spawn_blocking(move || Said::of(create.output().unwrap())).await.unwrap();
        assert_eq!(said.done(), format!("created the tenant {id} with the time zone UTC"));
        let mut again = process(&service, &wire.url, &["tenants", "create", &id]);
        let said = tokio::task::spawn_blocking(move || Said::of(again.output().unwrap())).await.unwrap();
        assert_eq!(said.failed(1), format!("there is a tenant {id} already"));
    }
    assert_eq!(wire.faults(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_the_tenant_of_the_commands_that_need_one() {
    let service = Service::start().await;
    service.add_tenant("other", &[]).await;
    let list = |more: &[&str]| {
        let arguments = [&["subscriptions", "list", "--json"][..], more].concat();
        let mut command = process(&service, &service.dynamodb_url, &arguments);
        command.env("CONNECT_TENANT", "demo").output().unwrap()
    };
    let count = |said: Said| said.json()["subscriptions"].as_array().unwrap().len();
    assert_eq!(count(Said::of(list(&[]))), 8);
    // The option takes precedence.
    assert_eq!(count(Said::of(list(&["--tenant", "other"]))), 0);
}
