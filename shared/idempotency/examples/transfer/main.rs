//! A transfer between two accounts, done once for each idempotency key: `cargo run --example transfer`.
//!
//! The accounts are items of the caller's own table. A sufficient balance is a condition of the effect.

#![expect(clippy::print_stdout, reason = "it is its output")]

use std::error::Error;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use chrono::{DateTime, TimeDelta, Utc};
use dynamodb::{Error as DatabaseError, Item};
use idempotency::{Answer, Attempt, Fingerprint, Outcome, Records};

/// The answer to a transfer, as it is recorded and replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt(pub String);

impl Answer for Receipt {
    fn to_item(&self) -> Result<Item, DatabaseError> {
        Ok(Item::from([("receipt".to_owned(), AttributeValue::S(self.0.clone()))]))
    }

    fn from_item(item: &Item) -> Option<Self> {
        item.get("receipt")?.as_s().ok().cloned().map(Self)
    }
}

/// A request to transfer money.
pub struct Transfer<'t> {
    /// The account from which the money is taken.
    pub from: &'t str,
    /// The account to which the money goes.
    pub to: &'t str,
    /// The amount, in cents.
    pub cents: u32,
}

/// Transfers money, once for each key.
///
/// # Errors
/// The key is malformed, or the database can't be reached.
pub async fn transfer(
    client: &Client,
    key: &str,
    request_id: &str,
    transfer: &Transfer<'_>,
    now: DateTime<Utc>,
) -> Result<Outcome<Receipt>, Box<dyn Error>> {
    let records = Records::new(client.clone(), "records", TimeDelta::hours(24));
    let Transfer { from, to, cents } = transfer;
    let attempt = Attempt {
        key: key.parse()?,
        // The parts that identify a transfer.
        fingerprint: Fingerprint::of([from.as_bytes(), to.as_bytes(), &cents.to_be_bytes()]),
        request_id: request_id.to_owned(),
        now,
    };
    let take = balance(from, "SET balance = balance - :cents", "balance >= :cents", *cents)?;
    let give = balance(to, "SET balance = balance + :cents", "attribute_exists(pk)", *cents)?;
    let receipt = Receipt(format!("{cents} cents from {from} to {to}"));
    let commit = records.prepare("transfers", Some(attempt), receipt, vec![take, give])?;
    Ok(records.commit(commit).await?)
}

/// Builds the change of an account's balance, on a condition.
fn balance(
    account: &str,
    change: &str,
    condition: &str,
    cents: u32,
) -> Result<TransactWriteItem, Box<dyn Error>> {
    let update = Update::builder()
        .table_name("accounts")
        .key("pk", AttributeValue::S(account.to_owned()))
        .update_expression(change)
        .condition_expression(condition)
        .expression_attribute_values(":cents", AttributeValue::N(cents.to_string()));
    Ok(TransactWriteItem::builder().update(update.build()?).build())
}

pub mod database;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = database::start().await;
    database::open_account(&client, "alice", 100).await;
    database::open_account(&client, "bob", 0).await;
    let sixty = Transfer { from: "alice", to: "bob", cents: 60 };
    for request_id in ["first", "second"] {
        // The second attempt has the same key. It gets the answer of the first, and moves no money.
        let now = "2026-12-01T08:00:00Z".parse()?;
        let outcome = transfer(&client, "rent-2026-12", request_id, &sixty, now).await?;
        println!("{request_id}: {outcome:?}");
    }
    println!("bob has {} cents", database::balance_of(&client, "bob").await);
    Ok(())
}
