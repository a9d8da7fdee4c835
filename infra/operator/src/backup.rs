//! `backup`: saves everything that a tenant has in a file. The format of that file, which `restore` reads.

mod file;
mod restore;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use domain::identifiers::TenantId;
use serde::Serialize;
use store::backup::BackupPart;
use store::{Admin, Patience, try_again};
use tempfile::NamedTempFile;

use self::file::{FORMAT, Heading, LineOfBackup};
pub use self::restore::Restore;
pub(crate) use self::restore::run as restore;
use crate::arguments::{TENANT_VARIABLE, find_tenant, parse_tenant};
use crate::format::table;
use crate::{CommandError, Session, private};

/// Arguments of `backup`.
#[derive(Clone, Debug, Args)]
pub struct Backup {
    /// File to write, which only you can read; an existing one is replaced
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Tenant to save
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
}

/// The number of items of each part.
type Counts = BTreeMap<BackupPart, u64>;

#[derive(Serialize)]
struct BackupTally {
    tenant: TenantId,
    file: PathBuf,
    items: Counts,
}

pub(crate) async fn run(backup: Backup, session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, backup.tenant).await?.id;
    let failed = |source| CommandError::Write { path: backup.file.clone(), source };
    // A link is followed. The file gets its name only when it is complete.
    let target = fs::canonicalize(&backup.file).unwrap_or_else(|_| backup.file.clone());
    let file = NamedTempFile::new_in(private::folder_of(&target)).map_err(failed)?;
    let mut file = BufWriter::new(file);
    let heading = Heading { format: FORMAT, tenant: tenant.clone(), at: session.now() };
    let items = write_all(&store, heading, &mut file).await?.map_err(failed)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    let tally = BackupTally { tenant, file: backup.file.clone(), items };
    let row = |(part, count): (&BackupPart, &u64)| [part.to_string(), count.to_string()];
    session.print(&tally, || table(["PART", "#ITEMS"], tally.items.iter().map(row)))?;
    session.note(
        "The file has personal data, and the secrets of webhooks. It does not have attempts to post events.",
    );
    Ok(())
}

/// Writes the whole backup. Returns the number of items of each part.
async fn write_all(
    store: &Admin,
    heading: Heading,
    out: &mut (dyn Write + Send),
) -> Result<io::Result<Counts>, CommandError> {
    let tenant = heading.tenant.clone();
    let mut write = |line: &LineOfBackup| {
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")
    };
    if let Err(cause) = write(&LineOfBackup::Heading(heading)) {
        return Ok(Err(cause));
    }
    let mut counts = Counts::new();
    for part in BackupPart::AS_SAVED {
        let mut next = None;
        loop {
            let read = || store.backup_page(part, &tenant, next.clone());
            let page = try_again(Patience::OfCommand, read).await?;
            for item in page.items {
                *counts.entry(part).or_default() += 1;
                if let Err(cause) = write(&LineOfBackup::Item { part, item }) {
                    return Ok(Err(cause));
                }
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
    }
    Ok(write(&LineOfBackup::End { items: counts.clone() }).map(|()| counts))
}
