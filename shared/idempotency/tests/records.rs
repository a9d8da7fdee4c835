//! The guarantee, tested on an embedded database with transfers of money between accounts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that meets what it does not expect should panic"
)]

#[path = "../examples/transfer/main.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is a program of its own")]
mod example;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use dynamodb::FailedCondition;
use futures::future::join_all;
use idempotency::{Attempt, Fingerprint, Outcome, Record, Records};

use self::example::database::{balance_of, open_account, start};
use self::example::{Receipt, Transfer, transfer};

const SIXTY: Transfer<'_> = Transfer { from: "alice", to: "bob", cents: 60 };

async fn accounts(alice: u32) -> Client {
    let client = start().await;
    open_account(&client, "alice", alice).await;
    open_account(&client, "bob", 0).await;
    client
}

fn noon() -> DateTime<Utc> {
    "2026-01-01T12:00:00.900Z".parse().unwrap()
}

fn receipt(outcome: &Outcome<Receipt>) -> (&str, &str) {
    match outcome {
        Outcome::Done(Receipt(text)) => ("done", text),
        Outcome::Replayed(Receipt(text)) => ("replayed", text),
        Outcome::Mismatch => ("mismatch", ""),
        Outcome::Refused(_) => ("refused", ""),
    }
}

#[tokio::test]
async fn the_same_request_takes_effect_once_and_gets_the_same_answer() {
    let client = accounts(100).await;
    let first = transfer(&client, "k", "r1", &SIXTY, noon()).await.unwrap();
    assert_eq!(receipt(&first), ("done", "60 cents from alice to bob"));
    let again = transfer(&client, "k", "r2", &SIXTY, noon()).await.unwrap();
    assert_eq!(receipt(&again), ("replayed", "60 cents from alice to bob"));
    assert_eq!((balance_of(&client, "alice").await, balance_of(&client, "bob").await), (40, 60));
}

#[tokio::test]
async fn an_attempt_that_meets_its_own_record_is_done_and_not_replayed() {
    let client = accounts(100).await;
    for _ in 0..2 {
        // The second call is like a retry after a lost acknowledgement.
        let outcome = transfer(&client, "k", "r1", &SIXTY, noon()).await.unwrap();
        assert_eq!(receipt(&outcome).0, "done");
    }
    assert_eq!(balance_of(&client, "bob").await, 60);
}

#[tokio::test]
async fn another_request_with_the_key_is_refused_and_has_no_effect() {
    let client = accounts(100).await;
    transfer(&client, "k", "r1", &SIXTY, noon()).await.unwrap();
    let other = transfer(&client, "k", "r2", &Transfer { cents: 10, ..SIXTY }, noon()).await.unwrap();
    assert_eq!(receipt(&other).0, "mismatch");
    assert_eq!(balance_of(&client, "bob").await, 60);
}

#[tokio::test]
async fn a_refused_effect_leaves_no_record_and_names_the_failed_condition() {
    let client = accounts(50).await;
    let Outcome::Refused(conditions) = transfer(&client, "k", "r1", &SIXTY, noon()).await.unwrap() else {
        panic!("not refused");
    };
    assert!(matches!(conditions.as_slice(), [Some(FailedCondition(_)), None]));
    // The key is free: with enough money the same request takes effect.
    open_account(&client, "alice", 60).await;
    let again = transfer(&client, "k", "r2", &SIXTY, noon()).await.unwrap();
    assert_eq!(receipt(&again).0, "done");
}

#[tokio::test]
async fn a_key_is_free_after_its_lifetime_though_its_record_is_still_stored() {
    let client = accounts(200).await;
    transfer(&client, "k", "r1", &SIXTY, noon()).await.unwrap();
    let a_moment_before = noon() + TimeDelta::hours(24) - TimeDelta::seconds(1);
    let replayed = transfer(&client, "k", "r2", &SIXTY, a_moment_before).await.unwrap();
    assert_eq!(receipt(&replayed).0, "replayed");
    let done = transfer(&client, "k", "r3", &SIXTY, noon() + TimeDelta::hours(24)).await.unwrap();
    assert_eq!(receipt(&done).0, "done");
    assert_eq!(balance_of(&client, "bob").await, 120);
}

#[tokio::test]
async fn one_of_many_equal_simultaneous_requests_takes_effect() {
    let client = accounts(1_000).await;
    let ids: Vec<_> = (0..20).map(|n| format!("r{n}")).collect();
    let attempts = ids.iter().map(|id| transfer(&client, "k", id, &SIXTY, noon()));
    let outcomes = join_all(attempts).await;
    let done = outcomes.iter().filter(|outcome| receipt(outcome.as_ref().unwrap()).0 == "done").count();
    assert_eq!(done, 1);
    assert_eq!(balance_of(&client, "bob").await, 60);
}

#[tokio::test]
async fn equal_keys_in_two_scopes_are_two_keys() {
    let client = accounts(0).await;
    let records = Records::new(client, "records", TimeDelta::hours(24));
    for (scope, key) in [("a", "b#c"), ("a#b", "c"), ("a%23b", "c"), ("a", "c")] {
        let attempt = Attempt {
            key: key.parse().unwrap(),
            fingerprint: Fingerprint::of([scope.as_bytes()]),
            request_id: "r1".to_owned(),
            now: noon(),
        };
        // The record of an answer that changes nothing is written alone.
        let answer = Receipt(format!("{scope} {key}"));
        let commit = records.prepare(scope, Some(attempt.clone()), answer.clone(), Vec::new()).unwrap();
        assert_eq!(receipt(&records.commit(commit).await.unwrap()), ("done", answer.0.as_str()));
        let record: Record<Receipt> = records.find(scope, &attempt.key).await.unwrap().unwrap();
        assert_eq!(record, attempt.record(answer, TimeDelta::hours(24)));
    }
}

#[tokio::test]
async fn a_commit_without_an_attempt_leaves_no_record() {
    let client = accounts(0).await;
    let records = Records::new(client.clone(), "records", TimeDelta::hours(24));
    let commit = records.prepare("s", None, Receipt("nothing".to_owned()), Vec::new()).unwrap();
    assert_eq!(receipt(&records.commit(commit).await.unwrap()), ("done", "nothing"));
    let count = client.scan().table_name("records").send().await.unwrap().count;
    assert_eq!(count, 0);
}

#[tokio::test]
async fn an_unreadable_record_is_an_error_that_does_not_name_its_key() {
    let client = accounts(100).await;
    let pk = AttributeValue::S(Records::pk("transfers", &"secret".parse().unwrap()));
    let expires_at = AttributeValue::N((noon().timestamp() + 60).to_string());
    let request = client.put_item().table_name("records").item("pk", pk).item("expiresAt", expires_at);
    request.send().await.unwrap();
    let error = transfer(&client, "secret", "r1", &SIXTY, noon()).await.unwrap_err().to_string();
    assert_eq!(error, "an idempotency record of transfers can't be read");
    assert_eq!(balance_of(&client, "bob").await, 0);
}
