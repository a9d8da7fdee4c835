//! `subscriptions find`: finds a tenant's subscriptions by number, customer or reference id.

use clap::Args;
use domain::identifiers::{ReferenceId, TenantId};
use domain::search::Search;
use domain::stored::StoredSubscription;
use store::{Admin, Patience, try_again};

use super::rows::rows;
use crate::arguments::{TENANT_VARIABLE, find_tenant, parse_tenant};
use crate::{CommandError, Session};

/// Arguments of `find`.
#[derive(Clone, Debug, Args)]
pub struct Find {
    /// Tenant of the subscriptions
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
    #[command(flatten)]
    text: FindText,
}

/// The text to search for.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct FindText {
    /// Phone number: +46 70-174 06 05 and 46701740605 are the same
    #[arg(long, value_name = "NUMBER")]
    msisdn: Option<String>,
    /// Id of the customer
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Reference id, without rid_
    #[arg(long, value_name = "REFERENCE")]
    reference: Option<String>,
}

impl FindText {
    /// Returns the search; `None` if the text is empty, or is no reference id.
    fn search(self) -> Option<Search> {
        let Self { msisdn, customer, reference } = self;
        let by_number = || Search::msisdn(&msisdn?);
        let by_customer = || Search::customer_id(&customer?);
        let by_reference = || ReferenceId::try_from(reference?).ok().map(Search::ReferenceId);
        by_number().or_else(by_customer).or_else(by_reference)
    }
}

/// Number of subscriptions that are read at once.
const PAGE: u16 = 100;

pub(super) async fn run(Find { tenant, text }: Find, session: &mut Session<'_>) -> Result<(), CommandError> {
    let search = text.search().ok_or(CommandError::Usage("there is no text to search for"))?;
    let store = session.store();
    let tenant = find_tenant(&store, tenant).await?.id;
    let (found, unreadable) = find_all(&store, &tenant, &search).await?;
    let found: Vec<_> = found.into_iter().map(|stored| stored.document).collect();
    let outcome = session.complain(&unreadable);
    session.conclude(&found, || rows(found.iter()), outcome)
}

/// Finds all subscriptions. Also returns the keys of those that can't be read.
pub(super) async fn find_all(
    store: &Admin,
    tenant: &TenantId,
    search: &Search,
) -> Result<(Vec<StoredSubscription>, Vec<String>), CommandError> {
    let (mut found, mut unreadable, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let read = || async {
            let hits = store.hits(tenant, search, after, PAGE).await?;
            Ok((store.found(tenant, search, &hits.ids).await?, hits.last))
        };
        let (page, last) = try_again(Patience::OfCommand, read).await?;
        found.extend(page.found);
        unreadable.extend(page.unreadable);
        after = last;
        if after.is_none() {
            return Ok((found, unreadable));
        }
    }
}
