//! The fuzzer's seeds, as ordinary tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use harness::fuzz;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz/seeds").join(target);
    let files = fs::read_dir(folder).unwrap();
    let seeds: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty());
    seeds
}

fn texts(target: &str) -> impl Iterator<Item = String> {
    seeds(target).into_iter().map(|seed| String::from_utf8(seed).unwrap())
}

#[test]
fn each_seed_read_as_an_api_key_is_written_back_unchanged() {
    texts("token").for_each(|text| fuzz::token(&text));
}

#[test]
fn each_seed_read_as_a_name_is_written_back_unchanged() {
    texts("names").for_each(|text| fuzz::names(&text));
}

#[test]
fn each_seed_body_is_a_request_or_has_listed_faults() {
    seeds("cancel_request").iter().for_each(|body| fuzz::cancel_request(body));
}

#[test]
fn each_seed_event_gets_an_answer_of_the_contract() {
    for event in texts("event") {
        assert!(fuzz::event(&event).is_some(), "not an event of API Gateway: {event}");
    }
}

/// The fuzzer makes such events of the seeds.
#[test]
fn an_event_with_another_method_than_its_route_is_not_one_of_api_gateway() {
    let reading: Vec<_> = texts("event").filter(|event| event.contains("\"GET ")).collect();
    assert!(!reading.is_empty());
    for event in reading {
        let other = event.replace("\"GET\"", "\"POST\"");
        assert_ne!(event, other);
        assert!(fuzz::event(&other).is_none());
    }
}

#[test]
fn every_fuzz_target_has_a_test_here() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz/targets");
    let names = fs::read_dir(targets).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<_> = names.collect();
    assert_eq!(names, ["cancel_request.rs", "event.rs", "names.rs", "token.rs"].map(str::to_owned).into());
}
