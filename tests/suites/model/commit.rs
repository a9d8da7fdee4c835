//! The commit protocol. The change of the subscription and the record of its answer are one write. The database refuses it if
//! the record or the subscription is no longer as the request has read it. In the model, two callers, a sweep, the clock, the
//! database's own deletions, and every loss and delay in between take their steps in any order. `database.rs` holds the
//! conditions by which the database judges a write, and `promise.rs` the rules for every state that is reached.

mod database;
pub mod promise;

pub use database::Flaw;
use std::collections::BTreeSet;

use database::{Reply, Update, Write};
use stateright::{Model, Property};

/// Life of a record in ticks, counted from the `now` of the request that wrote it.
pub const KEY_LIFE: u8 = 2;
/// Number of ticks for which a sweep relies on having read that executions are not paused.
const LOOK_LIFE: u8 = 1;
/// Number of times that a caller sends its request before it gives up.
const ATTEMPTS: u8 = 2;
/// Number of times that one function decides before it answers "locked".
const DECISIONS: u8 = 2;
/// Id of the cancellation that is pending when a run begins. Neither of the two callers asked for it.
const EARLIER: Id = Id { caller: 2, attempt: 0, decision: 0 };

/// One configuration of the model: the requests, the bounds, and a flaw, if any.
#[derive(Clone)]
pub struct Commit {
    pub requests: [Request; 2],
    /// Due tick of the cancellation that is pending when the run begins, if there is one.
    pub earlier: Option<u8>,
    /// Last tick of the clock.
    pub last_tick: u8,
    /// Largest number of ticks by which a function, or a write that it has sent, outlives its `now`. It must be less than
    /// [`KEY_LIFE`]: a record expires a key's life after `now`, however late it is written. A write delayed for that long would
    /// store an expired record, which does not protect against the next retry.
    pub function_life: u8,
    /// Number of ticks for which a record is kept after its expiry. The promise needs none, as long as a life is measured by
    /// the clock at the moment of the write. [`promise::BY_THE_REQUEST`] needs a delay.
    pub deletion_delay: u8,
    pub flaw: Option<Flaw>,
    /// True if the stronger promise is checked as well.
    pub by_the_request: bool,
    /// True if an operator may pause the executions once, and resume them.
    pub pauses: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub key: Option<usize>,
    pub asked: Asked,
}

/// Content of a request, and therefore also its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Cancel the subscription at this tick.
    CancelAt(u8),
    /// Withdraw the pending cancellation, whichever it is.
    Withdraw,
}

/// Everything that is stored or under way. `history` is stored nowhere. It holds the events that really happened, and the
/// properties compare it with the data of the database and the answers to the callers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    clock: u8,
    subscription: Subscription,
    records: [Option<Record>; 2],
    callers: [Caller; 2],
    sent: BTreeSet<Write>,
    pause: Pause,
    /// Last tick at which a sweep read that executions are not paused.
    look: Option<u8>,
    history: Vec<Event>,
}

/// The operator's pause of executions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pause {
    Never,
    Since(u8),
    Over,
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

/// Id of a decision and of the write that carries it, new for each decision. For a decision to cancel, it is the cancellation
/// id.
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

/// Life of a record: from the clock at the moment of the write, which only the model knows, until the stored expiry.
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
    /// The requested tick is not later than the request.
    NotInFuture,
    Mismatch,
}

/// A caller together with the function that works for it. If the function dies, gives up, or answers 503 or "locked", the
/// caller knows nothing of the outcome, and asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Ready { attempt: u8 },
    Reading { attempt: u8, now: u8, record: Option<Option<Record>>, subscription: Option<Subscription> },
    Writing { write: Write },
    Answered(Told),
    GaveUp,
}

/// The final answer to a caller, the attempt that got it, and the life of the key to which it belongs.
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
    Executed {
        entry: Pending,
        in_time: bool,
        /// Number of ticks since executions were paused, if they are.
        paused_for: Option<u8>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Change {
    id: Id,
    /// The pending cancellation after the change. `None` after a withdrawal.
    pending: Option<Pending>,
    /// The key of the request, and the life that the key has from this change on.
    key: Option<(usize, Life)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Tick,
    DeleteRecord(usize),
    Begin(usize),
    ReadRecord(usize),
    ReadSubscription(usize),
    /// The write is carried out, and the function of its caller receives the outcome.
    WriteAndHear(usize),
    /// The write was carried out before, and its acknowledgement was lost. The database recognises the token and confirms the
    /// write again.
    WriteRecognised(usize),
    /// A write is carried out, and nobody receives the outcome: the acknowledgement is lost, or the sender is gone.
    WriteUnheard(Id),
    Crash(usize),
    Pause,
    Resume,
    /// A sweep reads whether executions are paused.
    Look,
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
            pause: Pause::Never,
            look: None,
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
                    // With a key, the record protects the write when the database no longer knows the token. Without a key,
                    // only the token protects it. The token outlives every function by far.
                    let has_key = self.requests[who].key.is_some();
                    if !done_before || has_key || self.flaw == Some(Flaw::NoToken) {
                        actions.push(Action::WriteAndHear(who));
                    }
                    actions.push(Action::Crash(who));
                }
                Caller::Answered(_) | Caller::GaveUp => {}
            }
        }
        // A write stays in `sent` after it was carried out. This covers a lost acknowledgement, a repetition by the SDK and a
        // late write. It also covers a lost write, because no action has to be taken.
        actions.extend(state.sent.iter().map(|write| Action::WriteUnheard(write.id)));
        // A sweep may hold any entry that the index has ever shown, however stale, and may send its write at any time, any
        // number of times. This covers sweeps that overlap, crash, repeat themselves or lag behind. With a pause, it has read
        // a while ago that there is none.
        if self.pauses {
            actions.extend((state.pause == Pause::Never).then_some(Action::Pause));
            actions.extend(matches!(state.pause, Pause::Since(_)).then_some(Action::Resume));
            actions.push(Action::Look);
        }
        let shown = state.changes().filter_map(|change| change.pending);
        let due = shown.filter(|entry| entry.due <= state.clock && self.may_execute(state));
        actions.extend(due.map(Action::Sweep));
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
            Action::Pause => state.pause = Pause::Since(state.clock),
            Action::Resume => state.pause = Pause::Over,
            Action::Look => {
                let is_paused =
                    matches!(state.pause, Pause::Since(_)) && self.flaw != Some(Flaw::PauseUnread);
                state.look = if is_paused { state.look } else { Some(state.clock) };
            }
            Action::Sweep(entry) => self.execute(&mut state, entry),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promise::properties(self)
    }
}

impl Commit {
    /// Returns the protocol for these requests, without a flaw.
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
            pauses: false,
        }
    }

    /// Returns true if a sweep may have read a while ago that executions are not paused.
    fn may_execute(&self, state: &State) -> bool {
        let counts = |look: u8| look + LOOK_LIFE >= state.clock || self.flaw == Some(Flaw::LookForEver);
        !self.pauses || state.look.is_some_and(counts)
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

    // One BatchGetItem fetches both items, but it is not a snapshot: a commit may happen between the two reads.
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

    // The work after the second read touches nothing that is shared, so it needs no step of its own.
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
            // Without a token, the id in the item shows that this write changed it, unless another write has changed it since.
            // A withdrawal leaves no id.
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
    /// Returns the pending cancellation after the decision `id` was carried out.
    fn pending(self, id: Id) -> Option<Pending> {
        match self {
            Asked::CancelAt(due) => Some(Pending { id, due }),
            Asked::Withdraw => None,
        }
    }
}

impl State {
    /// Returns the state without the writes that can only be refused. A write against an older version is always refused,
    /// because versions only grow. A write is also refused if its key has the record of a request that is not older, because
    /// that record outlives the write. If nobody receives the reply, a refusal changes nothing, so it makes no difference
    /// whether such a write is still under way.
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
