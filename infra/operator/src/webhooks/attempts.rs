//! `webhooks attempts`: lists attempts to post events.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use domain::identifiers::TenantId;
use domain::webhook::{Attempt, Outcome, Webhook};
use store::Admin;

use super::shown::ShownAttempt;
use super::{Attempts, chosen};
use crate::format::table;
use crate::{CommandError, Session};

/// Number of attempts that are read at once.
const PAGE: usize = 100;

pub(super) async fn run(
    session: &mut Session<'_>,
    store: &Admin,
    arguments: Attempts,
) -> Result<(), CommandError> {
    let Attempts { tenant, webhook, event, failed, since, limit } = arguments;
    let webhooks = chosen(store, &tenant, webhook).await?;
    let is_wanted = |attempt: &Attempt| !failed || attempt.outcome != Outcome::Delivered;
    let mut unreadable = Vec::new();
    let mut found = Vec::new();
    match event {
        Some(event) => {
            let page = store.attempts_of_event(&tenant, event).await?;
            let of_chosen = |attempt: &Attempt| webhook.is_none_or(|id| id == attempt.webhook_id);
            found.extend(page.found.into_iter().filter(|attempt| is_wanted(attempt) && of_chosen(attempt)));
            unreadable.extend(page.unreadable);
        }
        None => {
            let since = since.ago(session.now());
            for webhook in &webhooks {
                let mut left = limit;
                let mut wanted = |attempt: &Attempt| {
                    let is_wanted = left > 0 && is_wanted(attempt);
                    left -= usize::from(is_wanted);
                    is_wanted
                };
                found
                    .extend(read(store, &tenant, webhook, since, limit, &mut wanted, &mut unreadable).await?);
            }
        }
    }
    found.sort_by_key(|attempt| Reverse(attempt.at));
    found.truncate(limit);
    let shown: Vec<_> = found.into_iter().map(ShownAttempt::new).collect();
    let outcome = session.complain(&unreadable);
    session.conclude(&shown, || table(ShownAttempt::HEADING, shown.iter().map(ShownAttempt::row)), outcome)
}

/// Reads attempts of a webhook, until there are enough wanted ones.
pub(super) async fn read(
    store: &Admin,
    tenant: &TenantId,
    webhook: &Webhook,
    since: DateTime<Utc>,
    enough: usize,
    is_wanted: &mut (dyn FnMut(&Attempt) -> bool + Send),
    unreadable: &mut Vec<String>,
) -> Result<Vec<Attempt>, CommandError> {
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let page = store.attempts(tenant, webhook.id, since, next, PAGE).await?;
        found.extend(page.found.into_iter().filter(|attempt| is_wanted(attempt)));
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() || found.len() >= enough {
            return Ok(found);
        }
    }
}
