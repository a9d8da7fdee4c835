//! The usual idempotency protocol, for comparison: two phases, with a lock. A function marks the key as in progress, runs the
//! effect, and marks the key as completed. The mark and the effect are different writes, so a function may die between them.
//! Then no setting of the lock is right. A lock that expires lets a retry run the effect again. A lock that does not expire
//! leaves the retry without an answer. The model assumes the best case for the lock: it never expires while its function is
//! alive.

use stateright::{Model, Property};

pub const ONE_EFFECT: &str = "a key has at most one effect";
pub const ANSWERED: &str = "a retry is answered in the end";
pub const REPLAY: &str = "a replay";

#[derive(Clone)]
pub struct TwoPhase {
    pub lock_expires: bool,
}

/// Two attempts at one request with one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    record: Record,
    attempts: [Attempt; 2],
    effects: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Record {
    Absent,
    InProgress { holder: usize },
    LockExpired,
    Completed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Attempt {
    Ready,
    Locked,
    EffectRun,
    Dead,
    Answered,
    Replayed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Lock(usize),
    RunEffect(usize),
    Complete(usize),
    Replay(usize),
    Crash(usize),
    LockExpires,
}

impl Model for TwoPhase {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { record: Record::Absent, attempts: [Attempt::Ready; 2], effects: 0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, attempt) in state.attempts.iter().enumerate() {
            match (attempt, state.record) {
                (Attempt::Ready, Record::Absent | Record::LockExpired) => actions.push(Action::Lock(who)),
                (Attempt::Ready, Record::Completed) => actions.push(Action::Replay(who)),
                (Attempt::Locked, _) => actions.extend([Action::RunEffect(who), Action::Crash(who)]),
                (Attempt::EffectRun, _) => actions.extend([Action::Complete(who), Action::Crash(who)]),
                _ => {}
            }
        }
        if let Record::InProgress { holder } = state.record
            && state.attempts[holder] == Attempt::Dead
            && self.lock_expires
        {
            actions.push(Action::LockExpires);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Lock(who) => {
                state.record = Record::InProgress { holder: who };
                state.attempts[who] = Attempt::Locked;
            }
            Action::RunEffect(who) => {
                state.effects += 1;
                state.attempts[who] = Attempt::EffectRun;
            }
            Action::Complete(who) => {
                state.record = Record::Completed;
                state.attempts[who] = Attempt::Answered;
            }
            Action::Replay(who) => state.attempts[who] = Attempt::Replayed,
            Action::Crash(who) => state.attempts[who] = Attempt::Dead,
            Action::LockExpires => state.record = Record::LockExpired,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_EFFECT, |_, state: &State| state.effects <= 1),
            Property::always(ANSWERED, |model: &TwoPhase, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                !actions.is_empty() || !state.attempts.contains(&Attempt::Ready)
            }),
            Property::sometimes(REPLAY, |_, state: &State| state.attempts.contains(&Attempt::Replayed)),
        ]
    }
}
