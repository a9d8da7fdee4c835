//! The texts that the fuzzer starts from, without the fuzzer: each does what must hold of any.

use std::fs;
use std::path::Path;

use harness::fuzz;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = fs::read_dir(folder).unwrap();
    let seeds: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty());
    seeds
}

fn texts(target: &str) -> impl Iterator<Item = String> {
    seeds(target).into_iter().map(|seed| String::from_utf8(seed).unwrap())
}

#[test]
fn each_text_that_is_taken_for_a_key_is_written_as_it_is() {
    texts("token").for_each(|text| fuzz::token(&text));
}

#[test]
fn each_text_that_is_taken_for_a_name_is_written_as_it_is() {
    texts("names").for_each(|text| fuzz::names(&text));
}

#[test]
fn each_body_is_a_request_or_has_faults_that_are_listed() {
    seeds("cancel_request").iter().for_each(|body| fuzz::cancel_request(body));
}

#[test]
fn each_event_gets_an_answer_of_the_contract() {
    for event in texts("event") {
        assert!(fuzz::event(&event).is_some(), "it is no event of API Gateway: {event}");
    }
}

#[test]
fn each_target_has_seeds_that_are_repeated_here() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    let targets = manifest.lines().filter_map(|line| line.strip_prefix("path = \"targets/"));
    let mut targets: Vec<_> = targets.filter_map(|path| path.strip_suffix(".rs\"")).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["cancel_request", "event", "names", "token"]);
}
