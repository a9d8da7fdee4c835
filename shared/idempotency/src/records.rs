//! The table of records, and the transaction around an effect.
//!
//! The table has the hash key `pk`, a string, and a time to live by [`TTL_ATTRIBUTE`].

use std::fmt::Display;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem,
};
use chrono::{DateTime, TimeDelta};
use dynamodb::{
    Error, FailedCondition, Item, Patience, Transaction, Written, defect, invalid, refusal, try_again,
};

use crate::{Answer, Attempt, Key, Record, Verdict};

/// The attribute by which DynamoDB removes a record, in seconds since 1970.
pub const TTL_ATTRIBUTE: &str = "removeAt";

/// The time for which a record outlives its key: longer than any request may be under way that found the key taken. One that began
/// just before the key became free must not find the record gone, and take effect again.
const KEPT_LONGER: TimeDelta = TimeDelta::hours(1);

/// That no record has the key, or one that has expired.
const KEY_IS_FREE: &str = "attribute_not_exists(pk) OR expiresAt <= :now";

/// The table of records.
#[derive(Clone, Debug)]
pub struct Records {
    client: Client,
    table: String,
    lifetime: TimeDelta,
}

/// An effect and the record of its answer, ready to be written: both or neither. However often it is sent, it is done once.
pub struct Commit<A> {
    writes: Writes,
    answer: A,
}

enum Writes {
    Nothing,
    /// An effect without a record.
    Effect(Transaction),
    /// The record of an answer that changes nothing.
    Record(Item, Attempt),
    /// The record, and behind it the effect.
    Both(Transaction, Attempt),
}

/// The outcome of a commit.
#[derive(Debug)]
pub enum Outcome<A> {
    /// It is done, by this attempt.
    Done(A),
    /// Nothing was written: an earlier attempt with the key was answered like this.
    Replayed(A),
    /// Nothing was written: the key belongs to another request.
    Mismatch,
    /// Nothing was written: conditions of the effect failed. For each of its writes, whether its own did.
    Refused(Vec<Option<FailedCondition>>),
}

impl Records {
    /// The records in `table`. A key belongs to its first request for `lifetime`, to the second.
    pub fn new(client: Client, table: impl Into<String>, lifetime: TimeDelta) -> Self {
        Self { client, table: table.into(), lifetime }
    }

    /// The hash key of a record. Equal keys in two scopes (two tenants, two operations) are two keys.
    #[must_use]
    pub fn pk(scope: impl Display, key: &Key) -> String {
        // So that no two pairs have one hash key.
        let scope = scope.to_string().replace('%', "%25").replace('#', "%23");
        format!("{scope}#{}", key.as_str())
    }

    /// The record of a key, as it is now; it may have expired.
    ///
    /// # Errors
    /// The database can't be reached, or refuses, or holds something else under the key.
    pub async fn find<A: Answer>(&self, scope: impl Display, key: &Key) -> Result<Option<Record<A>>, Error> {
        let pk = AttributeValue::S(Self::pk(scope, key));
        let request = self.client.get_item().table_name(&self.table).key("pk", pk).consistent_read(true);
        request.send().await.map_err(Error::from_sdk)?.item.map(|item| Self::read(&item)).transpose()
    }

    /// The record that an item of the table is. For callers that read it together with other items.
    ///
    /// # Errors
    /// It is none, or its answer can't be read.
    pub fn read<A: Answer>(item: &Item) -> Result<Record<A>, Error> {
        let record = || {
            let Some(AttributeValue::B(fingerprint)) = item.get("fingerprint") else { return None };
            let Some(AttributeValue::N(expires_at)) = item.get("expiresAt") else { return None };
            let request_id = match item.get("requestId") {
                Some(AttributeValue::S(id)) => id.clone(),
                _ => String::new(),
            };
            Some(Record {
                fingerprint: <[u8; 32]>::try_from(fingerprint.as_ref()).ok()?.into(),
                answer: A::from_item(item)?,
                request_id,
                expires_at: DateTime::from_timestamp(expires_at.parse().ok()?, 0)?,
            })
        };
        // Callers make up keys, so those are never said.
        let scope = || match item.get("pk") {
            Some(AttributeValue::S(pk)) => pk.split('#').next().unwrap_or_default(),
            _ => "",
        };
        record().ok_or_else(|| Error::Defect(format!("an idempotency record of {} can't be read", scope())))
    }

    /// Prepares to write an effect and the record of its answer. Without an attempt there is no record; an answer that changes nothing
    /// has no effect.
    ///
    /// Only an answer that ends the matter is to be committed: one that says "later" would be given again, too.
    ///
    /// # Errors
    /// The answer can't be stored.
    pub fn prepare<A: Answer>(
        &self,
        scope: impl Display,
        attempt: Option<Attempt>,
        answer: A,
        effect: Vec<TransactWriteItem>,
    ) -> Result<Commit<A>, Error> {
        let writes = match attempt {
            None if effect.is_empty() => Writes::Nothing,
            None => Writes::Effect(Transaction::new(effect)),
            Some(attempt) => {
                let record = self.item(scope, &attempt, &answer)?;
                if effect.is_empty() {
                    Writes::Record(record, attempt)
                } else {
                    // The record is first: if there is one already, that is the answer, whatever became of the effect.
                    let writes = [vec![self.put_in_transaction(record, &attempt)?], effect].concat();
                    Writes::Both(Transaction::new(writes), attempt)
                }
            }
        };
        Ok(Commit { writes, answer })
    }

    /// Writes what was prepared, all of it or nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another write was under way all the time: nothing was written. If the database became unavailable, all
    /// may have been written or nothing; the same attempt again will tell.
    pub async fn commit<A: Answer>(&self, commit: Commit<A>) -> Result<Outcome<A>, Error> {
        let Commit { writes, answer } = commit;
        match writes {
            Writes::Nothing => Ok(Outcome::Done(answer)),
            Writes::Effect(transaction) => {
                match transaction.write(&self.client, Patience::OfRequest).await? {
                    Written::All => Ok(Outcome::Done(answer)),
                    Written::Refused(conditions) => Ok(Outcome::Refused(conditions)),
                    Written::Invalid => Err(invalid()),
                }
            }
            Writes::Record(record, attempt) => {
                match try_again(Patience::OfRequest, || self.put(&attempt, record.clone())).await? {
                    None => Ok(Outcome::Done(answer)),
                    Some(FailedCondition(item)) => found(&attempt, item),
                }
            }
            Writes::Both(transaction, attempt) => {
                match transaction.write(&self.client, Patience::OfRequest).await? {
                    Written::All => Ok(Outcome::Done(answer)),
                    Written::Invalid => Err(invalid()),
                    Written::Refused(conditions) => {
                        let mut conditions = conditions.into_iter();
                        match conditions.next().flatten() {
                            Some(FailedCondition(item)) => found(&attempt, item),
                            None => Ok(Outcome::Refused(conditions.collect())),
                        }
                    }
                }
            }
        }
    }

    /// The write of a record if its key is free, as a part of a transaction.
    fn put_in_transaction(&self, record: Item, attempt: &Attempt) -> Result<TransactWriteItem, Error> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(record))
            .condition_expression(KEY_IS_FREE)
            .set_expression_attribute_values(Some(now(attempt)))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .build()
            .map_err(defect)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Writes a record if its key is free.
    async fn put(&self, attempt: &Attempt, record: Item) -> Result<Option<FailedCondition>, Error> {
        let request = self.client.put_item().table_name(&self.table).set_item(Some(record));
        let request = request
            .condition_expression(KEY_IS_FREE)
            .set_expression_attribute_values(Some(now(attempt)))
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(None),
            Err(error) => match refusal(error)? {
                PutItemError::ConditionalCheckFailedException(failed) => {
                    Ok(Some(FailedCondition(failed.item)))
                }
                other => Err(Error::from_refusal(&other)),
            },
        }
    }

    fn item<A: Answer>(&self, scope: impl Display, attempt: &Attempt, answer: &A) -> Result<Item, Error> {
        let record = attempt.record((), self.lifetime);
        let seconds = |at: DateTime<_>| AttributeValue::N(at.timestamp().to_string());
        let mut item = answer.to_item()?;
        item.extend(
            [
                ("pk", AttributeValue::S(Self::pk(scope, &attempt.key))),
                ("fingerprint", AttributeValue::B(Blob::new(record.fingerprint.as_bytes()))),
                ("requestId", AttributeValue::S(record.request_id)),
                ("expiresAt", seconds(record.expires_at)),
                (TTL_ATTRIBUTE, seconds(record.expires_at + KEPT_LONGER)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        Ok(item)
    }
}

fn now(attempt: &Attempt) -> Item {
    Item::from([(":now".to_owned(), AttributeValue::N(attempt.now.timestamp().to_string()))])
}

/// The outcome of an attempt that found a record of its key.
fn found<A: Answer>(attempt: &Attempt, item: Option<Item>) -> Result<Outcome<A>, Error> {
    // Without the item there is nothing to answer with; a moment later there will be.
    let record: Record<A> = Records::read(&item.ok_or(Error::Conflict)?)?;
    if attempt.wrote(&record) {
        // The attempt meets its own write: the acknowledgement was lost, and the write was tried again.
        return Ok(Outcome::Done(record.answer));
    }
    match attempt.verdict(record) {
        Verdict::Replay(answer) => Ok(Outcome::Replayed(answer)),
        Verdict::Mismatch => Ok(Outcome::Mismatch),
        Verdict::Expired => Err(Error::Conflict),
    }
}
