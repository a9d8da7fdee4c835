//! The subscriptions of the demo tenant. All are read and checked before anything starts. Then the missing ones are imported.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use domain::calendar::Calendar;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::import::{Existing, NewSubscription, Rules};
use domain::origin::Author;
use domain::subscription::Status;
use operator::ndjson::{Line, Lines};
use service::import::import;

use super::database::OpenDatabase;
use super::{Options, StartError};
use crate::demo;

/// The subscriptions to begin with.
pub(super) struct Seed {
    path: PathBuf,
    subscriptions: Vec<NewSubscription>,
    /// The line number of each subscription.
    lines: Vec<u64>,
}

impl Seed {
    /// Reads the subscriptions from the file that the options name, or otherwise from the demo.
    pub(super) fn read(options: &Options, now: DateTime<Utc>) -> Result<Self, StartError> {
        let (path, file, now): (PathBuf, Box<dyn BufRead>, _) = match &options.seed {
            None => {
                let now = now.max(demo::written());
                (PathBuf::from("demo.ndjson"), Box::new(demo::SUBSCRIPTIONS.as_bytes()), now)
            }
            Some(path) => {
                let unreadable = |source| StartError::SeedFile { path: path.clone(), source };
                (path.clone(), Box::new(BufReader::new(File::open(path).map_err(unreadable)?)), now)
            }
        };
        let mut seed = Self { path: path.clone(), subscriptions: Vec::new(), lines: Vec::new() };
        let mut ids = HashSet::new();
        for line in Lines::new(file, Calendar::new(options.time_zone.clone(), now), now) {
            let Line { number: line, subscription, .. } =
                line.map_err(|source| StartError::SeedFile { path: path.clone(), source })?;
            let faulty = |fault| StartError::SeedLine { path: path.clone(), line, fault };
            let subscription = subscription.map_err(faulty)?;
            if !ids.insert(subscription.id()) {
                return Err(faulty("subscriptionId: another line has the same".to_owned()));
            }
            seed.subscriptions.push(subscription);
            seed.lines.push(line);
        }
        Ok(seed)
    }

    /// Imports the subscriptions that do not exist yet. A cancellation whose date has begun is accepted, and executed.
    pub(super) async fn import(
        &self,
        database: &OpenDatabase,
        tenant: &TenantId,
        now: DateTime<Utc>,
    ) -> Result<(), StartError> {
        let rules = Rules { existing: Existing::Keep, takes_overdue: true };
        let author = Author::import(None);
        for (line, subscription) in self.lines.iter().zip(&self.subscriptions) {
            let imported = import(&database.store, tenant, subscription, rules, &author, now).await;
            if let Some(fault) = imported.map_err(|source| database.unusable(source))?.fault() {
                let (path, fault) = (self.path.clone(), fault.to_owned());
                return Err(StartError::SeedLine { path, line: *line, fault });
            }
        }
        Ok(())
    }

    /// Finds the first subscription that is not CANCELLED, as an example to cancel.
    pub(super) async fn example(
        &self,
        database: &OpenDatabase,
        tenant: &TenantId,
    ) -> Result<Option<SubscriptionId>, StartError> {
        for id in self.ids() {
            let stored = database.store.subscription(tenant, id).await;
            let stored = stored.map_err(|source| database.unusable(source))?;
            if stored.is_some_and(|stored| stored.document.status != Status::Cancelled) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Returns the ids, in the order of the file.
    pub(super) fn ids(&self) -> impl Iterator<Item = SubscriptionId> {
        self.subscriptions.iter().map(NewSubscription::id)
    }
}
