//! The due index, with details of the subscriptions that it names, and their tenants: time zones and pauses.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use domain::calendar::Calendar;
use domain::execute::DueCancellation;
use domain::identifiers::TenantId;
use domain::standing::Standing;
use domain::tenant::{PauseReason, Tenant};
use store::Admin;
use store::due::DueEntry;
use store::scan::{EntryDetails, Page};
use store::tables::DUE_SHARDS;

use crate::CommandError;

/// Number of subscriptions that are read in one request.
const READ_TOGETHER: usize = 100;
/// Fallback for the last instant that the index can hold, which is a literal that always parses.
const EVER: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// The current entries of the index, and the keys of the entries that can't be read.
pub(crate) struct Index {
    pub(crate) entries: Vec<Entry>,
    pub(crate) unreadable: Vec<String>,
}

/// A current entry of the index, with the details of its cancellation.
pub(crate) struct Entry {
    pub(crate) due: DueCancellation,
    pub(crate) details: EntryDetails,
}

impl Index {
    /// Reads all entries of one tenant or of all, without a limit of time.
    pub(crate) async fn read_all(store: &Admin, tenant: Option<&TenantId>) -> Result<Self, CommandError> {
        // The index compares instants as text, with four digits for the year.
        let until = "9999-12-31T23:59:59Z".parse().unwrap_or(EVER);
        Self::read(store, until, tenant).await
    }

    /// Reads the entries of one tenant or of all, up to an instant.
    pub(crate) async fn read(
        store: &Admin,
        until: DateTime<Utc>,
        tenant: Option<&TenantId>,
    ) -> Result<Self, CommandError> {
        let mut named = Vec::new();
        let mut index = Self { entries: Vec::new(), unreadable: Vec::new() };
        for shard in 0..DUE_SHARDS {
            let mut next = None;
            loop {
                let page = store.due(shard, until, next).await?;
                for entry in page.entries {
                    match entry {
                        DueEntry::Cancellation(due) => {
                            named.extend(Some(due).filter(|due| tenant.is_none_or(|it| *it == due.tenant)));
                        }
                        DueEntry::Unreadable(key) => index.unreadable.push(key),
                    }
                }
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
        }
        for named in named.chunks(READ_TOGETHER) {
            for (due, details) in named.iter().zip(store.entry_details(named).await?) {
                // The index may still name a cancellation that was replaced or executed a moment ago.
                let Some(details) = details else { continue };
                index.entries.push(Entry { due: due.clone(), details });
            }
        }
        Ok(index)
    }
}

impl Entry {
    /// Returns the key of the subscription's item.
    pub(crate) fn key(&self) -> String {
        format!("{}#{}", self.due.tenant, self.due.subscription_id)
    }

    /// Returns true if the cancellation is pending and not paused, and its date has begun at `now`. Its instant is not checked.
    pub(super) fn can_be_executed(&self, zones: &Zones, now: DateTime<Utc>) -> bool {
        let has_begun = |date| {
            let calendar = zones.calendar(&self.due.tenant, now)?;
            Some(calendar.beginning_on_or_after(date).instant() <= now)
        };
        self.details.standing == Some(Standing::Pending)
            && !zones.is_paused(&self.due.tenant)
            && self.details.date.and_then(has_begun).unwrap_or(false)
    }
}

/// The time zones of all tenants, and their pauses.
pub(crate) struct Zones {
    known: HashMap<TenantId, Tenant>,
    unreadable: Vec<String>,
}

impl Zones {
    pub(crate) async fn read(store: &Admin) -> Result<Self, CommandError> {
        let Page { found, unreadable, .. } = store.tenants().await?;
        let known = found.into_iter().map(|tenant| (tenant.id.clone(), tenant)).collect();
        Ok(Self { known, unreadable })
    }

    /// Returns the tenants that can't be read, and those that don't exist although the index has cancellations of theirs.
    pub(crate) fn missing(&self, index: &Index) -> Vec<String> {
        let named = index.entries.iter().map(|entry| &entry.due.tenant);
        let missing = named.filter(|tenant| !self.known.contains_key(tenant)).map(TenantId::to_string);
        missing.chain(self.unreadable.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Returns the calendar of a tenant; `None` if the tenant is missing or can't be read.
    pub(crate) fn calendar(&self, tenant: &TenantId, now: DateTime<Utc>) -> Option<Calendar> {
        self.known.get(tenant).map(|tenant| Calendar::new(tenant.time_zone.clone(), now))
    }

    /// Returns true if the cancellations of a tenant are paused.
    pub(crate) fn is_paused(&self, tenant: &TenantId) -> bool {
        self.known.get(tenant).is_some_and(|tenant| tenant.paused.is_some())
    }

    /// Returns the tenants whose cancellations are paused, and that have not moved, in the order of their ids.
    pub(crate) fn paused(&self) -> Vec<&Tenant> {
        let is_paused =
            |tenant: &&Tenant| tenant.paused.as_ref().is_some_and(|pause| pause.reason != PauseReason::Moved);
        let mut paused: Vec<_> = self.known.values().filter(is_paused).collect();
        paused.sort_by(|one, other| one.id.cmp(&other.id));
        paused
    }
}
