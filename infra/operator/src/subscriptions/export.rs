//! `subscriptions export`: writes a tenant's documents, one per line. The file appears under its name only when it is complete.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use domain::identifiers::TenantId;
use serde_json::json;
use store::{Admin, NextPage, Patience, try_again};
use tempfile::NamedTempFile;

use crate::arguments::find_tenant;
use crate::format::counted;
use crate::{CommandError, Session, private, terminal};

pub(super) async fn run(
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
            // A link is followed: its target is written.
            let target = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if fs::metadata(&target).is_ok_and(|there| !there.is_file()) {
                let mut device = BufWriter::new(private::open_file(&target).map_err(failed)?);
                let counts = write_all(&store, &tenant, &mut device).await?.map_err(failed)?;
                device.flush().map_err(failed)?;
                counts
            } else {
                // Only its owner can read it, and it gets its name only when it is complete.
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

/// Writes all subscriptions of a tenant. Returns their number, and the keys of the items that can't be read.
async fn write_all(
    store: &Admin,
    tenant: &TenantId,
    out: &mut (dyn Write + Send),
) -> Result<io::Result<(u64, Vec<String>)>, CommandError> {
    let (mut exported, mut unreadable) = (0, Vec::new());
    let mut next: Option<NextPage> = None;
    loop {
        let page = try_again(Patience::OfCommand, || store.subscriptions(tenant, next.clone())).await?;
        for stored in page.found {
            // The document has only what callers may see.
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
