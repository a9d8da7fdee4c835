//! The commit protocol: the change of the subscription and the record of its answer are one write, which the
//! database refuses when either the record or the subscription is no longer what the request saw. The model
//! lets two callers, a sweep, the clock, the database's own deletions and every loss and delay in between
//! take their steps in any order. `database.rs` holds the conditions the database judges a write by, and
//! `promise.rs` what must hold in every state thus reached.

mod database;
pub mod promise;

pub use database::Flaw;
use std::collections::BTreeSet;

use database::{Reply, Update, Write};
use stateright::{Model, Property};

/// How long a record answers for its key, counted from the `now` of the request that wrote it.
pub const KEY_LIFE: u8 = 2;
/// How often a caller sends its request before it gives up.
const ATTEMPTS: u8 = 2;
/// How often one function decides before it answers "locked".
const DECISIONS: u8 = 2;
/// Names the cancellation that is pending when a run begins: neither of the two callers asked for it.
const EARLIER: Id = Id { caller: 2, attempt: 0, decision: 0 };

/// One run of the model: who asks for what, and the bounds and flaws under which it happens.
#[derive(Clone)]
pub struct Commit {
    pub requests: [Request; 2],
    /// When the cancellation is due that is already pending as the run begins, if one is.
    pub earlier: Option<u8>,
    /// The clock stops here.
    pub last_tick: u8,
    /// Neither a function nor a write it has sent outlives its `now` by more than this. It has to be less
    /// than [`KEY_LIFE`]: a record expires a key's life after `now`, however late it is written, so a write
    /// delayed for that long would store a record that protects nothing from the very next retry.
    pub function_life: u8,
    /// How long after its expiry a record is safe from deletion. None is needed for the promise as long as a
    /// life is measured by the clock at the moment of the write. See [`promise::BY_THE_REQUEST`] for what it buys.
    pub deletion_delay: u8,
    pub flaw: Option<Flaw>,
    /// Whether the stronger promise is checked as well.
    pub by_the_request: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub key: Option<usize>,
    pub asked: Asked,
}

/// All that a request says, so it is its fingerprint as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// To cancel the subscription when this is due.
    CancelAt(u8),
    /// To withdraw the cancellation that is pending, whichever that is.
    Withdraw,
}

/// Everything that is stored or under way. `history` is not stored anywhere: it is what really happened, for
/// the properties to compare with what the database and the callers believe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    clock: u8,
    subscription: Subscription,
    records: [Option<Record>; 2],
    callers: [Caller; 2],
    sent: BTreeSet<Write>,
    history: Vec<Event>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Subscription {
    version: u8,
    pending: Option<Pending>,
    cancelled_at: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pending {
    id: Id,
    due: u8,
}

/// Fresh for each decision, so it names the decision and the write that carries it. Of a decision to cancel it
/// is the cancellation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    caller: usize,
    attempt: u8,
    decision: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Record {
    fingerprint: Asked,
    answer: Answer,
    life: Life,
}

/// From the clock at the moment of the write, which only the model knows, until the expiry, which is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Life {
    from: u8,
    until: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Answer {
    Changed(Id),
    Unchanged,
    AlreadyCancelled,
    NoPendingCancellation,
    /// What was asked for was not later than the request.
    NotInFuture,
    Mismatch,
}

/// A caller together with the function that works for it. Dying, giving up and answering 503 or "locked" are
/// the same to the caller: it knows nothing, and asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Ready { attempt: u8 },
    Reading { attempt: u8, now: u8, record: Option<Option<Record>>, subscription: Option<Subscription> },
    Writing { write: Write },
    Answered(Told),
    GaveUp,
}

/// What a caller was told at last, by the function of which attempt, and in which life of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Told {
    attempt: u8,
    now: u8,
    answer: Answer,
    life: Option<Life>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Changed(Change),
    Executed { entry: Pending, in_time: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Change {
    id: Id,
    /// What has been pending since: nothing after a withdrawal.
    pending: Option<Pending>,
    /// The key it was asked for with, and the life that key has from it.
    key: Option<(usize, Life)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Tick,
    DeleteRecord(usize),
    Begin(usize),
    ReadRecord(usize),
    ReadSubscription(usize),
    /// The write is carried out and its caller's function hears the outcome.
    WriteAndHear(usize),
    /// The write had been carried out unheard; the database knows its token and repeats the good news.
    WriteRecognised(usize),
    /// A write is carried out with nobody listening: its acknowledgement is lost, or its sender is gone.
    WriteUnheard(Id),
    Crash(usize),
    Sweep(Pending),
}

impl Model for Commit {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            clock: 0,
            subscription: Subscription::default(),
            records: [None; 2],
            callers: [Caller::Ready { attempt: 0 }; 2],
            sent: BTreeSet::new(),
            history: Vec::new(),
        };
        if let Some(due) = self.earlier {
            let pending = Some(Pending { id: EARLIER, due });
            state.subscription = Subscription { version: 1, pending, cancelled_at: None };
            state.history.push(Event::Changed(Change { id: EARLIER, pending, key: None }));
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.clock < self.last_tick {
            actions.push(Action::Tick);
        }
        for (key, record) in state.records.iter().enumerate() {
            if record.is_some_and(|r| r.life.until + self.deletion_delay <= state.clock) {
                actions.push(Action::DeleteRecord(key));
            }
        }
        for (who, caller) in state.callers.iter().enumerate() {
            match caller {
                Caller::Ready { .. } => actions.push(Action::Begin(who)),
                Caller::Reading { record, subscription, .. } => {
                    if record.is_none() {
                        actions.push(Action::ReadRecord(who));
                    }
                    if subscription.is_none() {
                        actions.push(Action::ReadSubscription(who));
                    }
                    actions.push(Action::Crash(who));
                }
                Caller::Writing { write } => {
                    let done_before = state.has_changed(write.id);
                    if done_before {
                        actions.push(Action::WriteRecognised(who));
                    }
                    // With a key, the record makes it safe that the database doesn't know the token any more.
                    // Without one everything rests on the token, which outlives every function by far.
                    let has_key = self.requests[who].key.is_some();
                    if !done_before || has_key || self.flaw == Some(Flaw::NoToken) {
                        actions.push(Action::WriteAndHear(who));
                    }
                    actions.push(Action::Crash(who));
                }
                Caller::Answered(_) | Caller::GaveUp => {}
            }
        }
        // Nothing that was sent is ever taken off the wire. That covers at once a lost acknowledgement, a
        // repetition by the SDK, a write that comes late and (as no action has to be taken) one that is lost.
        actions.extend(state.sent.iter().map(|write| Action::WriteUnheard(write.id)));
        // A sweep may hold any entry the index has ever shown, however stale, and may send its write at any
        // time, any number of times. That covers sweeps that overlap, crash, repeat themselves or lag behind.
        let shown = state.changes().filter_map(|change| change.pending);
        actions.extend(shown.filter(|entry| entry.due <= state.clock).map(Action::Sweep));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => self.tick(&mut state),
            Action::DeleteRecord(key) => state.records[key] = None,
            Action::Begin(who) => self.begin(&mut state, who),
            Action::ReadRecord(who) => self.read_record(&mut state, who),
            Action::ReadSubscription(who) => self.read_subscription(&mut state, who),
            Action::WriteAndHear(who) => self.write_and_hear(&mut state, who),
            Action::WriteRecognised(who) => self.write_recognised(&mut state, who),
            Action::WriteUnheard(id) => {
                let write = *last.sent.iter().find(|write| write.id == id)?;
                self.commit(&mut state, write);
            }
            Action::Crash(who) => state.no_answer(who),
            Action::Sweep(entry) => self.execute(&mut state, entry),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promise::properties(self)
    }
}

impl Commit {
    /// The protocol as it is meant to run.
    pub fn of(requests: [Request; 2]) -> Commit {
        Commit {
            requests,
            earlier: None,
            // Late enough for a key to be used again after its life has ended.
            last_tick: KEY_LIFE,
            function_life: 1,
            deletion_delay: 0,
            flaw: None,
            by_the_request: false,
        }
    }

    fn tick(&self, state: &mut State) {
        state.clock += 1;
        let clock = state.clock;
        let outlived = |now: u8| now + self.function_life < clock;
        state.sent.retain(|write| !outlived(write.now));
        for who in 0..state.callers.len() {
            match state.callers[who] {
                Caller::Reading { now, .. } if outlived(now) => state.no_answer(who),
                Caller::Writing { write } if outlived(write.now) => state.no_answer(who),
                _ => {}
            }
        }
    }

    fn begin(&self, state: &mut State, who: usize) {
        let Caller::Ready { attempt } = state.callers[who] else { return };
        // Without a key there is no record to read: the empty answer is known beforehand.
        let record = if self.requests[who].key.is_some() { None } else { Some(None) };
        state.callers[who] = Caller::Reading { attempt, now: state.clock, record, subscription: None };
    }

    // One BatchGetItem fetches both items, but it is no snapshot: a commit may fall between the two.
    fn read_record(&self, state: &mut State, who: usize) {
        let found = self.requests[who].key.and_then(|key| state.records[key]);
        let Caller::Reading { record, .. } = &mut state.callers[who] else { return };
        *record = Some(found);
        self.proceed(state, who);
    }

    fn read_subscription(&self, state: &mut State, who: usize) {
        let found = state.subscription;
        let Caller::Reading { subscription, .. } = &mut state.callers[who] else { return };
        *subscription = Some(found);
        self.proceed(state, who);
    }

    // What follows the second reading touches nothing that is shared, so it needs no step of its own.
    fn proceed(&self, state: &mut State, who: usize) {
        let Caller::Reading { attempt, now, record: Some(record), subscription: Some(subscription) } =
            state.callers[who]
        else {
            return;
        };
        match record.filter(|r| r.life.until > now) {
            Some(record) => self.replay(state, who, attempt, now, record),
            None => self.decide(state, Id { caller: who, attempt, decision: 0 }, now, subscription),
        }
    }

    fn replay(&self, state: &mut State, who: usize, attempt: u8, now: u8, record: Record) {
        let same = record.fingerprint == self.requests[who].asked;
        let answer = if same { record.answer } else { Answer::Mismatch };
        state.callers[who] = Caller::Answered(Told { attempt, now, answer, life: Some(record.life) });
    }

    fn decide(&self, state: &mut State, id: Id, now: u8, subscription: Subscription) {
        let Request { key, asked } = self.requests[id.caller];
        let Subscription { version, pending, cancelled_at } = subscription;
        let answer = match (asked, pending) {
            (Asked::CancelAt(due), _) if due <= now => Answer::NotInFuture,
            _ if cancelled_at.is_some() => Answer::AlreadyCancelled,
            (Asked::CancelAt(due), Some(pending)) if pending.due == due => Answer::Unchanged,
            (Asked::Withdraw, None) => Answer::NoPendingCancellation,
            _ => Answer::Changed(id),
        };
        let update = (answer == Answer::Changed(id)).then_some(Update { version_read: version });
        let is_unrecorded = answer == Answer::NotInFuture && self.flaw == Some(Flaw::RefusalWithoutRecord);
        state.callers[id.caller] = if (key.is_none() && update.is_none()) || is_unrecorded {
            Caller::Answered(Told { attempt: id.attempt, now, answer, life: None })
        } else {
            let write = Write { id, now, key, answer, update };
            state.sent.insert(write);
            Caller::Writing { write }
        };
    }

    fn write_and_hear(&self, state: &mut State, who: usize) {
        let Caller::Writing { write } = state.callers[who] else { return };
        let Write { id, now, answer, .. } = write;
        match self.commit(state, write) {
            Reply::Done(life) => {
                state.callers[who] = Caller::Answered(Told { attempt: id.attempt, now, answer, life })
            }
            Reply::HalfDone => {}
            Reply::RecordStands(record) => self.replay(state, who, id.attempt, now, record),
            // Without a token, the id in the item can tell that it was this very write that moved it, as long
            // as nothing has moved it since. A withdrawal leaves no id there.
            Reply::VersionMoved(s)
                if self.flaw == Some(Flaw::NoToken) && s.pending.is_some_and(|p| p.id == id) =>
            {
                state.callers[who] = Caller::Answered(Told { attempt: id.attempt, now, answer, life: None });
            }
            Reply::VersionMoved(subscription) if id.decision + 1 < DECISIONS => {
                self.decide(state, Id { decision: id.decision + 1, ..id }, now, subscription);
            }
            Reply::VersionMoved(_) => state.no_answer(who),
        }
    }

    fn write_recognised(&self, state: &mut State, who: usize) {
        let Caller::Writing { write } = state.callers[who] else { return };
        let life = state.changes().find(|c| c.id == write.id).and_then(|c| c.key).map(|(_, life)| life);
        state.callers[who] =
            Caller::Answered(Told { attempt: write.id.attempt, now: write.now, answer: write.answer, life });
    }
}

impl Asked {
    /// What is pending once the decision `id` has done it.
    fn pending(self, id: Id) -> Option<Pending> {
        match self {
            Asked::CancelAt(due) => Some(Pending { id, due }),
            Asked::Withdraw => None,
        }
    }
}

impl State {
    /// A write against an older version is refused for ever, as versions only grow. So is one whose key has the
    /// record of a request no older than its own, as that record outlives it. With nobody listening a refusal
    /// changes nothing: whether such a write is still under way makes no difference.
    pub fn without_doomed_writes(&self) -> State {
        let outdated = |update: Update| update.version_read != self.subscription.version;
        let outlives = |record: Record, write: &Write| record.life.until >= write.now + KEY_LIFE;
        let mut state = self.clone();
        state.sent.retain(|write| {
            let record = write.key.and_then(|key| self.records[key]);
            !write.update.is_some_and(outdated) && !record.is_some_and(|record| outlives(record, write))
        });
        state
    }

    fn no_answer(&mut self, who: usize) {
        let attempt = match self.callers[who] {
            Caller::Reading { attempt, .. } => attempt + 1,
            Caller::Writing { write } => write.id.attempt + 1,
            _ => return,
        };
        self.callers[who] = if attempt < ATTEMPTS { Caller::Ready { attempt } } else { Caller::GaveUp };
    }

    fn changes(&self) -> impl Iterator<Item = &Change> {
        self.history.iter().filter_map(|event| match event {
            Event::Changed(change) => Some(change),
            Event::Executed { .. } => None,
        })
    }

    fn has_changed(&self, id: Id) -> bool {
        self.changes().any(|change| change.id == id)
    }
}
