//! Subscriptions: imported, exported, looked at.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use domain::identifiers::{KeyId, SubscriptionName, TenantId};
use domain::standing::Standing;
use domain::stored::StoredSubscription;
use domain::subscription::{Status, Subscription};
use serde::Serialize;
use serde_json::json;
use store::{NextPage, Store};
use store::{Patience, try_again};
use tempfile::NamedTempFile;

use crate::arguments::{find_tenant, parse_tenant};
use crate::format::{counted, instant, or_nothing};
use crate::import::{self, Import};
use crate::terminal::{self, Text};
use crate::{CommandError, Session, private};

/// Commands on subscriptions.
#[derive(Clone, Debug, Subcommand)]
pub enum Subscriptions {
    /// Import subscriptions from a file, one a line
    ///
    /// Each line is checked; one that is no subscription is rejected, and the others are imported, in their order. What is
    /// there already and is the same is passed over, so an import that was interrupted is begun again with the same command.
    /// Unless you say so, what is there already and differs is kept.
    ///
    /// What callers don't see (members that this service does not know) stays when a document is written over another, unless
    /// it belongs to a part that the file leaves out, or that is about something else now: another SIM card, another customer.
    /// So an export can be mended and imported.
    ///
    /// A cancellation that is pending in a document (pendingStatus) takes effect like any other.
    Import(Import),
    /// Export a tenant's subscriptions in the wire shape, one a line, in no particular order
    ///
    /// It has what callers see, and no more: not the reason of a cancellation, nor members that this service doesn't know.
    /// A file is there when the export is complete, in place of the one that was. This reads the whole table: its cost grows
    /// with the subscriptions of all tenants.
    Export {
        /// Where to; standard output if it is not said, or `-`
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Whose subscriptions
        #[arg(long, value_parser = parse_tenant)]
        tenant: TenantId,
    },
    /// Show what is stored of one subscription, with its cancellation
    Show {
        /// Its id, or its reference id behind rid_
        #[arg(value_name = "ID|rid_REFERENCE", value_parser = parse_name)]
        name: SubscriptionName,
        /// Whose it is
        #[arg(long, value_parser = parse_tenant)]
        tenant: TenantId,
    },
}

fn parse_name(text: &str) -> Result<SubscriptionName, &'static str> {
    text.parse().map_err(|_| "write the UUID of a subscription, or its reference id behind rid_")
}

pub(crate) async fn run(command: Subscriptions, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Subscriptions::Import(import) => import::run(import, session).await,
        Subscriptions::Export { file, tenant } => export(session, tenant, file).await,
        Subscriptions::Show { name, tenant } => show(session, tenant, name).await,
    }
}

async fn export(
    session: &mut Session<'_>,
    tenant: TenantId,
    path: Option<PathBuf>,
) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, tenant).await?.id;
    let (exported, unreadable) = match path.filter(|path| path != Path::new("-")) {
        None => write_all(&store, &tenant, &mut *session.out).await?.map_err(CommandError::Print)?,
        Some(path) => {
            let failed = |source| CommandError::Write { path: path.clone(), source };
            // Through a link, to what it leads to.
            let target = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if fs::metadata(&target).is_ok_and(|there| !there.is_file()) {
                let mut device = BufWriter::new(private::open_file(&target).map_err(failed)?);
                let counts = write_all(&store, &tenant, &mut device).await?.map_err(failed)?;
                device.flush().map_err(failed)?;
                counts
            } else {
                // Readable for its owner alone, and there under its name only when it is complete.
                let file = NamedTempFile::new_in(private::folder_of(&target)).map_err(failed)?;
                let mut file = BufWriter::new(file);
                let counts = write_all(&store, &tenant, &mut file).await?.map_err(failed)?;
                let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
                file.persist(&target).map_err(|error| failed(error.error))?;
                counts
            }
        }
    };
    session.note(&format!("exported {}", counted(exported, "subscription")));
    session.complain(&unreadable)
}

/// How many were written, and the keys of those that can't be read.
async fn write_all(
    store: &Store,
    tenant: &TenantId,
    out: &mut (dyn Write + Send),
) -> Result<io::Result<(u64, Vec<String>)>, CommandError> {
    let (mut exported, mut unreadable) = (0, Vec::new());
    let mut next: Option<NextPage> = None;
    loop {
        let page = try_again(Patience::OfCommand, || store.subscriptions(tenant, next.clone())).await?;
        for stored in page.found {
            // Only what callers may see.
            let line = terminal::json(&json!(stored.document)).map_err(io::Error::from);
            if let Err(cause) = line.and_then(|line| writeln!(out, "{line}")) {
                return Ok(Err(cause));
            }
            exported += 1;
        }
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() {
            return Ok(Ok((exported, unreadable)));
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    tenant: TenantId,
    version: u64,
    subscription: Subscription,
    cancellation: Option<ShownCancellation>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownCancellation {
    state: String,
    #[serde(flatten)]
    cancellation: domain::cancellation::Cancellation,
    requested_by_name: Option<String>,
    withdrawn_by_name: Option<String>,
}

async fn show(
    session: &mut Session<'_>,
    tenant: TenantId,
    name: SubscriptionName,
) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, tenant).await?.id;
    let stored = store.named(&tenant, &name).await?;
    let Some(stored) = stored else { return Err(CommandError::NoSubscription(tenant)) };

    let state = state(&stored);
    let name_of = async |key: &Option<KeyId>| match key {
        Some(key) => Ok(store.api_key(&tenant, key).await?.and_then(|key| key.name)),
        None => Ok::<_, CommandError>(None),
    };
    let cancellation = match stored.cancellation {
        Some(cancellation) => Some(ShownCancellation {
            state,
            requested_by_name: name_of(&cancellation.requested_by).await?,
            withdrawn_by_name: name_of(&cancellation.withdrawn_by).await?,
            cancellation,
        }),
        None => None,
    };
    let shown =
        Shown { tenant, version: stored.revision.version, subscription: stored.document, cancellation };
    session.print(&shown, || text(&shown))
}

fn state(stored: &StoredSubscription) -> String {
    match stored.standing() {
        Standing::Pending => "pending".to_owned(),
        Standing::NotPending if stored.document.status == Status::Cancelled => "took effect".to_owned(),
        Standing::NotPending => "withdrawn".to_owned(),
        contradictory @ Standing::Contradictory(_) => {
            format!("{contradictory}; connect cancellations repair decides")
        }
    }
}

fn text(shown: &Shown) -> Text {
    let mut lines =
        vec![format!("Tenant         {}", shown.tenant), format!("Version        {}", shown.version)];
    match &shown.cancellation {
        None => lines.push("Cancellation   none".to_owned()),
        Some(ShownCancellation { state, cancellation, requested_by_name, withdrawn_by_name }) => {
            let by = |key: &Option<KeyId>, name: &Option<String>| match (key, name) {
                (Some(key), Some(name)) => format!("key {key} ({name})"),
                (Some(key), None) => format!("key {key}"),
                (None, _) => "an import".to_owned(),
            };
            let requested_by = by(&cancellation.requested_by, requested_by_name);
            lines.extend([
                format!("Cancellation   {}: {state}", cancellation.cancellation_id),
                format!("  effective    {}", instant(cancellation.effective_at)),
                format!("  reason       {}", or_nothing(cancellation.reason)),
                format!("  comment      {}", or_nothing(cancellation.comment.as_ref())),
                format!("  metadata     {}", or_nothing(cancellation.metadata.as_ref())),
                format!("  requested    {} by {requested_by}", instant(cancellation.requested_at)),
            ]);
            if let Some(at) = cancellation.withdrawn_at {
                let by = by(&cancellation.withdrawn_by, withdrawn_by_name);
                lines.push(format!("  withdrawn    {} by {by}", instant(at)));
            }
        }
    }
    let document = terminal::pretty_json(&shown.subscription).unwrap_or_default();
    lines.into_iter().collect::<Text>().and(document)
}
