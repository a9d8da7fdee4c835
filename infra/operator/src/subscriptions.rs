//! Subscriptions: import, export, find, list, show, history and erasure.

mod erase;
mod export;
mod find;
mod history;
mod import;
mod index;
mod list;
mod requester;
mod rows;
mod show;

use std::path::PathBuf;

use clap::Subcommand;
use domain::identifiers::{SubscriptionName, TenantId};

pub use self::erase::Erase;
pub use self::find::Find;
pub use self::import::Import;
pub use self::list::List;
use crate::arguments::{TENANT_VARIABLE, parse_tenant};
use crate::{CommandError, Session};

/// Commands on subscriptions.
#[derive(Clone, Debug, Subcommand)]
pub enum Subscriptions {
    /// Import subscriptions from a file, one per line
    ///
    /// Each line is checked. Invalid lines are rejected, and the others are imported in their order. A subscription that exists
    /// already and is the same is skipped, so the same command continues an import that was interrupted. A subscription that
    /// exists already and differs is kept, unless --existing says otherwise.
    ///
    /// Members that callers don't see (because this service does not know them) stay when a stored document is replaced. They
    /// are removed only if they belong to a part that the file leaves out, or to a part that is about something else now, such
    /// as another SIM card or another customer. So an export can be edited and imported.
    ///
    /// A cancellation that is pending in a document (pendingStatus) takes effect like any other.
    Import(Import),
    /// Export a tenant's subscriptions as JSON, one per line, in no particular order
    ///
    /// The export has only what callers see. It has no reasons of cancellations, and no members that this service does not know.
    /// The file appears under its name, in place of an existing one, when the export is complete. This reads the whole table: its
    /// cost grows with the subscriptions of all tenants.
    Export {
        /// File to write, or `-` for standard output [default: -]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Tenant of the subscriptions
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
    },
    /// Find a tenant's subscriptions by phone number, customer or reference id
    ///
    /// The number and the customer are looked up in indexes, so the cost does not grow with the number of subscriptions.
    Find(Find),
    /// List a tenant's subscriptions, in no particular order
    ///
    /// This reads the table until the page is full: with a filter that few subscriptions pass, the whole table.
    List(List),
    /// Erase everything personal of cancelled subscriptions, which can't be undone
    ///
    /// Ids, status, dates and the reason's code stay, and the API keys and operators of each change. Everything else goes: from the
    /// subscription with members that this service does not know, from its history, from recorded answers, and from the events and
    /// attempts that are kept for webhooks. Receivers get an event with the cause ERASED. Recorded answers are searched, at the cost
    /// of reading the tenants' requests of a day. --cancelled-before reads the whole table.
    Erase(Erase),
    /// Have the search indexes hold every subscription
    ///
    /// Imports do that by themselves. This is for subscriptions that an earlier version of this service stored, and for those whose
    /// number or customer another system has changed. It is no change of a subscription: the version and the history stay. This
    /// reads the whole table: its cost grows with the subscriptions of all tenants.
    Index {
        /// Only subscriptions of this tenant [default: all tenants]
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
        /// Only count them; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show one subscription as it is stored, with its cancellation
    Show {
        /// Id of the subscription, or rid_ followed by its reference id
        #[arg(value_name = "ID|rid_REFERENCE", value_parser = parse_name)]
        name: SubscriptionName,
        /// Tenant of the subscription
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
    },
    /// Show the changes of one subscription, the newest first
    ///
    /// Changes of states that are gone are left out: after a table was restored, or the subscription was removed and added again.
    /// --verify lists them.
    History {
        /// Id of the subscription, or rid_ followed by its reference id
        #[arg(value_name = "ID|rid_REFERENCE", value_parser = parse_name)]
        name: SubscriptionName,
        /// Tenant of the subscription
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
        /// Check that no change is missing since the first entry, and that the last one agrees with the subscription as it is
        ///
        /// Each entry names the state that it follows. An entry comes within seconds of its change. If the last one is missing,
        /// repeat the command.
        #[arg(long)]
        verify: bool,
    },
}

fn parse_name(text: &str) -> Result<SubscriptionName, &'static str> {
    text.parse().map_err(|_| "write the UUID of a subscription, or rid_ followed by its reference id")
}

pub(crate) async fn run(command: Subscriptions, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Subscriptions::Import(import) => import::run(import, session).await,
        Subscriptions::Export { file, tenant } => export::run(session, tenant, file).await,
        Subscriptions::Find(find) => find::run(find, session).await,
        Subscriptions::List(list) => list::run(list, session).await,
        Subscriptions::Erase(erase) => erase::run(erase, session).await,
        Subscriptions::Index { tenant, dry_run } => index::run(session, tenant, dry_run).await,
        Subscriptions::Show { name, tenant } => show::run(session, tenant, name).await,
        Subscriptions::History { name, tenant, verify } => history::run(session, tenant, name, verify).await,
    }
}
