//! `subscriptions list`: lists a tenant's subscriptions, page by page.

use clap::Args;
use domain::identifiers::{SubscriptionId, TenantId};
use domain::subscription::{Status, Subscription};
use serde::Serialize;
use store::{Patience, try_again};

use super::rows::rows;
use crate::arguments::{TENANT_VARIABLE, find_tenant, one_of, parse_tenant};
use crate::{CommandError, Session};

/// Arguments of `list`.
#[derive(Clone, Debug, Args)]
pub struct List {
    /// Tenant of the subscriptions
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
    /// Only subscriptions with this status; may be repeated
    #[arg(long, value_parser = one_of::<Status>)]
    status: Vec<Status>,
    /// Only subscriptions with this product offering
    #[arg(long, value_name = "ID")]
    product: Option<String>,
    /// Only subscriptions with a pending cancellation
    #[arg(long)]
    pending: bool,
    /// Greatest number of subscriptions to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Go on behind this subscription, the last one of the page before
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    after: Option<SubscriptionId>,
}

fn parse_id(text: &str) -> Result<SubscriptionId, &'static str> {
    text.parse().map_err(|_| "write the UUID of a subscription")
}

#[derive(Serialize)]
struct Listed {
    subscriptions: Vec<Subscription>,
    /// The last subscription of the page, if there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<SubscriptionId>,
}

impl List {
    fn wants(&self, subscription: &Subscription) -> bool {
        (self.status.is_empty() || self.status.contains(&subscription.status))
            && (self.product.is_none() || self.product.as_deref() == subscription.product_id())
            && (!self.pending || subscription.pending_status.as_ref().is_some_and(|pending| pending.ends()))
    }
}

pub(super) async fn run(list: List, session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, list.tenant.clone()).await?.id;
    let most = usize::try_from(list.limit).unwrap_or(usize::MAX);
    let (mut subscriptions, mut unreadable) = (Vec::new(), Vec::new());
    let mut next = list.after.map(|after| store.page_after(&tenant, after));
    // One more tells whether there is another page.
    while subscriptions.len() <= most {
        let page = try_again(Patience::OfCommand, || store.subscriptions(&tenant, next.clone())).await?;
        let documents = page.found.into_iter().map(|stored| stored.document);
        subscriptions.extend(documents.filter(|document| list.wants(document)));
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let has_more = subscriptions.len() > most;
    subscriptions.truncate(most);
    let last = subscriptions.last().map(|last| last.subscription_id);
    let listed = Listed { subscriptions, next: last.filter(|_| has_more) };
    let outcome = session.complain(&unreadable);
    if let Some(next) = listed.next {
        session.note(&format!("there are more: add --after {next}"));
    }
    session.conclude(&listed, || rows(listed.subscriptions.iter()), outcome)
}
