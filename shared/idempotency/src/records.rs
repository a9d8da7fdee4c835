//! The table of records, and the transaction around an effect.
//!
//! The table has the hash key `pk`, a string, and a time to live by [`TTL_ATTRIBUTE`].

use std::fmt::Display;
use std::iter;

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

/// The attribute with the time from which DynamoDB removes a record, in seconds since 1970.
pub const TTL_ATTRIBUTE: &str = "removeAt";

/// The time for which a record is kept after its key has expired: longer than any request takes. Otherwise a request that began
/// just before the key expired could find the record gone, and take effect again.
const KEPT_LONGER: TimeDelta = TimeDelta::hours(1);

/// The condition that no record has the key, or that the record has expired.
const KEY_IS_FREE: &str = "attribute_not_exists(pk) OR expiresAt <= :now";

/// The table of records.
#[derive(Clone, Debug)]
pub struct Records {
    client: Client,
    table: String,
    lifetime: TimeDelta,
}

/// An effect and the record of its answer, ready to be written: both or neither. The effect happens once, however often the commit
/// is sent.
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
    /// The record, followed by the effect.
    Both(Transaction, Attempt),
}

/// The outcome of a commit.
#[derive(Debug)]
pub enum Outcome<A> {
    /// This attempt is committed.
    Done(A),
    /// Nothing was written: this is the answer to an earlier attempt with the key.
    Replayed(A),
    /// Nothing was written: the key belongs to another request.
    Mismatch,
    /// Nothing was written: conditions of the effect failed. The list has one element for each write of the effect, in order:
    /// `None` if the condition of that write did not fail.
    Refused(Vec<Option<FailedCondition>>),
}

impl Records {
    /// The records in `table`. A key belongs to its first request for `lifetime`, counted in whole seconds.
    pub fn new(client: Client, table: impl Into<String>, lifetime: TimeDelta) -> Self {
        Self { client, table: table.into(), lifetime }
    }

    /// The hash key of a record. Equal keys in two scopes (two tenants, two operations) are two keys.
    #[must_use]
    pub fn pk(scope: impl Display, key: &Key) -> String {
        // The separator is escaped, so that no two pairs of scope and key have one hash key.
        let scope = scope.to_string().replace('%', "%25").replace('#', "%23");
        format!("{scope}#{}", key.as_str())
    }

    /// Reads the record of a key, consistently. The record may have expired.
    ///
    /// # Errors
    /// The database can't be reached or refuses, or the item under the key is not a valid record.
    pub async fn find<A: Answer>(&self, scope: impl Display, key: &Key) -> Result<Option<Record<A>>, Error> {
        let pk = AttributeValue::S(Self::pk(scope, key));
        let request = self.client.get_item().table_name(&self.table).key("pk", pk).consistent_read(true);
        request.send().await.map_err(Error::from_sdk)?.item.map(|item| Self::read(&item)).transpose()
    }

    /// Reads a record from an item of the table, for callers that load it together with other items.
    ///
    /// # Errors
    /// The item is not a valid record, or its answer can't be read.
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
        // The error never contains the key, because callers make up keys.
        let scope = || match item.get("pk") {
            Some(AttributeValue::S(pk)) => pk.split('#').next().unwrap_or_default(),
            _ => "",
        };
        record().ok_or_else(|| Error::Defect(format!("an idempotency record of {} can't be read", scope())))
    }

    /// Prepares to write an effect and the record of its answer. Without an attempt, no record is written. For an answer that
    /// changes nothing, `effect` is empty.
    ///
    /// Commit only final answers: an answer that says "try again later" would be replayed, too.
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
                    // The record goes first: if the key has a record already, that decides, whatever the conditions of the effect.
                    let record = self.put_in_transaction(record, &attempt)?;
                    Writes::Both(Transaction::new(iter::once(record).chain(effect).collect()), attempt)
                }
            }
        };
        Ok(Commit { writes, answer })
    }

    /// Writes everything that was prepared, or nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another write was under way at every try: nothing was written. If the database became unavailable,
    /// everything may have been written, or nothing. The same attempt, repeated, returns the true outcome.
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

    /// Builds the write of a record as a part of a transaction, on the condition that the key is free.
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
    // DynamoDB did not return the item, so the answer is not known yet. A retry finds it.
    let record: Record<A> = Records::read(&item.ok_or(Error::Conflict)?)?;
    if attempt.wrote(&record) {
        // The attempt meets its own write: the acknowledgement was lost, and the write was retried.
        return Ok(Outcome::Done(record.answer));
    }
    match attempt.verdict(record) {
        Verdict::Replay(answer) => Ok(Outcome::Replayed(answer)),
        Verdict::Mismatch => Ok(Outcome::Mismatch),
        Verdict::Expired => Err(Error::Conflict),
    }
}
