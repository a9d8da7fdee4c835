//! A stand-in for a queue of Amazon SQS: keeps the events and deliveries that `deliver-webhooks` handles, in a file or in memory.
//!
//! As in SQS, a message can be delayed, comes again if it was not handled, and belongs to a group. Groups are treated more fairly
//! than SQS promises: the next message is always of the group that has the fewest in progress. A message that was not handled comes
//! again after a second at first, then ever later, up to ten minutes. It is never dropped, where a queue on AWS has a dead-letter queue.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, params};
use tokio::sync::Notify;
use uuid::Uuid;

/// Longest pause before a message comes again that was not handled.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(10);
/// Most messages of one group in progress. So a receiver that does not answer leaves room for the others.
const MOST_OF_A_GROUP: u32 = 20;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA secure_delete = ON;
    CREATE TABLE IF NOT EXISTS messages
        (id TEXT PRIMARY KEY, body TEXT NOT NULL, of_group TEXT NOT NULL, due INTEGER NOT NULL, times INTEGER NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS due_of_group ON messages (of_group, due);";

/// The groups, one after the other by their index.
const GROUPS: &str = "
    WITH RECURSIVE groups (of_group) AS (
        SELECT min(of_group) FROM messages
        UNION ALL
        SELECT (SELECT min(of_group) FROM messages WHERE of_group > groups.of_group) FROM groups WHERE of_group IS NOT NULL
    ) SELECT of_group FROM groups WHERE of_group IS NOT NULL";

/// A queue.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    added: Notify,
}

#[derive(Debug)]
struct State {
    file: Connection,
    /// The messages in progress, with their groups.
    in_progress: HashMap<String, String>,
}

/// A message that is given to the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The id.
    pub id: String,
    /// The body.
    pub body: String,
}

/// A message to add.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The body.
    pub body: String,
    /// The group; empty for events, which have none.
    pub group: String,
    /// The time before which it is not given to the function.
    pub delay: TimeDelta,
}

impl Queue {
    /// Opens the queue in a file, or in memory. Messages that were in progress at the end of an earlier process come again.
    ///
    /// # Errors
    /// The file can't be read or written, or is no queue.
    pub fn open(file: Option<&Path>) -> rusqlite::Result<Self> {
        let file = file.map_or_else(Connection::open_in_memory, Connection::open)?;
        file.execute_batch(SCHEMA)?;
        let state = State { file, in_progress: HashMap::new() };
        Ok(Self { state: Mutex::new(state), added: Notify::new() })
    }

    /// Adds messages: all, or none.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn add(&self, messages: &[NewMessage], now: DateTime<Utc>) -> rusqlite::Result<()> {
        let mut state = self.state();
        let transaction = state.file.transaction()?;
        for NewMessage { body, group, delay } in messages {
            let due = (now + *delay).timestamp_millis();
            let values = params![Uuid::new_v4().to_string(), body, group, due];
            transaction.execute("INSERT INTO messages VALUES (?, ?, ?, ?, 0)", values)?;
        }
        transaction.commit()?;
        self.added.notify_one();
        Ok(())
    }

    /// Takes messages that are due, and are not in progress.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn take(&self, most: usize, now: DateTime<Utc>) -> rusqlite::Result<Vec<Message>> {
        let mut state = self.state();
        let mut taken = Vec::new();
        let mut groups = state.groups()?;
        while taken.len() < most {
            // Events come first: they have no group, and take no time.
            let next =
                groups.iter_mut().filter(|group| group.is_open()).min_by_key(|group| group.in_progress);
            let Some(group) = next else { break };
            match state.next_of(&group.name, now)? {
                Some(message) => {
                    group.in_progress += u32::from(!group.name.is_empty());
                    state.in_progress.insert(message.id.clone(), group.name.clone());
                    taken.push(message);
                }
                None => group.is_empty = true,
            }
        }
        Ok(taken)
    }

    /// Removes a message that was handled, or has it come again.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn conclude(&self, id: &str, is_handled: bool, now: DateTime<Utc>) -> rusqlite::Result<()> {
        let mut state = self.state();
        if is_handled {
            state.file.execute("DELETE FROM messages WHERE id = ?", [id])?;
        } else {
            let times: u32 =
                state.file.query_row("SELECT times FROM messages WHERE id = ?", [id], |row| row.get(0))?;
            let pause = (TimeDelta::seconds(1) * 2_i32.pow(times.min(10))).min(LONGEST_PAUSE);
            let values = params![(now + pause).timestamp_millis(), times + 1, id];
            state.file.execute("UPDATE messages SET due = ?, times = ? WHERE id = ?", values)?;
        }
        // Only now. If the file can't be written, the message would come again at once, and again.
        state.in_progress.remove(id);
        self.added.notify_one();
        Ok(())
    }

    /// Waits until a message was added or concluded.
    pub async fn changed(&self) {
        self.added.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group of messages, while some are taken.
struct Group {
    name: String,
    in_progress: u32,
    is_empty: bool,
}

impl Group {
    fn is_open(&self) -> bool {
        !self.is_empty && self.in_progress < MOST_OF_A_GROUP
    }
}

impl State {
    fn groups(&self) -> rusqlite::Result<Vec<Group>> {
        let mut statement = self.file.prepare_cached(GROUPS)?;
        let names = statement.query_map([], |row| row.get::<_, String>(0))?;
        names
            .map(|name| {
                let name = name?;
                let count =
                    self.in_progress.values().filter(|group| **group == name && !name.is_empty()).count();
                Ok(Group { name, in_progress: u32::try_from(count).unwrap_or(u32::MAX), is_empty: false })
            })
            .collect()
    }

    /// Returns the message of a group that has been due for longest, and is not in progress.
    fn next_of(&self, group: &str, now: DateTime<Utc>) -> rusqlite::Result<Option<Message>> {
        let mut statement = self.file.prepare_cached(
            "SELECT id, body FROM messages WHERE of_group = ? AND due <= ? ORDER BY due, rowid",
        )?;
        let mut rows = statement.query_map(params![group, now.timestamp_millis()], |row| {
            Ok(Message { id: row.get(0)?, body: row.get(1)? })
        })?;
        let is_free = |message: &rusqlite::Result<Message>| {
            message.as_ref().map_or(true, |message| !self.in_progress.contains_key(&message.id))
        };
        rows.find(is_free).transpose()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-01-31T22:00:00Z".parse().unwrap()
    }

    fn message(body: &str, group: &str, delay: i64) -> NewMessage {
        NewMessage { body: body.to_owned(), group: group.to_owned(), delay: TimeDelta::milliseconds(delay) }
    }

    fn bodies(messages: &[Message]) -> Vec<&str> {
        messages.iter().map(|message| message.body.as_str()).collect()
    }

    #[test]
    fn a_message_comes_when_it_is_due_and_is_gone_when_it_was_handled() {
        let queue = Queue::open(None).unwrap();
        queue.add(&[message("later", "a", 1), message("now", "a", 0)], now()).unwrap();
        let taken = queue.take(10, now()).unwrap();
        assert_eq!(bodies(&taken), ["now"]);
        assert_eq!(queue.take(10, now()).unwrap(), []);
        queue.conclude(&taken[0].id, true, now()).unwrap();
        let later = now() + TimeDelta::milliseconds(1);
        assert_eq!(bodies(&queue.take(10, later).unwrap()), ["later"]);
    }

    #[test]
    fn a_message_that_was_not_handled_comes_again_later_and_later() {
        let queue = Queue::open(None).unwrap();
        queue.add(&[message("x", "a", 0)], now()).unwrap();
        let (mut at, mut pauses) = (now(), Vec::new());
        for _ in 0..12 {
            let taken = queue.take(10, at).unwrap();
            queue.conclude(&taken[0].id, false, at).unwrap();
            let is_there = |then| queue.state().next_of("a", then).unwrap().is_some();
            let pause = (1..).find(|pause| is_there(at + TimeDelta::seconds(*pause))).unwrap();
            assert!(!is_there(at + TimeDelta::seconds(pause) - TimeDelta::milliseconds(1)));
            pauses.push(pause);
            at += TimeDelta::seconds(pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }

    #[test]
    fn the_groups_take_turns_and_events_come_first() {
        let queue = Queue::open(None).unwrap();
        let many: Vec<_> = (0..30).map(|n| message(&format!("a{n}"), "a", 0)).collect();
        queue.add(&many, now()).unwrap();
        queue.add(&[message("b0", "b", 0), message("b1", "b", 0), message("event", "", 0)], now()).unwrap();
        assert_eq!(bodies(&queue.take(6, now()).unwrap()), ["event", "a0", "b0", "a1", "b1", "a2"]);
        // One group never has all.
        let most = usize::try_from(MOST_OF_A_GROUP).unwrap();
        assert_eq!(queue.take(100, now()).unwrap().len(), most - 3);
    }

    #[test]
    fn messages_outlive_the_process_also_those_in_progress() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("queue.sqlite");
        let queue = Queue::open(Some(&file)).unwrap();
        queue.add(&[message("x", "a", 0), message("y", "a", 0)], now()).unwrap();
        let taken = queue.take(1, now()).unwrap();
        assert_eq!(bodies(&taken), ["x"]);
        drop(queue);
        assert_eq!(bodies(&Queue::open(Some(&file)).unwrap().take(10, now()).unwrap()), ["x", "y"]);
    }
}
