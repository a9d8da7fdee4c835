//! Reading a subscription and its cancellation, as they are now: a caller reads its own writes. Reading its history, which has a
//! change within seconds. And searching for subscriptions.

use domain::api_key::Scope;
use domain::details::CancellationDetails;
use domain::history::{HistoryEntry, HistoryEntryDetails, Line};
use domain::identifiers::SubscriptionId;
use domain::stored::{Revision, StoredSubscription};
use store::history::{cursor, read_cursor};
use store::load::Loaded;
use store::scan::Page;
use store::search::Hits;
use tracing::{error, info};

use crate::Service;
use crate::http::problem::{Parameter, Problem};
use crate::http::request::{Named, PageRequest, SearchRequest};
use crate::telemetry::log_found;

/// Reads the subscription that a caller names.
///
/// # Errors
/// The caller may not read subscriptions, the name is malformed, or the subscription does not exist. Only a caller that may read
/// learns of the last two.
pub async fn get(service: &Service, named: Named) -> Result<StoredSubscription, Problem> {
    let sealed = service.store.load(&named.token, named.name.as_ref().ok(), None, false).await?;
    let loaded = sealed.open(Scope::Read, service.clock.now())?;
    find(service, named, loaded).await
}

/// Reads the latest cancellation of the subscription that a caller names, and the revision of the subscription.
///
/// # Errors
/// The caller may not read cancellations, the name is malformed, or the subscription or its cancellation does not exist. Only a
/// caller that may read learns of the others.
pub async fn get_cancellation(
    service: &Service,
    named: Named,
) -> Result<(CancellationDetails, Revision), Problem> {
    let sealed = service.store.load(&named.token, named.name.as_ref().ok(), None, true).await?;
    let mut loaded = sealed.open(Scope::ReadCancellations, service.clock.now())?;
    let tenant = loaded.tenant.take().ok_or(Problem::ApiKeyInvalid)?;
    let stored = find(service, named, loaded).await?;
    let details = stored.cancellation_details(&tenant.time_zone).ok_or(Problem::NoCancellation)?;
    Ok((details, stored.revision))
}

/// A page of the subscriptions that a search finds.
#[derive(Debug)]
pub struct FoundPage {
    /// The subscriptions.
    pub found: Vec<StoredSubscription>,
    /// The greatest length of the page.
    pub limit: u16,
    /// The last subscription of the page, if there may be more behind it.
    pub last: Option<SubscriptionId>,
}

/// Searches the caller's subscriptions. The index may be a moment older than the subscriptions, which are read as they are now: a
/// page has none that the search does not find, and may be shorter than its limit.
///
/// # Errors
/// The caller may not read subscriptions, or the search is malformed. Only a caller that may read learns of the latter.
pub async fn search(
    service: &Service,
    named: Named,
    asked: Result<SearchRequest, Problem>,
) -> Result<FoundPage, Problem> {
    let (store, token) = (&service.store, &named.token);
    // In one round trip with the API key. Nothing of it is used before the key is verified.
    let hits = async {
        match &asked {
            Ok(SearchRequest { search, limit, after }) => {
                Some(store.hits(token.tenant(), search, *after, *limit).await)
            }
            Err(_) => None,
        }
    };
    let (sealed, hits) = futures::future::join(store.load(token, None, None, false), hits).await;
    sealed?.open(Scope::Read, service.clock.now())?;
    let SearchRequest { search, limit, .. } = asked?;
    let Hits { ids, last } = hits.transpose()?.unwrap_or_default();
    let Page { found, unreadable, .. } = store.found(token.tenant(), &search, &ids).await?;
    // Whose data a key has read is known afterwards.
    let ids: Vec<_> = found.iter().map(|stored| stored.document.subscription_id.to_string()).collect();
    info!(subscriptions = ids.join(" "), "found");
    // The others are found all the same.
    for key in unreadable {
        error!(key, "a subscription that a search found is malformed");
    }
    Ok(FoundPage { found, limit, last })
}

/// A page of a history.
#[derive(Debug)]
pub struct History {
    /// The entries as callers see them, the newest first.
    pub entries: Vec<HistoryEntryDetails>,
    /// The greatest length of the page.
    pub limit: u16,
    /// The place after the page, if there are older entries.
    pub next: Option<String>,
}

/// Reads a page of the history of the subscription that a caller names.
///
/// The history of a subscription without an entry begins with the subscription as it is: it was there before its history began, or
/// its first entry is still on its way.
///
/// # Errors
/// The caller may not read cancellations, the name or the page is malformed, or the subscription does not exist. Only a caller that
/// may read learns of the others.
pub async fn get_history(
    service: &Service,
    named: Named,
    page: Result<PageRequest, Problem>,
) -> Result<History, Problem> {
    let sealed = service.store.load(&named.token, named.name.as_ref().ok(), None, true).await?;
    let mut loaded = sealed.open(Scope::ReadCancellations, service.clock.now())?;
    let PageRequest { limit, cursor: place } = page?;
    let read = |text: String| read_cursor(&text).ok_or(Problem::InvalidParameter(Parameter::Cursor));
    let place = place.map(read).transpose()?;
    let tenant = loaded.tenant.take().ok_or(Problem::ApiKeyInvalid)?;
    let stored = find(service, named, loaded).await?;
    let is_first = place.is_none();
    let place = place.filter(|place| place.version <= stored.revision.version);
    let place = place.unwrap_or_else(|| stored.revision.clone());

    let (length, mut line) = (usize::from(limit), Line::to(place.clone()));
    let (mut entries, mut page) = (Vec::new(), None);
    // One entry more is the beginning of the next page.
    while entries.len() <= length {
        let (id, most) = (stored.document.subscription_id, length + 1 - entries.len());
        let read = service.store.history(&tenant.id, id, &place, page, most).await?;
        entries.extend(read.found.into_iter().filter(|entry| line.takes(entry)));
        page = read.next;
        if page.is_none() {
            break;
        }
    }
    if is_first && entries.is_empty() {
        entries.push(HistoryEntry::of_present(&stored, service.clock.now()));
    }
    let next = entries.get(length).map(|next| cursor(&next.revision));
    entries.truncate(length);
    let entries = entries.iter().map(|entry| entry.details(&tenant.time_zone)).collect();
    Ok(History { entries, limit, next })
}

async fn find(service: &Service, named: Named, loaded: Loaded) -> Result<StoredSubscription, Problem> {
    let Named { token, name } = named;
    let name = name?;
    let stored = service.store.follow(token.tenant(), &name, loaded.found).await?;
    let stored = stored.ok_or(Problem::SubscriptionNotFound)?;
    log_found(&name, &stored);
    Ok(stored)
}
