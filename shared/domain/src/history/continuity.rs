//! Continuity: the entries of a history are a chain, so a missing one shows.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};

use super::HistoryEntry;
use crate::cancellation::{Cancellation, CancellationState};
use crate::origin::Cause;
use crate::stored::{Revision, StoredSubscription};

/// A fault of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryFault {
    /// The entries after the revision `after` are missing, up to that of `last`. Without `after`, there is none before `last`.
    Missing {
        /// The last entry before the gap.
        after: Option<Revision>,
        /// The last entry that is missing.
        last: Revision,
    },
    /// An entry does not say which revision it follows, though an earlier entry exists.
    Interrupted {
        /// The latest earlier entry.
        after: Revision,
        /// The entry that follows no revision.
        at: Revision,
    },
    /// An entry follows a version that is not the one before it.
    Skipped {
        /// The version that the entry follows.
        after: Revision,
        /// The entry.
        at: Revision,
    },
    /// The subscription is not as its last entry says.
    Differs(Revision),
}

impl HistoryFault {
    /// True if the entry of this revision is missing, and known to have existed.
    #[must_use]
    pub fn misses(&self, revision: &Revision) -> bool {
        matches!(self, Self::Missing { last, .. } if last == revision)
    }
}

impl fmt::Display for HistoryFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { after: None, last } => {
                write!(formatter, "the entries up to version {} are missing", last.version)
            }
            Self::Missing { after: Some(after), last } if last.follows(after) => {
                write!(formatter, "the entry of version {} is missing", last.version)
            }
            Self::Missing { after: Some(after), last } => {
                let first = after.version.saturating_add(1);
                write!(formatter, "the entries of versions {first} to {} are missing", last.version)
            }
            Self::Interrupted { after, at } => {
                let (after, at) = (after.version, at.version);
                write!(formatter, "the entry of version {at} does not say that it follows version {after}")
            }
            Self::Skipped { after, at } => {
                write!(formatter, "the version leaps from {} to {}", after.version, at.version)
            }
            Self::Differs(last) => {
                write!(formatter, "the subscription is not as the entry of version {} says", last.version)
            }
        }
    }
}

/// The entries that led to a state, without those of states that are gone: after the table was restored, or the subscription was
/// removed and added again, versions repeat.
#[derive(Clone, Debug)]
pub struct Line {
    awaited: Revision,
}

impl Line {
    /// The line that ends with the entry of this revision.
    #[must_use]
    pub fn to(revision: Revision) -> Self {
        Self { awaited: revision }
    }

    /// True if the entry is the next of the line. The entries come in the order of their revisions, the newest first. Where an
    /// entry is missing, the line goes on with the next one.
    pub fn takes(&mut self, entry: &HistoryEntry) -> bool {
        let HistoryEntry { revision, follows, .. } = entry;
        let is_next = *revision == self.awaited || revision.version < self.awaited.version;
        if is_next {
            let before = Revision { version: revision.version, write_id: None };
            self.awaited = follows.clone().unwrap_or(before);
        }
        is_next
    }
}

/// The result of [`verify`].
#[derive(Debug)]
pub struct Verified<'e> {
    /// The entries that led to the subscription as it is, the newest first.
    pub line: Vec<&'e HistoryEntry>,
    /// The other entries: of states that are gone, because the table was restored or the subscription was removed and added again.
    pub elsewhere: Vec<&'e HistoryEntry>,
    /// The faults, from the newest entry to the oldest.
    pub faults: Vec<HistoryFault>,
}

/// Checks that the entries lead to the subscription as it is, without a gap.
///
/// A subscription that was there before its history began, and has not changed since, needs no entry.
#[must_use]
pub fn verify<'e>(stored: &StoredSubscription, entries: &'e [HistoryEntry]) -> Verified<'e> {
    let mut left: Vec<_> = entries.iter().collect();
    left.sort_by_key(|entry| entry.revision.version);
    let (mut line, mut faults) = (Vec::new(), Vec::new());
    let may_have_none = stored.origin.as_ref().is_none_or(|origin| origin.cause == Cause::Imported);
    let mut next = Some(stored.revision.clone()).filter(|_| !left.is_empty() || !may_have_none);
    while let Some(revision) = next.take() {
        let earlier = |left: &[&HistoryEntry]| {
            let before = left.iter().rfind(|entry| entry.revision.version < revision.version);
            before.map(|entry| entry.revision.clone())
        };
        let Some(place) = left.iter().position(|entry| entry.revision == revision) else {
            // Where the chain breaks, it goes on with the latest entry before.
            next = earlier(&left);
            faults.push(HistoryFault::Missing { after: next.clone(), last: revision });
            continue;
        };
        let entry = left.remove(place);
        if line.is_empty() && faults.is_empty() && !entry.agrees_with(stored) {
            faults.push(HistoryFault::Differs(revision.clone()));
        }
        next = entry.follows.clone();
        match &next {
            Some(after) if revision.follows(after) => {}
            Some(after) => faults.push(HistoryFault::Skipped { after: after.clone(), at: revision.clone() }),
            None => {
                next = earlier(&left);
                let interrupted = |after| HistoryFault::Interrupted { after, at: revision.clone() };
                faults.extend(next.clone().map(interrupted));
            }
        }
        line.push(entry);
    }
    Verified { line, elsewhere: left, faults }
}

/// The entry of the last change of a subscription, as far as the subscription and its other entries say what it was. `otherwise` is
/// the time of the entry if nothing says that.
#[must_use]
pub fn last_entry(
    stored: &StoredSubscription,
    entries: &[HistoryEntry],
    otherwise: DateTime<Utc>,
) -> HistoryEntry {
    // Another system leaves the write id and the origin of the write before, which has an entry already.
    let is_foreign = entries.iter().any(|entry| entry.revision.write_id == stored.revision.write_id);
    let origin = stored.origin.clone().filter(|_| !is_foreign);
    let entry = HistoryEntry::of_present(&stored.clone().made_by(origin), otherwise);
    // With entries of a state that is gone, nothing says which state was changed.
    let versions: BTreeSet<_> = entries.iter().map(|entry| entry.revision.version).collect();
    let is_one_line = versions.len() == entries.len() && versions.last() < Some(&stored.revision.version);
    let is_before = |entry: &&HistoryEntry| is_one_line && stored.revision.follows(&entry.revision);
    let Some(before) = entries.iter().find(is_before) else { return entry };
    let was_pending = before.cancellation.as_ref().filter(|(_, state)| *state == CancellationState::Pending);
    let id = |cancellation: &Cancellation| cancellation.cancellation_id;
    let is_another =
        |was: &&Cancellation| entry.cancellation.as_ref().is_some_and(|(is, _)| id(is) != id(was));
    let replaced =
        was_pending.map(|(was, _)| was).filter(is_another).filter(|_| entry.cause == Cause::Replaced);
    HistoryEntry { follows: Some(before.revision.clone()), replaced: replaced.cloned(), ..entry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;
    use crate::history::tests::{entries, history, states};
    use crate::origin::Source;

    #[test]
    fn a_history_is_complete_if_its_entries_lead_to_the_subscription_without_a_gap() {
        let states = states();
        let all = history(&states);
        let verified = verify(&states[3], &all);
        assert_eq!((verified.line.len(), verified.elsewhere.len(), verified.faults), (4, 0, vec![]));

        let faults = |entries: &[HistoryEntry]| {
            verify(&states[3], entries).faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let without = |versions: &[u64]| {
            let is_kept = |entry: &&HistoryEntry| !versions.contains(&entry.revision.version);
            all.iter().filter(is_kept).cloned().collect::<Vec<_>>()
        };
        assert_eq!(faults(&without(&[4])), ["the entry of version 4 is missing"]);
        assert_eq!(faults(&without(&[3])), ["the entry of version 3 is missing"]);
        assert_eq!(faults(&without(&[3, 4])), ["the entries of versions 3 to 4 are missing"]);
        assert_eq!(faults(&without(&[1])), ["the entries up to version 1 are missing"]);
        assert_eq!(faults(&without(&[1, 2, 3, 4])), ["the entries up to version 4 are missing"]);
        let mut unlinked = all.clone();
        unlinked[2].follows = None;
        assert_eq!(faults(&unlinked), ["the entry of version 3 does not say that it follows version 2"]);
        let mut leaping = without(&[2]);
        leaping[1].follows = Some(states[0].revision.clone());
        assert_eq!(faults(&leaping), ["the version leaps from 1 to 3"]);
        let mut other = all.clone();
        other[3].status = Status::Paused;
        assert_eq!(faults(&other), ["the subscription is not as the entry of version 4 says"]);
    }

    #[test]
    fn entries_of_states_that_are_gone_are_no_fault() {
        let states = states();
        let all = history(&states);
        // The table was restored to version 2, and changed in another way.
        let other = decide_withdrawal(
            Some(states[1].clone()),
            &Asking { ids: NewIds { write: "w9".parse().unwrap(), ..asking().ids }, ..asking() },
        );
        let other = changed(other);
        let entry = entries(Some(&states[1]), &other).pop().unwrap();
        let verified_with = |entries: &[HistoryEntry]| {
            let verified = verify(&other, entries);
            let revisions = |entries: &[&HistoryEntry]| {
                entries.iter().map(|entry| entry.revision.version).collect::<Vec<_>>()
            };
            (revisions(&verified.line), revisions(&verified.elsewhere), verified.faults)
        };
        let with_other: Vec<_> = all.iter().cloned().chain([entry]).collect();
        assert_eq!(verified_with(&with_other), (vec![3, 2, 1], vec![3, 4], vec![]));

        // The newest entries first, as callers read them.
        let mut sorted = with_other.clone();
        sorted.sort_by_key(|entry| std::cmp::Reverse(entry.revision.to_string()));
        let mut line = Line::to(other.revision.clone());
        let taken = sorted.iter().filter(|entry| line.takes(entry)).map(|entry| &entry.revision);
        assert_eq!(taken.collect::<Vec<_>>(), [&other.revision, &states[1].revision, &states[0].revision]);
        // The subscription was there before the history began, and has not changed since.
        let imported = &states[0];
        assert!(verify(imported, &[]).faults.is_empty());
    }

    #[test]
    fn the_last_entry_is_known_from_the_subscription_and_the_entry_before() {
        let states = states();
        let all = history(&states);
        let last = |stored: &StoredSubscription, entries: &[HistoryEntry]| {
            last_entry(stored, entries, "2026-02-02T00:00:00Z".parse().unwrap())
        };
        for place in 1..4 {
            assert_eq!(last(&states[place], &all[..place]), all[place], "{place}");
        }
        // Without the entry before, nothing says what was replaced. With an entry of a state that is gone, nothing says what was changed.
        assert!(last(&states[2], &all[..1]).replaced.is_none());
        assert_eq!(last(&states[2], &all[..1]).follows, None);
        assert_eq!(last(&states[2], &[&all[..2], &all[3..]].concat()).follows, None);
        // Another system wrote, and left the write id and the origin.
        let mut foreign = states[3].clone();
        foreign.revision.version += 1;
        let entry = last(&foreign, &all);
        assert_eq!((entry.cause, entry.source), (Cause::Imported, Source::Import));
        assert_eq!((entry.requested_by, entry.request_id), (None, None));
        assert_eq!(entry.follows.as_ref(), Some(&states[3].revision));
    }
}
