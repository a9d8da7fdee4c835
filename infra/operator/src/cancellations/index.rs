//! The index of due dates, with what is stored of the subscriptions that it names, and the time zones of their tenants.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use domain::calendar::{Calendar, TimeZone};
use domain::execute::DueCancellation;
use domain::identifiers::TenantId;
use domain::standing::Standing;
use store::Admin;
use store::due::DueEntry;
use store::scan::{EntryDetails, Page};
use store::tables::DUE_SHARDS;

use crate::CommandError;

/// How many subscriptions are read at once.
const READ_TOGETHER: usize = 100;
/// The last instant of the last year that the index can hold.
const EVER: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// Entries of the index that are still true, and the keys of those that can't be read.
pub(crate) struct Index {
    pub(crate) entries: Vec<Entry>,
    pub(crate) unreadable: Vec<String>,
}

/// An entry of the index that is still true.
pub(crate) struct Entry {
    pub(crate) due: DueCancellation,
    pub(crate) details: EntryDetails,
}

impl Index {
    /// All entries, of a tenant or of all, however far away they are.
    pub(crate) async fn read_all(store: &Admin, tenant: Option<&TenantId>) -> Result<Self, CommandError> {
        // Instants are compared as text, which has four digits for a year.
        let until = "9999-12-31T23:59:59Z".parse().unwrap_or(EVER);
        Self::read(store, until, tenant).await
    }

    /// The entries until an instant, of a tenant or of all.
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
                        DueEntry::Cancellation(due) => named.push(due),
                        DueEntry::Unreadable(key) => index.unreadable.push(key),
                    }
                }
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
        }
        named.retain(|due| tenant.is_none_or(|tenant| *tenant == due.tenant));
        for named in named.chunks(READ_TOGETHER) {
            for (due, details) in named.iter().zip(store.entry_details(named).await?) {
                // The index may still name what was replaced or executed a moment ago.
                let Some(details) = details else { continue };
                index.entries.push(Entry { due: due.clone(), details });
            }
        }
        Ok(index)
    }
}

impl Entry {
    /// The key of its item.
    pub(crate) fn key(&self) -> String {
        format!("{}#{}", self.due.tenant, self.due.subscription_id)
    }

    /// Whether a sweep at `now` executes it.
    pub(super) fn can_be_executed(&self, zones: &Zones, now: DateTime<Utc>) -> bool {
        let has_begun = |date| {
            let calendar = zones.calendar(&self.due.tenant, now)?;
            Some(calendar.beginning_on_or_after(date).instant() <= now)
        };
        self.details.standing == Some(Standing::Pending)
            && self.details.date.and_then(has_begun).unwrap_or(false)
    }
}

/// The time zones of all tenants.
pub(crate) struct Zones {
    known: HashMap<TenantId, TimeZone>,
    unreadable: Vec<String>,
}

impl Zones {
    pub(crate) async fn read(store: &Admin) -> Result<Self, CommandError> {
        let Page { found, unreadable, .. } = store.tenants().await?;
        let known = found.into_iter().map(|tenant| (tenant.id, tenant.time_zone)).collect();
        Ok(Self { known, unreadable })
    }

    /// The tenants that can't be read, and those that there are not, although the index has cancellations of theirs.
    pub(crate) fn missing(&self, index: &Index) -> Vec<String> {
        let named = index.entries.iter().map(|entry| &entry.due.tenant);
        let missing = named.filter(|tenant| !self.known.contains_key(tenant)).map(TenantId::to_string);
        missing.chain(self.unreadable.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The calendar of a tenant; none of one that there is not.
    pub(crate) fn calendar(&self, tenant: &TenantId, now: DateTime<Utc>) -> Option<Calendar> {
        self.known.get(tenant).map(|zone| Calendar::new(zone.clone(), now))
    }
}
