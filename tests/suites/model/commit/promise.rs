//! The promises of the commit protocol, one function for each rule, checked in every reachable state. The rules compare the
//! stored data and the answers with the history of events. The second half names the situations that must occur somewhere in a
//! run. A rule that was never tested by a replay, a lost acknowledgement or a late write would prove nothing.

use std::iter;

use super::*;

pub const ONE_EFFECT: &str = "a key has at most one effect in its life";
pub const ONE_WRITE: &str = "one function changes the subscription at most once";
pub const SAME_ANSWER: &str = "all answers in the life of a key agree";
pub const LIVE_ANSWER: &str = "with a key every answer is recorded, and an expired record is never replayed";
pub const TRUE_ANSWER: &str = "every answer is true";
pub const REFUSED: &str = "a change refused with a key is not made by an earlier attempt with that key";
pub const EXECUTION: &str = "an execution is due, is the only one and is of the latest cancellation";
pub const WITHDRAWAL: &str = "a withdrawal removes the pending cancellation, which never takes effect";
pub const KEPT: &str = "a cancellation stays pending until it is executed, withdrawn or replaced";
pub const VERSION: &str = "the version counts the writes, and a cancelled subscription has nothing pending";
pub const ATOMIC: &str = "an effect and its record come together";
pub const SWEPT: &str = "the next undisturbed sweep executes the due cancellation";
pub const PAUSED: &str =
    "in a pause nothing is executed, except by a sweep that looked shortly before it began";
pub const ANSWERED: &str = "an undisturbed attempt is answered";
/// The stronger promise. The time at which a caller sent its request decides whether the key's life was over, not the clock at
/// the moment of the write. For this, expired records must be kept for as long as a function may live. Otherwise a slow
/// request, sent just before the end of a life, finds the record already deleted.
pub const BY_THE_REQUEST: &str =
    "requests sent within one life of a key have at most one effect, and are told of it";

pub const REPLAY: &str = "a replay";
pub const MISMATCH: &str = "a mismatch";
pub const REPLACEMENT: &str = "a replacement";
pub const EXECUTED: &str = "an execution";
pub const WITHDRAWN: &str = "a withdrawal";
pub const NOTHING_PENDING: &str = "a withdrawal that finds nothing pending";
pub const NOT_IN_FUTURE: &str = "a date that has begun";
pub const RACE: &str = "a withdrawal and an execution of which either may come first";
pub const ACKNOWLEDGEMENT_LOST: &str = "a lost acknowledgement survived";
pub const LATE_WRITE: &str = "a late write carried out";
pub const LATE_REFUSED: &str = "a late write refused";
pub const DELETED: &str = "a record deleted after its effect";
pub const KEY_REUSED: &str = "a key used again after its life";
pub const LOCKED: &str = "a request that lost every race";
pub const OVERTAKEN: &str = "an execution that a pause has overtaken";
pub const RESUMED: &str = "an execution after a pause";

pub fn properties(model: &Commit) -> Vec<Property<Commit>> {
    let mut properties = vec![
        Property::always(ONE_EFFECT, one_effect),
        Property::always(ONE_WRITE, one_write),
        Property::always(SAME_ANSWER, same_answer),
        Property::always(LIVE_ANSWER, live_answer),
        Property::always(TRUE_ANSWER, true_answer),
        Property::always(REFUSED, refused),
        Property::always(EXECUTION, execution),
        Property::always(WITHDRAWAL, withdrawal),
        Property::always(KEPT, kept),
        Property::always(VERSION, version),
        Property::always(ATOMIC, atomic),
        Property::always(SWEPT, swept),
        Property::always(ANSWERED, answered),
        Property::sometimes(REPLAY, replay),
        Property::sometimes(MISMATCH, |_, s: &State| {
            s.told().any(|(_, told)| told.answer == Answer::Mismatch)
        }),
        Property::sometimes(REPLACEMENT, replacement),
        Property::sometimes(EXECUTED, |_, s: &State| s.subscription.cancelled_at.is_some()),
        Property::sometimes(WITHDRAWN, |_, s: &State| s.changes().any(|c| c.pending.is_none())),
        Property::sometimes(NOTHING_PENDING, |_, s: &State| {
            s.told().any(|(_, told)| told.answer == Answer::NoPendingCancellation)
        }),
        Property::sometimes(NOT_IN_FUTURE, |_, s: &State| {
            s.told().any(|(_, told)| told.answer == Answer::NotInFuture)
        }),
        Property::sometimes(RACE, race),
        Property::sometimes(ACKNOWLEDGEMENT_LOST, acknowledgement_lost),
        Property::sometimes(LATE_WRITE, |m: &Commit, s: &State| {
            s.orphans().any(|w| m.refusal(s, *w).is_none())
        }),
        Property::sometimes(LATE_REFUSED, |m: &Commit, s: &State| {
            s.orphans().any(|w| !s.has_changed(w.id) && m.refusal(s, *w).is_some())
        }),
        Property::sometimes(DELETED, deleted),
        Property::sometimes(KEY_REUSED, key_reused),
        Property::sometimes(LOCKED, locked),
    ];
    if model.by_the_request {
        properties.push(Property::always(BY_THE_REQUEST, by_the_request));
    }
    if model.pauses {
        properties.push(Property::always(PAUSED, |_, s: &State| {
            s.pauses_at_execution().flatten().all(|paused_for| paused_for <= LOOK_LIFE)
        }));
        properties.push(Property::sometimes(OVERTAKEN, |_, s: &State| {
            s.pauses_at_execution().any(|pause| pause.is_some())
        }));
        properties.push(Property::sometimes(RESUMED, |_, s: &State| {
            s.pause == Pause::Over && s.subscription.cancelled_at.is_some()
        }));
    }
    properties
}

// Two effects at the same tick are wrong, even if the first one's record had expired when it was written. Such a record would
// have protected nothing.
fn one_effect(_: &Commit, state: &State) -> bool {
    state.lives_of_one_key().all(|(first, second)| second.from >= first.until && second.from > first.from)
}

fn one_write(_: &Commit, state: &State) -> bool {
    let mut writers = BTreeSet::new();
    state.changes().all(|change| writers.insert(change.id.writer()))
}

fn by_the_request(_: &Commit, state: &State) -> bool {
    let sent = |life: Life| life.until - KEY_LIFE;
    let one_effect = state.lives_of_one_key().all(|(first, second)| sent(second) >= first.until);
    one_effect
        && state.told().all(|(who, told)| {
            matches!(told.answer, Answer::Changed(_))
                || state.changes().all(|change| change.id.writer() != (who, told.attempt))
        })
}

// Two records of one key never live at the same time, so the answers of one life come from one record.
fn same_answer(model: &Commit, state: &State) -> bool {
    let [Caller::Answered(one), Caller::Answered(other)] = state.callers else { return true };
    let (Some(life), Some(other_life)) = (one.life, other.life) else { return true };
    let [request, other_request] = model.requests;
    if request.key != other_request.key || !overlap(life, other_life) {
        return true;
    }
    let mismatch = one.answer == Answer::Mismatch || other.answer == Answer::Mismatch;
    let agree =
        if request.asked == other_request.asked { one.answer == other.answer && !mismatch } else { mismatch };
    agree && life == other_life
}

fn live_answer(model: &Commit, state: &State) -> bool {
    state.told().all(|(who, told)| {
        model.requests[who].key.is_none() || told.life.is_some_and(|life| life.until > told.now)
    })
}

fn true_answer(model: &Commit, state: &State) -> bool {
    state.told().all(|(who, told)| {
        let Request { key, asked } = model.requests[who];
        let nothing_done = state.changes().all(|change| match told.life {
            // The effect of a write that arrives after the record's end belongs to the key's next life.
            Some(life) => change.key.is_none_or(|(of, effect)| Some(of) != key || !overlap(effect, life)),
            None => change.id.writer() != (who, told.attempt),
        });
        match told.answer {
            Answer::Changed(id) => state.changes().any(|c| c.id == id && c.pending == asked.pending(id)),
            Answer::Mismatch => model.requests.iter().any(|other| other.key == key && other.asked != asked),
            Answer::Unchanged => {
                let asked_before = |p: Pending| asked == Asked::CancelAt(p.due);
                nothing_done && state.changes().any(|c| c.pending.is_some_and(asked_before))
            }
            Answer::NotInFuture => {
                let sent = told.life.map_or(told.now, |life| life.until - KEY_LIFE);
                nothing_done && matches!(asked, Asked::CancelAt(due) if due <= sent)
            }
            Answer::AlreadyCancelled => nothing_done && state.subscription.cancelled_at.is_some(),
            Answer::NoPendingCancellation => {
                nothing_done && (model.earlier.is_none() || state.changes().any(|c| c.pending.is_none()))
            }
        }
    })
}

// The earlier attempt may still be under way when the caller gets the refusal. The write of that attempt has to find the
// record.
fn refused(model: &Commit, state: &State) -> bool {
    state.told().filter(|(_, told)| told.answer == Answer::NotInFuture).all(|(who, told)| {
        let Some(key) = model.requests[who].key else { return true };
        // Without a record, the refusal should have been valid for the key as long as with one.
        let life = told.life.unwrap_or(Life { from: told.now, until: told.now + KEY_LIFE });
        let mut effects = state.changes().filter_map(|change| change.key);
        effects.all(|(of, effect)| of != key || !overlap(effect, life))
    })
}

fn execution(_: &Commit, state: &State) -> bool {
    let mut latest = None;
    let mut executions = 0;
    state.history.iter().all(|event| match event {
        Event::Changed(change) => {
            latest = change.pending;
            executions == 0
        }
        Event::Executed { entry, in_time, .. } => {
            executions += 1;
            executions == 1
                && latest == Some(*entry)
                && *in_time
                && state.subscription.cancelled_at == Some(entry.due)
        }
    })
}

// A caller whose withdrawal succeeded can rely on it.
fn withdrawal(_: &Commit, state: &State) -> bool {
    state.steps().all(|(before, event)| match event {
        Event::Changed(Change { pending: None, .. }) => {
            before.is_some_and(|entry| !state.has_executed(entry))
        }
        _ => true,
    })
}

fn kept(_: &Commit, state: &State) -> bool {
    state.subscription.pending == state.history.last().and_then(Event::pending)
}

fn version(_: &Commit, state: &State) -> bool {
    let Subscription { version, pending, cancelled_at } = state.subscription;
    usize::from(version) == state.history.len() && (cancelled_at.is_none() || pending.is_none())
}

fn atomic(_: &Commit, state: &State) -> bool {
    let records_have_effects = state.records.iter().flatten().all(|record| match record.answer {
        Answer::Changed(id) => state.has_changed(id),
        _ => true,
    });
    let effects_have_records = state.changes().all(|change| {
        let Some((key, life)) = change.key else { return true };
        match state.records[key] {
            Some(record) => record.answer == Answer::Changed(change.id) || record.life.from >= life.until,
            None => life.until <= state.clock,
        }
    });
    records_have_effects && effects_have_records
}

// No assumption of fairness is needed: after any history, one sweep suffices.
fn swept(model: &Commit, state: &State) -> bool {
    let Some(entry) = state.subscription.pending.filter(|p| p.due <= state.clock) else { return true };
    let mut state = state.clone();
    model.execute(&mut state, entry);
    state.subscription.cancelled_at == Some(entry.due)
}

// A function that died, or a write still under way, leaves nothing behind that blocks the next attempt.
fn answered(model: &Commit, state: &State) -> bool {
    (0..state.callers.len()).filter(|&who| matches!(state.callers[who], Caller::Ready { .. })).all(|who| {
        let mut state = state.clone();
        model.begin(&mut state, who);
        model.read_record(&mut state, who);
        model.read_subscription(&mut state, who);
        model.write_and_hear(&mut state, who);
        matches!(state.callers[who], Caller::Answered(_))
    })
}

fn replay(_: &Commit, state: &State) -> bool {
    state.told().any(|(who, told)| match told.answer {
        Answer::Changed(id) => id.caller != who || id.attempt != told.attempt,
        _ => false,
    })
}

fn replacement(_: &Commit, state: &State) -> bool {
    state.steps().any(|(before, event)| matches!((before, event.pending()), (Some(_), Some(_))))
}

// Tries both orders from the same state. The write that comes first succeeds, and the answer to the withdrawal is true in both
// cases.
fn race(model: &Commit, state: &State) -> bool {
    let Some(entry) = state.subscription.pending.filter(|p| p.due <= state.clock) else { return false };
    state.callers.iter().enumerate().any(|(who, caller)| {
        let Caller::Writing { write: Write { id, update: Some(_), .. } } = *caller else { return false };
        if model.requests[who].asked != Asked::Withdraw {
            return false;
        }
        let told = |mut state: State| {
            // After a refusal, the request is decided again. With a key, the new answer needs a second write.
            model.write_and_hear(&mut state, who);
            model.write_and_hear(&mut state, who);
            state.told().find(|(by, _)| *by == who).map(|(_, told)| told.answer)
        };
        let mut executed = state.clone();
        model.execute(&mut executed, entry);
        told(state.clone()) == Some(Answer::Changed(id)) && told(executed) == Some(Answer::AlreadyCancelled)
    })
}

fn acknowledgement_lost(model: &Commit, state: &State) -> bool {
    state.callers.iter().enumerate().any(|(who, caller)| match caller {
        Caller::Writing { write } if state.has_changed(write.id) => {
            let mut state = state.clone();
            match model.requests[who].key {
                Some(_) => model.write_and_hear(&mut state, who),
                None => model.write_recognised(&mut state, who),
            }
            state.told().any(|(by, told)| by == who && told.answer == write.answer)
        }
        _ => false,
    })
}

fn deleted(_: &Commit, state: &State) -> bool {
    state.changes().any(|change| change.key.is_some_and(|(key, _)| state.records[key].is_none()))
}

fn key_reused(model: &Commit, state: &State) -> bool {
    state.told().any(|(who, told)| {
        let record = model.requests[who].key.and_then(|key| state.records[key]);
        told.life.zip(record).is_some_and(|(life, record)| life.until <= record.life.from)
    })
}

fn locked(model: &Commit, state: &State) -> bool {
    state.callers.iter().enumerate().any(|(who, caller)| {
        let Caller::Writing { .. } = caller else { return false };
        let mut after = state.clone();
        model.write_and_hear(&mut after, who);
        matches!(after.callers[who], Caller::Ready { .. })
    })
}

fn overlap(one: Life, other: Life) -> bool {
    one.from < other.until && other.from < one.until
}

impl Id {
    /// Returns the function that decided: its caller and its attempt.
    fn writer(self) -> (usize, u8) {
        (self.caller, self.attempt)
    }
}

impl Event {
    /// Returns the pending cancellation after the event.
    fn pending(&self) -> Option<Pending> {
        match self {
            Event::Changed(change) => change.pending,
            Event::Executed { .. } => None,
        }
    }
}

impl State {
    fn told(&self) -> impl Iterator<Item = (usize, Told)> {
        self.callers.iter().enumerate().filter_map(|(who, caller)| match *caller {
            Caller::Answered(told) => Some((who, told)),
            _ => None,
        })
    }

    /// Iterates over the executions: for how many ticks executions had been paused then, if they were.
    fn pauses_at_execution(&self) -> impl Iterator<Item = Option<u8>> {
        self.history.iter().filter_map(|event| match event {
            Event::Changed(_) => None,
            Event::Executed { paused_for, .. } => Some(*paused_for),
        })
    }

    /// Iterates over the events, each with the cancellation that was pending before it.
    fn steps(&self) -> impl Iterator<Item = (Option<Pending>, &Event)> {
        let before = iter::once(None).chain(self.history.iter().map(Event::pending));
        before.zip(&self.history)
    }

    fn has_executed(&self, cancellation: Pending) -> bool {
        self.history
            .iter()
            .any(|event| matches!(event, Event::Executed { entry, .. } if *entry == cancellation))
    }

    /// Iterates over every two effects of one key: the earlier life and the later one.
    fn lives_of_one_key(&self) -> impl Iterator<Item = (Life, Life)> {
        let keyed = || self.changes().filter_map(|change| change.key);
        keyed().enumerate().flat_map(move |(i, (key, first))| {
            keyed().skip(i + 1).filter(move |later| later.0 == key).map(move |(_, second)| (first, second))
        })
    }

    /// Iterates over the writes under way for which no function waits any more.
    fn orphans(&self) -> impl Iterator<Item = &Write> {
        self.sent.iter().filter(|sent| {
            !self.callers.iter().any(|caller| matches!(caller, Caller::Writing { write } if write == *sent))
        })
    }
}
