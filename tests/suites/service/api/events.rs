//! The event files of `tests/data/events`: each is named after the outcome that it gets.

use std::collections::BTreeSet;
use std::fs;

use execute_cancellations::UnexpectedEvent;
use harness::contract::{Functions, PROBLEMS};
use harness::{Service, event};
use lambda_http::{Context, LambdaEvent};

/// Returns the outcomes that a function has event files for. Successes come first, because the other events depend on them.
fn outcomes(function: &str) -> Vec<String> {
    let folder = format!("{}/data/events/{function}", env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut outcomes: Vec<_> = files.map(|file| file.strip_suffix(".json").unwrap().to_owned()).collect();
    outcomes.sort_by_key(|outcome| (!outcome.starts_with("ok"), outcome.clone()));
    outcomes
}

#[tokio::test]
async fn an_event_file_gets_the_outcome_that_it_is_named_after() {
    let service = Service::start().await;
    service.add_known_keys().await;
    let functions = Functions::on(&service);
    for function in ["cancel-subscription", "get-subscription"] {
        for outcome in outcomes(function) {
            let answer =
                functions.answer(&event(&format!("{function}/{outcome}")).to_string()).await.unwrap();
            match outcome.as_str() {
                "ok_not_modified" => assert_eq!(answer.status, 304),
                "replayed" => assert!(answer.is_replay()),
                outcome if outcome.starts_with("ok") => assert_eq!(answer.status, 200, "{}", answer.text()),
                code => assert_eq!(answer.problem().1, code, "{}", answer.text()),
            }
        }
    }
}

#[tokio::test]
async fn a_sweep_accepts_only_the_events_of_the_schedule() {
    let service = Service::start().await;
    let functions = Functions::on(&service);
    for outcome in outcomes("execute-cancellations") {
        let event = event(&format!("execute-cancellations/{outcome}"));
        let event = LambdaEvent::new(serde_json::from_value(event).unwrap(), Context::default());
        match (outcome.as_str(), functions.sweep(event).await) {
            ("ok", swept) => assert!(swept.is_ok()),
            (_, swept) => assert_eq!(swept.unwrap_err().downcast_ref(), Some(&UnexpectedEvent)),
        }
    }
}

#[test]
fn every_refusal_has_an_event_file() {
    let codes = |function| outcomes(function).into_iter().filter(|outcome| !is_success(outcome)).collect();
    let of_cancel: BTreeSet<String> = codes("cancel-subscription");
    let of_reads = ["no_cancellation", "invalid_parameter"];
    let without_reads = PROBLEMS.iter().filter(|(_, code)| !of_reads.contains(code));
    assert_eq!(of_cancel, without_reads.map(|(_, code)| (*code).to_owned()).collect());
    // A read can only fail because of the API key, the subscription id, the missing cancellation, or the page of a list.
    let of_get: BTreeSet<String> = codes("get-subscription");
    let expected = PROBLEMS.iter().filter(|(_, code)| {
        code.starts_with("api_key")
            || of_reads.contains(code)
            || ["insufficient_scope", "invalid_subscription_id", "subscription_not_found"].contains(code)
    });
    assert_eq!(of_get, expected.map(|(_, code)| (*code).to_owned()).collect());
}

fn is_success(outcome: &str) -> bool {
    outcome.starts_with("ok") || outcome == "replayed"
}
