//! The database, and the only place where conditions are checked. A commit is refused if its key has a record or the
//! subscription has a newer version. The refusal returns that record or subscription. Otherwise the whole commit is carried out
//! at once. Each condition has a [`Flaw`] that leaves it out, so that the tests can show that the condition is needed and that
//! the properties notice its absence.

use super::*;

/// A condition of the protocol that is left out.
#[derive(Clone, Copy, PartialEq)]
pub enum Flaw {
    /// Two writes instead of one transaction: first the subscription, then the record.
    SeparateWrites,
    NoVersionCondition,
    NoKeyCondition,
    /// A plain update without a ClientRequestToken, where there is no record to write.
    NoToken,
    /// A date that has begun is refused at once, and the key stays free.
    RefusalWithoutRecord,
    /// The only condition of an execution is that the subscription is not cancelled yet.
    ExecutionWithoutId,
    /// A sweep does not look whether executions are paused.
    PauseUnread,
    /// A sweep looks once, however long it takes.
    LookForEver,
}

/// One write request to the database. With a key it puts the record, with an update it changes the subscription, and with both
/// it is a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Write {
    pub(super) id: Id,
    pub(super) now: u8,
    pub(super) key: Option<usize>,
    pub(super) answer: Answer,
    pub(super) update: Option<Update>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Update {
    pub(super) version_read: u8,
}

pub(super) enum Reply {
    Done(Option<Life>),
    HalfDone,
    RecordStands(Record),
    VersionMoved(Subscription),
}

impl Commit {
    /// Checks every condition of a write, then carries out everything or nothing.
    pub(super) fn commit(&self, state: &mut State, write: Write) -> Reply {
        if let Some(refusal) = self.refusal(state, write) {
            return refusal;
        }
        let Write { id, now, key, answer, .. } = write;
        let asked = self.requests[id.caller].asked;
        let life = Life { from: state.clock, until: now + KEY_LIFE };
        let Parts { put, update } = self.parts(state, write);
        if let Some(key) = put {
            state.records[key] = Some(Record { fingerprint: asked, answer, life });
        }
        if let Some(Update { version_read }) = update {
            let pending = asked.pending(id);
            state.subscription.version = version_read + 1;
            state.subscription.pending = pending;
            state.history.push(Event::Changed(Change { id, pending, key: key.map(|key| (key, life)) }));
        }
        if key == put { Reply::Done(key.map(|_| life)) } else { Reply::HalfDone }
    }

    pub(super) fn refusal(&self, state: &State, write: Write) -> Option<Reply> {
        let Parts { put, update } = self.parts(state, write);
        let record = put.and_then(|key| state.records[key]).filter(|record| record.life.until > write.now);
        if let Some(record) = record
            && self.flaw != Some(Flaw::NoKeyCondition)
        {
            return Some(Reply::RecordStands(record));
        }
        if let Some(Update { version_read }) = update
            && state.subscription.version != version_read
            && self.flaw != Some(Flaw::NoVersionCondition)
        {
            return Some(Reply::VersionMoved(state.subscription));
        }
        None
    }

    /// Returns the parts of one request to the database: everything that has to be written, unless the writes are separate.
    fn parts(&self, state: &State, write: Write) -> Parts {
        let Write { id, key: put, update, .. } = write;
        if self.flaw == Some(Flaw::SeparateWrites) && put.is_some() && update.is_some() {
            if state.has_changed(id) { Parts { put, update: None } } else { Parts { put: None, update } }
        } else {
            Parts { put, update }
        }
    }

    /// Carries out the write of a sweep, with its conditions.
    pub(super) fn execute(&self, state: &mut State, entry: Pending) {
        let paused_for = match state.pause {
            Pause::Since(tick) => Some(state.clock - tick),
            Pause::Never | Pause::Over => None,
        };
        let subscription = &mut state.subscription;
        let same = subscription.pending == Some(entry) || self.flaw == Some(Flaw::ExecutionWithoutId);
        if same && subscription.cancelled_at.is_none() {
            subscription.cancelled_at = Some(entry.due);
            subscription.pending = None;
            subscription.version += 1;
            state.history.push(Event::Executed { entry, in_time: entry.due <= state.clock, paused_for });
        }
    }
}

struct Parts {
    put: Option<usize>,
    update: Option<Update>,
}
