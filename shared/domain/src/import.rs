//! Importing: the documents that are accepted, and the stored subscriptions that they may replace.
//!
//! A document is checked as a whole before anything is done with it. It replaces a stored subscription only if the operator asks
//! for that. It undoes or changes a pending or executed cancellation, or brings a withdrawn one back, only if the operator asks for
//! that as well, because a file may be older than a customer's request.

mod fault;
mod new;
mod unseen;

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

pub use self::new::{InvalidSubscription, NewSubscription, fault_at};
use self::unseen::keep_unseen;
use crate::change::{CancellationEdit, Change, DecidedFrom, DocumentChange, Edit, updated_at};
use crate::document::{StoredDocument, StoredValue, is_same, stored_value};
use crate::identifiers::{ReferenceId, SubscriptionId};
use crate::origin::{Author, Cause, Origin};
use crate::search::SearchTerms;
use crate::standing::{Contradiction, Standing};
use crate::stored::StoredSubscription;
use crate::subscription::Status;

/// The treatment of a stored subscription that differs from the imported document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The stored subscription stays as it is.
    Keep,
    /// The imported document replaces the stored one, unless that would undo or change a pending or executed cancellation, or bring
    /// back a withdrawn one, or what was erased.
    Update,
    /// The imported document and its cancellation replace the stored ones. If the document has no cancellation, none is pending
    /// afterwards.
    Overwrite,
}

/// The rules that the operator chose for an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The treatment of stored subscriptions.
    pub existing: Existing,
    /// True if a cancellation is accepted whose date has begun. It is executed at once.
    pub takes_overdue: bool,
}

/// The item that is stored under the id of an imported subscription.
pub enum Present {
    /// A subscription.
    Subscription(Box<PresentSubscription>),
    /// An item that can't be read as a subscription.
    Unreadable(UnreadableItem),
}

/// A stored subscription with its whole document.
#[derive(Clone)]
pub struct PresentSubscription {
    /// The part that this service knows.
    pub stored: StoredSubscription,
    /// The whole document, with members that this service does not know.
    pub document: StoredDocument,
}

/// The readable parts of an item that can't be read as a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableItem {
    /// The version, a value of any type; `None` if the item has none.
    pub version: Option<StoredValue>,
    /// The reference id, if one can be read.
    pub reference_id: Option<ReferenceId>,
    /// True if the due index has the item, so that a cancellation was pending.
    pub is_due: bool,
}

/// The stage of a subscription's cancellation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// No cancellation exists.
    None,
    /// The cancellation takes effect on this date.
    Pending(Option<NaiveDate>),
    /// The cancellation took effect at this instant.
    Done(Option<DateTime<Utc>>),
    /// A caller withdrew the cancellation.
    Withdrawn,
    /// The document says that a cancellation is pending, but nothing will execute it: another system wrote the document.
    Forgotten,
    /// The parts of the subscription contradict each other in another way.
    Contradictory,
}

impl Stage {
    fn of(stored: &StoredSubscription) -> Self {
        let document = &stored.document;
        match stored.standing() {
            Standing::Contradictory(Contradiction::NotInIndex) => Self::Forgotten,
            Standing::Contradictory(_) => Self::Contradictory,
            Standing::Pending => {
                Self::Pending(document.pending_status.as_ref().map(|pending| pending.scheduled_at))
            }
            Standing::NotPending if document.status == Status::Cancelled => Self::Done(document.cancelled_at),
            Standing::NotPending => {
                let kept = stored.cancellation.as_ref();
                let is_withdrawn = kept.is_some_and(|kept| kept.withdrawn_at.is_some());
                if is_withdrawn { Self::Withdrawn } else { Self::None }
            }
        }
    }

    fn of_new(new: &NewSubscription) -> Self {
        match (new.subscription.status, &new.cancellation) {
            (Status::Cancelled, _) => Self::Done(new.subscription.cancelled_at),
            (_, Some(pending)) => Self::Pending(pending.scheduled_at),
            (_, None) => Self::None,
        }
    }
}

/// The decision about an imported document.
#[derive(Clone, Debug, PartialEq)]
pub enum ImportDecision {
    /// Write the document.
    Write(Box<ImportWrite>),
    /// Write nothing: the stored document is the same.
    Unchanged,
    /// Write nothing: the stored subscription is to be kept.
    Keep,
    /// Write nothing: the reference id belongs to another subscription.
    ReferenceTaken,
    /// Write nothing: the subscription would be cancelled at once, because the date of its cancellation has begun.
    Overdue,
    /// Write nothing: the stored item can't be read.
    Unreadable,
}

/// The writes of an import.
#[derive(Clone, PartialEq)]
pub struct ImportWrite {
    /// The change of the subscription.
    pub change: Change,
    /// The reference id that names the subscription from now on.
    pub named: Option<ReferenceId>,
    /// The reference id that the subscription had, and no longer has.
    pub freed: Option<ReferenceId>,
    /// The effect on the stored subscription.
    pub effect: ImportEffect,
}

/// Shows the effect only, because most of a document may be personal.
impl fmt::Debug for ImportWrite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ImportWrite").field("effect", &self.effect).finish_non_exhaustive()
    }
}

/// The effect of an import that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportEffect {
    /// The subscription is added.
    Added,
    /// The subscription is replaced.
    Replaced,
    /// The subscription is replaced. In addition, a pending or executed cancellation is undone or changed, or a withdrawn one comes
    /// back.
    Undone,
}

/// Decides about a document that `author` imports at `now`, from the item that is stored under its id and the subscription that has
/// its reference id.
#[must_use]
pub fn decide_import(
    new: &NewSubscription,
    present: Option<&Present>,
    reference_is_of: Option<SubscriptionId>,
    rules: Rules,
    author: &Author,
    now: DateTime<Utc>,
) -> ImportDecision {
    let decision = match present {
        None => ImportDecision::Write(Box::new(decide_addition(new, author, now))),
        Some(Present::Subscription(present)) => decide_replacement(new, present, rules.existing, author, now),
        Some(Present::Unreadable(item)) => decide_rewriting(new, item, rules.existing, author, now),
    };
    let ImportDecision::Write(write) = &decision else {
        return decision;
    };
    let keeps_cancellation = write.change.cancellation == CancellationEdit::Keep;
    if reference_is_of.is_some_and(|owner| owner != new.id()) {
        ImportDecision::ReferenceTaken
    } else if new.is_overdue(now) && !keeps_cancellation && !rules.takes_overdue {
        ImportDecision::Overdue
    } else {
        decision
    }
}

fn decide_addition(new: &NewSubscription, author: &Author, now: DateTime<Utc>) -> ImportWrite {
    let mut change = new.change(DecidedFrom::Nothing, new.document.clone(), author, now);
    if new.cancellation.is_none() {
        // There is nothing to remove.
        change = change.keeping_cancellation();
    }
    ImportWrite { change, named: new.reference_id().cloned(), freed: None, effect: ImportEffect::Added }
}

fn decide_replacement(
    new: &NewSubscription,
    present: &PresentSubscription,
    existing: Existing,
    author: &Author,
    now: DateTime<Utc>,
) -> ImportDecision {
    let PresentSubscription { stored, document: stored_document } = present;
    let stage = Stage::of(stored);
    let mut document = new.document.clone();
    let keeps_cancellation = match (&stage, Stage::of_new(new)) {
        (Stage::Contradictory | Stage::Forgotten, _) => false,
        // The new document has no `cancelledAt`, so the stored one is kept.
        (Stage::Done(_), Stage::Done(None)) => {
            let name = "cancelledAt".to_owned();
            document.extend(stored_document.get(&name).map(|at| (name, at.clone())));
            true
        }
        (Stage::Withdrawn, Stage::None) => true,
        (stage, of_new) => *stage == of_new,
    };
    keep_unseen(&mut document, &stored.document, stored_document);
    // The `updatedAt` of a file that is not newer does not count as a difference.
    let before = stored.document.updated_at;
    let is_newer = new.subscription.updated_at > before;
    if !is_newer {
        set_updated_at(&mut document, before);
    }
    if keeps_cancellation && is_same(stored_document, &document) {
        return ImportDecision::Unchanged;
    }
    let is_erased = stored.origin.as_ref().is_some_and(|origin| origin.cause == Cause::Erased);
    let undoes_cancellation = !keeps_cancellation && !matches!(stage, Stage::None | Stage::Forgotten);
    let keep = match existing {
        Existing::Keep => true,
        Existing::Update => undoes_cancellation || is_erased,
        Existing::Overwrite => false,
    };
    if keep {
        return ImportDecision::Keep;
    }
    if !is_newer && before.is_some() {
        set_updated_at(&mut document, Some(updated_at(before, now)));
    }
    let mut change = new.change(DecidedFrom::Version(stored.revision.version), document, author, now);
    if keeps_cancellation {
        change = change.keeping_cancellation();
    }
    ImportDecision::Write(Box::new(ImportWrite {
        change,
        named: new.reference_id().cloned(),
        freed: new.freed(stored.document.reference_id.as_ref()),
        effect: if undoes_cancellation { ImportEffect::Undone } else { ImportEffect::Replaced },
    }))
}

/// Decides about a stored item that can't be read. It is replaced only if the operator asks to overwrite.
fn decide_rewriting(
    new: &NewSubscription,
    item: &UnreadableItem,
    existing: Existing,
    author: &Author,
    now: DateTime<Utc>,
) -> ImportDecision {
    if existing != Existing::Overwrite {
        return ImportDecision::Unreadable;
    }
    let mut document = new.document.clone();
    set_updated_at(&mut document, Some(updated_at(new.subscription.updated_at, now)));
    ImportDecision::Write(Box::new(ImportWrite {
        change: new.change(DecidedFrom::Unreadable(item.version.clone()), document, author, now),
        named: new.reference_id().cloned(),
        freed: new.freed(item.reference_id.as_ref()),
        effect: if item.is_due { ImportEffect::Undone } else { ImportEffect::Replaced },
    }))
}

impl NewSubscription {
    /// The change that stores this document and its cancellation. If it has none, the stored cancellation is removed.
    fn change(
        &self,
        decided_from: DecidedFrom,
        document: StoredDocument,
        author: &Author,
        now: DateTime<Utc>,
    ) -> Change {
        let cancellation = self.cancellation.as_ref();
        Change {
            decided_from,
            write_id: self.write_id.clone(),
            origin: Origin { at: Some(now), ..author.change(Cause::Imported) },
            document: DocumentChange::Whole(document),
            cancellation: cancellation
                .cloned()
                .map(Box::new)
                .map_or(CancellationEdit::Remove, CancellationEdit::Set),
            cancellation_id: cancellation.map_or(Edit::Remove, |new| Edit::Set(new.cancellation_id)),
            due_at: cancellation.map_or(Edit::Remove, |new| Edit::Set(new.effective_at)),
            search_terms: Some(SearchTerms::of(&self.subscription)),
        }
    }

    /// The former reference id, unless it stays.
    fn freed(&self, former: Option<&ReferenceId>) -> Option<ReferenceId> {
        former.filter(|former| Some(*former) != self.reference_id()).cloned()
    }
}

fn set_updated_at(document: &mut StoredDocument, at: Option<DateTime<Utc>>) {
    let name = "updatedAt";
    match at.and_then(stored_value) {
        Some(at) => document.insert(name.to_owned(), at),
        None => document.remove(name),
    };
}

#[cfg(test)]
mod tests;
