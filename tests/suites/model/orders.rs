//! The promises in every order of the steps, and a counterexample for each condition that is left out.

#![allow(clippy::print_stdout, reason = "counterexamples, and the number of states visited")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

use model::commit::Asked::{self, CancelAt, Withdraw};
use model::commit::{Commit, Flaw, KEY_LIFE, Request, State, promise::*};
use model::two_phase::{self, TwoPhase};
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn no_interleaving_of_two_requests_and_a_sweep_breaks_the_promise() {
    #[rustfmt::skip]
    let seen = [
        REPLAY, REPLACEMENT, EXECUTED, NOT_IN_FUTURE, ACKNOWLEDGEMENT_LOST, LATE_WRITE, LATE_REFUSED, DELETED,
        KEY_REUSED, LOCKED,
    ];
    holds(different_keys(), &seen);
}

#[test]
fn no_interleaving_of_a_withdrawal_a_request_and_a_sweep_breaks_the_promise() {
    let meeting = one_pending([with_key(0, Withdraw), with_key(1, CancelAt(2))]);
    #[rustfmt::skip]
    let seen = [
        REPLAY, REPLACEMENT, EXECUTED, WITHDRAWN, NOTHING_PENDING, NOT_IN_FUTURE, RACE, ACKNOWLEDGEMENT_LOST, LATE_WRITE,
        LATE_REFUSED, DELETED, KEY_REUSED, LOCKED,
    ];
    holds(meeting, &seen);
}

#[test]
fn two_attempts_at_one_request_have_one_effect_and_one_answer() {
    let twice = Commit::of([with_key(0, CancelAt(1)), with_key(0, CancelAt(1))]);
    #[rustfmt::skip]
    let seen = [
        REPLAY, EXECUTED, NOT_IN_FUTURE, ACKNOWLEDGEMENT_LOST, LATE_WRITE, LATE_REFUSED, DELETED, KEY_REUSED,
    ];
    holds(twice, &seen);

    let withdrawn_twice = one_pending([with_key(0, Withdraw), with_key(0, Withdraw)]);
    #[rustfmt::skip]
    let seen = [
        REPLAY, EXECUTED, WITHDRAWN, NOTHING_PENDING, RACE, ACKNOWLEDGEMENT_LOST, LATE_WRITE, LATE_REFUSED,
        DELETED, KEY_REUSED,
    ];
    holds(withdrawn_twice, &seen);
}

#[test]
fn a_key_answers_only_the_request_it_was_first_used_for() {
    let differing = Commit::of([with_key(0, CancelAt(1)), with_key(0, CancelAt(2))]);
    #[rustfmt::skip]
    let seen = [
        REPLAY, MISMATCH, REPLACEMENT, EXECUTED, NOT_IN_FUTURE, ACKNOWLEDGEMENT_LOST, LATE_WRITE, LATE_REFUSED, DELETED,
        KEY_REUSED, LOCKED,
    ];
    holds(differing, &seen);

    let differing = one_pending([with_key(0, Withdraw), with_key(0, CancelAt(2))]);
    #[rustfmt::skip]
    let seen = [
        REPLAY, MISMATCH, REPLACEMENT, EXECUTED, WITHDRAWN, NOTHING_PENDING, NOT_IN_FUTURE, RACE, ACKNOWLEDGEMENT_LOST,
        LATE_WRITE, LATE_REFUSED, DELETED, KEY_REUSED, LOCKED,
    ];
    holds(differing, &seen);
}

#[test]
fn requests_without_a_key_leave_the_subscription_consistent() {
    let keyless = Commit::of([without_key(CancelAt(1)), without_key(CancelAt(2))]);
    let seen = [REPLACEMENT, EXECUTED, NOT_IN_FUTURE, ACKNOWLEDGEMENT_LOST, LATE_WRITE, LATE_REFUSED, LOCKED];
    holds(keyless, &seen);

    #[rustfmt::skip]
    let seen = [
        REPLACEMENT, EXECUTED, WITHDRAWN, NOTHING_PENDING, NOT_IN_FUTURE, RACE, ACKNOWLEDGEMENT_LOST, LATE_WRITE,
        LATE_REFUSED, LOCKED,
    ];
    holds(keyless_withdrawal(), &seen);

    let withdrawn_twice = one_pending([without_key(Withdraw), without_key(Withdraw)]);
    let seen = [EXECUTED, WITHDRAWN, NOTHING_PENDING, RACE, ACKNOWLEDGEMENT_LOST, LATE_WRITE, LATE_REFUSED];
    holds(withdrawn_twice, &seen);
}

#[test]
fn a_key_keeps_its_answer_whatever_a_request_without_a_key_does() {
    #[rustfmt::skip]
    let seen = [
        REPLAY, EXECUTED, WITHDRAWN, NOTHING_PENDING, RACE, ACKNOWLEDGEMENT_LOST, LATE_WRITE, LATE_REFUSED, DELETED,
        KEY_REUSED,
    ];
    let with = |more: &[&'static str]| [&seen[..], more].concat();
    holds(Commit::of([with_key(0, CancelAt(1)), without_key(Withdraw)]), &with(&[NOT_IN_FUTURE]));
    holds(one_pending([with_key(0, Withdraw), without_key(Withdraw)]), &seen);
    holds(keyed_withdrawal(), &with(&[REPLACEMENT, LOCKED, NOT_IN_FUTURE]));
}

/// This is why a record stays in the table for an hour after its key is free.
#[test]
fn a_late_deletion_of_records_covers_requests_sent_at_the_end_of_a_keys_life() {
    // Cancellations for dates that are still in the future at the end of a life.
    let late = || Commit::of([with_key(0, CancelAt(2)), without_key(CancelAt(3))]);
    refuted(Commit { by_the_request: true, ..late() }, BY_THE_REQUEST);

    let late_deletion = |model: Commit| Commit {
        deletion_delay: model.function_life,
        last_tick: 3,
        by_the_request: true,
        ..model
    };
    #[rustfmt::skip]
    let seen = [
        REPLAY, REPLACEMENT, EXECUTED, NOT_IN_FUTURE, ACKNOWLEDGEMENT_LOST, LATE_WRITE, LATE_REFUSED, DELETED, LOCKED,
    ];
    holds(late_deletion(late()), &seen);
    holds(late_deletion(keyed_withdrawal()), &[&seen[..], &[WITHDRAWN, NOTHING_PENDING, RACE]].concat());
}

#[test]
fn without_the_bound_on_the_life_of_a_function_one_key_has_two_effects() {
    refuted(Commit { function_life: KEY_LIFE, ..one_key() }, ONE_EFFECT);
}

#[test]
fn without_one_transaction_a_death_between_the_writes_gives_a_key_two_effects() {
    refuted(Commit { flaw: Some(Flaw::SeparateWrites), ..different_keys() }, ATOMIC);
    refuted(Commit { flaw: Some(Flaw::SeparateWrites), ..one_key() }, ONE_EFFECT);
}

#[test]
fn without_the_condition_on_the_version_a_write_is_lost() {
    refuted(Commit { flaw: Some(Flaw::NoVersionCondition), ..different_keys() }, VERSION);
}

#[test]
fn without_the_condition_on_the_version_an_executed_cancellation_is_withdrawn() {
    refuted(Commit { flaw: Some(Flaw::NoVersionCondition), ..keyed_withdrawal() }, WITHDRAWAL);
}

#[test]
fn without_the_condition_on_the_key_a_key_has_two_effects_and_two_answers() {
    refuted(Commit { flaw: Some(Flaw::NoKeyCondition), ..one_key() }, ONE_EFFECT);
    let twice = Commit::of([with_key(0, CancelAt(1)), with_key(0, CancelAt(1))]);
    refuted(Commit { flaw: Some(Flaw::NoKeyCondition), ..twice }, SAME_ANSWER);
}

#[test]
fn without_a_record_of_the_refusal_an_earlier_attempt_makes_the_refused_change() {
    refuted(Commit { flaw: Some(Flaw::RefusalWithoutRecord), ..one_key() }, REFUSED);
}

#[test]
fn without_a_token_a_request_without_a_key_undoes_a_later_change() {
    let keyless = Commit::of([without_key(CancelAt(1)), without_key(CancelAt(2))]);
    refuted(Commit { flaw: Some(Flaw::NoToken), ..keyless }, ONE_WRITE);
    refuted(Commit { flaw: Some(Flaw::NoToken), ..keyless_withdrawal() }, ONE_WRITE);
}

#[test]
fn without_a_token_a_withdrawal_without_a_key_gets_a_false_answer() {
    refuted(Commit { flaw: Some(Flaw::NoToken), ..keyless_withdrawal() }, TRUE_ANSWER);
}

#[test]
fn without_the_condition_on_the_cancellation_a_sweep_executes_a_replaced_or_withdrawn_one() {
    refuted(Commit { flaw: Some(Flaw::ExecutionWithoutId), ..different_keys() }, EXECUTION);
    refuted(Commit { flaw: Some(Flaw::ExecutionWithoutId), ..keyed_withdrawal() }, WITHDRAWAL);
}

#[test]
fn in_a_pause_nothing_is_executed_and_callers_notice_nothing() {
    #[rustfmt::skip]
    let seen = [
        REPLACEMENT, EXECUTED, WITHDRAWN, NOTHING_PENDING, NOT_IN_FUTURE, RACE, ACKNOWLEDGEMENT_LOST, LATE_WRITE,
        LATE_REFUSED, LOCKED, OVERTAKEN, RESUMED,
    ];
    holds(Commit { pauses: true, ..keyless_withdrawal() }, &seen);
}

#[test]
fn a_sweep_that_does_not_look_or_looks_only_once_executes_in_a_pause() {
    let pausing = |flaw| Commit { pauses: true, flaw: Some(flaw), ..keyless_withdrawal() };
    refuted(pausing(Flaw::PauseUnread), PAUSED);
    refuted(pausing(Flaw::LookForEver), PAUSED);
}

#[test]
fn with_a_lock_that_expires_a_retry_runs_the_effect_again() {
    use two_phase::Action::{Crash, Lock, LockExpires, RunEffect};

    let path = refuted(TwoPhase { lock_expires: true }, two_phase::ONE_EFFECT);
    let [Lock(first), RunEffect(_), Crash(dead), LockExpires, Lock(second), RunEffect(_)] = path[..] else {
        panic!("unexpected steps to two effects")
    };
    assert!(first == dead && first != second);
}

#[test]
fn with_a_lock_that_stays_a_retry_gets_no_answer() {
    use two_phase::Action::{Crash, Lock};

    let path = refuted(TwoPhase { lock_expires: false }, two_phase::ANSWERED);
    assert!(matches!(path[..], [Lock(first), Crash(dead)] if first == dead));
}

fn different_keys() -> Commit {
    Commit::of([with_key(0, CancelAt(1)), with_key(1, CancelAt(2))])
}

/// Returns a cancellation with a key, and one of another caller, which may replace it. Only then does a second effect show: a
/// repeated request for a cancellation that is still pending would change nothing.
fn one_key() -> Commit {
    Commit::of([with_key(0, CancelAt(1)), without_key(CancelAt(2))])
}

/// Returns a withdrawal with a key, and a cancellation of another caller, which may replace the withdrawn one or follow it.
fn keyed_withdrawal() -> Commit {
    one_pending([with_key(0, Withdraw), without_key(CancelAt(2))])
}

fn keyless_withdrawal() -> Commit {
    one_pending([without_key(Withdraw), without_key(CancelAt(2))])
}

/// Returns the protocol with a cancellation that is pending from the beginning.
fn one_pending(requests: [Request; 2]) -> Commit {
    Commit { earlier: Some(1), ..Commit::of(requests) }
}

fn with_key(key: usize, asked: Asked) -> Request {
    Request { key: Some(key), asked }
}

fn without_key(asked: Asked) -> Request {
    Request { key: None, asked }
}

/// Visits every state, and asserts that the promises hold. The checker finds examples of situations and counterexamples to
/// rules. The promises hold if it finds exactly the expected examples. This also shows that the rules were put to the test.
fn holds(model: Commit, seen: &[&str]) {
    let checker = model.checker().symmetry_fn(State::without_doomed_writes).spawn_dfs().join();
    println!("{} states, up to {} steps deep", checker.unique_state_count(), checker.max_depth());
    assert!(checker.is_done());
    let found: BTreeSet<_> = checker.discoveries().into_keys().collect();
    for broken in found.iter().filter(|name| !seen.contains(name)) {
        print(broken, &checker.discoveries()[*broken].clone().into_actions());
    }
    assert_eq!(found, seen.iter().copied().collect());
}

/// Returns the shortest sequence of steps that breaks a rule. Searches deeper and deeper, because the checker reports the last
/// counterexample that it met, not the first.
fn refuted<M>(model: M, rule: &'static str) -> Vec<M::Action>
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let found = HasDiscoveries::AnyOf(BTreeSet::from([rule]));
    for depth in 1..20 {
        let checker =
            model.clone().checker().target_max_depth(depth).finish_when(found.clone()).spawn_bfs().join();
        if let Some(path) = checker.discovery(rule) {
            let actions = path.into_actions();
            print(rule, &actions);
            return actions;
        }
    }
    panic!("no counterexample to: {rule}")
}

fn print(rule: &str, actions: &[impl Debug]) {
    println!("steps for \"{rule}\":");
    for action in actions {
        println!("  {action:?}");
    }
}
