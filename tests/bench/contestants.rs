//! The contestants: our functions, two alternatives, and the floor.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Days, Utc};
use domain::api_key::Token;
use domain::history::HistoryEntry;
use domain::import::{Existing, Rules};
use domain::origin::Author;
use harness::variables_of;
use serde_json::{Value, json};
use service::import;
use store::Admin;
use store::tables::TableNames;
use uuid::Uuid;

use crate::engine::{Engine, TENANT};
use crate::subscriptions as given;

/// Rules of an import that adds every subscription that does not exist yet, overdue or not.
const ANY: Rules = Rules { existing: Existing::Keep, takes_overdue: true };

/// Executions that a sweep has under way at once: 16 in each of 4 shards.
pub const EXECUTED_AT_ONCE: usize = 64;

/// An implementation that is measured.
pub struct Contestant {
    pub name: &'static str,
    kind: Kind,
    folder: PathBuf,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One binary for each function, and items as this service stores them.
    Ours,
    /// One program for all, and a plain document in each item.
    Plain,
    /// One program that sends the requests of ours, and one that executes; with the items of ours.
    Floor,
}

/// An operation that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Operation {
    /// Reads a subscription.
    Get,
    /// Cancels a subscription, under a new idempotency key.
    Cancel,
    /// Repeats a cancellation under its idempotency key.
    Replay,
    /// Executes cancellations that are due, in a sweep.
    Execute,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Get => "GET",
            Self::Cancel => "cancel",
            Self::Replay => "replay",
            Self::Execute => "execution",
        })
    }
}

impl Contestant {
    /// Returns the contestants that are built in this folder.
    pub fn all(folder: &Path) -> Vec<Self> {
        [
            ("ours", Kind::Ours, "ours"),
            ("opt-level 3", Kind::Ours, "opt-level-3"),
            ("opt-level 2", Kind::Ours, "opt-level-2"),
            ("opt-level s", Kind::Ours, "opt-level-s"),
            ("floor", Kind::Floor, "floor"),
            ("TypeScript", Kind::Plain, "typescript"),
            ("Python", Kind::Plain, "python"),
        ]
        .into_iter()
        .map(|(name, kind, built)| Self { name, kind, folder: folder.join(built) })
        .filter(|contestant| contestant.folder.exists())
        .collect()
    }

    /// Returns the program that Lambda would start for an operation.
    pub fn bootstrap(&self, operation: Operation) -> PathBuf {
        match (self.kind, operation) {
            (Kind::Floor, Operation::Execute) => self.folder.with_file_name("updates").join("bootstrap"),
            (Kind::Plain | Kind::Floor, _) => self.folder.join("bootstrap"),
            (Kind::Ours, Operation::Get) => self.folder.join("get-subscription/bootstrap"),
            (Kind::Ours, Operation::Cancel | Operation::Replay) => {
                self.folder.join("cancel-subscription/bootstrap")
            }
            (Kind::Ours, Operation::Execute) => self.folder.join("execute-cancellations/bootstrap"),
        }
    }

    /// Returns true if the contestant can withdraw a cancellation.
    pub fn withdraws(&self) -> bool {
        self.kind == Kind::Ours
    }

    /// Returns true if the contestant writes an entry of who did it and why, as a part of a cancellation. Ours do that from the stream.
    pub fn audits(&self) -> bool {
        self.kind == Kind::Plain
    }

    /// Returns the folder of its programs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates new tables for the contestant, with so many subscriptions.
    pub async fn prepare(&self, engine: &Engine, subscriptions: u64, now: DateTime<Utc>) -> Prepared {
        let prefix = Uuid::new_v4().to_string();
        let (store, tables, token) = engine.create_tables(&prefix).await;
        let prepared = Prepared { kind: self.kind, store, tables, token, now, url: engine.url() };
        prepared.add_all(0..subscriptions).await;
        prepared
    }
}

/// The tables of a contestant.
pub struct Prepared {
    kind: Kind,
    pub store: Admin,
    pub tables: TableNames,
    pub token: Token,
    now: DateTime<Utc>,
    url: String,
}

impl Prepared {
    /// Returns the environment variables of the contestant's functions.
    pub fn variables<'v>(&'v self, url: &'v str, certificate: &'v str) -> Vec<(&'static str, &'v str)> {
        let endpoint = [
            ("AWS_ENDPOINT_URL_DYNAMODB", url),
            // Python and our functions read the first one, Node the second one.
            ("AWS_CA_BUNDLE", certificate),
            ("NODE_EXTRA_CA_CERTS", certificate),
        ];
        endpoint.into_iter().chain(variables_of(&self.tables)).collect()
    }

    /// Returns the variable by which a contestant adds an entry to this table with each cancellation.
    pub fn audit(&self) -> Vec<(&'static str, &str)> {
        vec![("AUDIT_TABLE", self.tables.history.as_str())]
    }

    /// Adds the subscriptions with these numbers.
    pub async fn add_all(&self, numbers: Range<u64>) {
        for number in numbers {
            self.add(number).await;
        }
    }

    /// Adds an entry to the history of each of these subscriptions.
    pub async fn record(&self, numbers: Range<u64>) {
        for number in numbers {
            let tenant = TENANT.parse().unwrap();
            let id = given::id(number).to_string().parse().unwrap();
            let stored = self.store.subscription(&tenant, id).await.unwrap().unwrap();
            self.store
                .record(&given::key(number), &HistoryEntry::of_present(&stored, self.now))
                .await
                .unwrap();
        }
    }

    async fn add(&self, number: u64) {
        match self.kind {
            Kind::Ours | Kind::Floor => {
                let new = given::new(given::document(number), self.now);
                import::import(
                    &self.store,
                    &TENANT.parse().unwrap(),
                    &new,
                    ANY,
                    &Author::import(None),
                    self.now,
                )
                .await
                .unwrap();
            }
            Kind::Plain => {
                self.put(json!({
                    "pk": given::key(number),
                    "document": given::document(number),
                    "version": 1,
                }))
                .await
            }
        }
    }

    /// Adds subscriptions with these numbers whose cancellations are due.
    pub async fn add_due(&self, numbers: Range<u64>) {
        for number in numbers {
            self.add_one_due(number).await;
        }
    }

    async fn add_one_due(&self, number: u64) {
        let date = match self.kind {
            Kind::Ours | Kind::Plain => self.now.date_naive() - Days::new(1),
            // Its updates have the condition that nothing is due, as no sweep has found it.
            Kind::Floor => self.now.date_naive() + Days::new(100),
        };
        match self.kind {
            Kind::Ours | Kind::Floor => {
                let new = given::new(given::pending(number, date), self.now);
                import::import(
                    &self.store,
                    &TENANT.parse().unwrap(),
                    &new,
                    ANY,
                    &Author::import(None),
                    self.now,
                )
                .await
                .unwrap();
            }
            Kind::Plain => {
                let (cancellation_id, at) = (Uuid::new_v4(), format!("{date}T00:00:00Z"));
                self.put(json!({
                    "pk": given::key(number),
                    "document": given::pending(number, date),
                    "version": 2,
                    "cancellationId": cancellation_id,
                    "cancellation": {
                        "cancellationId": cancellation_id,
                        "effectiveAt": at,
                        "requestedAt": self.now,
                    },
                    "dueShard": number % 16,
                    "dueAt": at,
                }))
                .await;
            }
        }
    }

    /// Returns the event that executes the due cancellations of these subscriptions.
    pub fn execute(&self, numbers: Range<u64>) -> Value {
        match self.kind {
            Kind::Ours | Kind::Plain => given::execute(),
            Kind::Floor => {
                json!({"keys": numbers.map(given::key).collect::<Vec<_>>(), "concurrency": EXECUTED_AT_ONCE})
            }
        }
    }

    async fn put(&self, item: Value) {
        let item: std::collections::HashMap<String, AttributeValue> = serde_dynamo::to_item(item).unwrap();
        let endpoint = service::endpoint::Endpoint::local(self.url.clone());
        let client = aws_sdk_dynamodb::Client::new(&endpoint.sdk_config());
        let put = client.put_item().table_name(&self.tables.subscriptions).set_item(Some(item));
        put.send().await.unwrap();
    }
}
