//! One write for everything a request decided: the change and the record of its answer, together.
//!
//! Of two equal requests, the first to commit takes effect. The other finds the record in the failure of its own transaction, and
//! gives the recorded answer ([`idempotency`]).
//!
//! A change without a record is a transaction too. A plain update that is sent again could not tell its own earlier success from a
//! change by another writer, and would undo that.

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure as OnFailure;
use domain::change::Change;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::stored::StoredSubscription;
use dynamodb::{FailedCondition, Patience, Transaction, Written, invalid};
use idempotency::{Attempt, Commit, Outcome};

use super::answer::Answer;
use super::items::read_subscription;
use super::update::ItemUpdate;
use super::{Admin, Store, StoreError};

/// The outcome of a commit.
pub enum Committed {
    /// Everything was written, and this is the answer.
    Done(Answer),
    /// Nothing was written: an earlier attempt with the idempotency key was answered like this.
    Replayed(Answer),
    /// Nothing was written: the idempotency key belongs to another request.
    Mismatch,
    /// Nothing was written: the subscription has changed, to this.
    Changed(Option<Box<StoredSubscription>>),
}

/// The outcome of a change that has no answer to record.
pub enum Changing {
    /// The change was written.
    Done,
    /// Nothing was written: the subscription has changed, to this.
    Met(Option<Box<StoredSubscription>>),
}

impl Store {
    /// Prepares to write the change of a request and the record of its answer, both or neither. Without a change, only the record
    /// is written; without an attempt, only the change.
    ///
    /// # Errors
    /// A part can't be stored. The types rule that out, so this would be a defect of the service.
    pub fn prepare(
        &self,
        tenant: &TenantId,
        change: Option<(SubscriptionId, &Change)>,
        attempt: Option<Attempt>,
        answer: Answer,
    ) -> Result<Commit<Answer>, StoreError> {
        let effect = change.map(|(id, change)| {
            let update = ItemUpdate::new(tenant, id, change)?;
            update.in_transaction(&self.tables.subscriptions, OnFailure::AllOld)
        });
        self.records().prepare(tenant, attempt, answer, effect.transpose()?.into_iter().collect())
    }

    /// Writes a prepared commit, all of it or nothing. It is done once.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another write was under way all the time: the last attempt wrote nothing. If the database became
    /// unavailable, everything may have been written or nothing. Repeating the same request tells which.
    pub async fn commit(&self, commit: Commit<Answer>) -> Result<Committed, StoreError> {
        Ok(match self.records().commit(commit).await? {
            Outcome::Done(answer) => Committed::Done(answer),
            Outcome::Replayed(answer) => Committed::Replayed(answer),
            Outcome::Mismatch => Committed::Mismatch,
            Outcome::Refused(conditions) => Committed::Changed(current(conditions)?),
        })
    }
}

impl Admin {
    /// Writes a change that has no answer to record. It is done once.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another write was under way all the time; otherwise the database is unavailable or refuses.
    pub async fn change(
        &self,
        tenant: &TenantId,
        id: SubscriptionId,
        change: &Change,
        patience: Patience,
    ) -> Result<Changing, StoreError> {
        let update = ItemUpdate::new(tenant, id, change)?;
        let write = update.in_transaction(&self.tables.subscriptions, OnFailure::AllOld)?;
        match Transaction::new(vec![write]).write(&self.client, patience).await? {
            Written::All => Ok(Changing::Done),
            Written::Refused(conditions) => Ok(Changing::Met(current(conditions)?)),
            Written::Invalid => Err(invalid()),
        }
    }
}

/// Returns the subscription that made the condition of its write fail.
pub(super) fn current(
    conditions: Vec<Option<FailedCondition>>,
) -> Result<Option<Box<StoredSubscription>>, StoreError> {
    let failed = conditions.into_iter().flatten().next();
    let FailedCondition(item) = failed.ok_or(StoreError::Conflict)?;
    Ok(item.map(read_subscription).transpose()?.map(Box::new))
}
