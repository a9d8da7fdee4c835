//! `subscriptions import`: imports a file of any size, in constant memory.
//!
//! The file is read a part at a time. The subscriptions of a part are written in batches, several at once. No two lines of a part
//! name the same subscription or reference id, so each line finds the state that the lines before it have left. A subscription that
//! was imported before is recognised, so the same command continues an interrupted import, and ends in the same state.

mod batches;
mod parts;
mod rejects;
mod steps;
mod tally;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use domain::identifiers::TenantId;
use domain::import::{Existing, Rules};
use domain::origin::Author;
use indicatif::{ProgressBar, ProgressStyle};

use self::batches::Writer;
use self::rejects::Rejects;
use self::steps::Steps;
use crate::arguments::{Operator, TENANT_VARIABLE, find_tenant, parse_tenant};
use crate::{CommandError, Session};

/// Arguments of `subscriptions import`.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// File of subscriptions as JSON, one per line; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Tenant of the subscriptions
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
    /// Treatment of subscriptions that exist already, and differ
    #[arg(long, value_enum, default_value = "keep")]
    existing: OnExisting,
    /// Accept cancellations whose date has begun; they are executed within a minute
    #[arg(long)]
    overdue: bool,
    /// File for the lines that are not imported, with their faults [default: FILE.rejects; for standard input, import.rejects,
    /// which must not exist yet]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Don't ask for confirmation before cancellations are overwritten
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnExisting {
    /// Keep the stored subscription as it is
    Keep,
    /// Replace the document by that of the file, unless this would undo or change a cancellation that is pending or has taken
    /// effect, or bring back one that was withdrawn, or what was erased
    Update,
    /// Replace the document and the cancellation by those of the file; if the file has no cancellation, the stored one is undone
    Overwrite,
}

impl From<OnExisting> for Existing {
    fn from(existing: OnExisting) -> Self {
        match existing {
            OnExisting::Keep => Self::Keep,
            OnExisting::Update => Self::Update,
            OnExisting::Overwrite => Self::Overwrite,
        }
    }
}

pub(super) async fn run(import: Import, session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, import.tenant.clone()).await?;
    let unreadable = |source| CommandError::Read { path: import.file.clone(), source };
    let (reader, length) = open(&import.file).map_err(unreadable)?;
    if import.existing == OnExisting::Overwrite {
        let what = format!(
            "This undoes or changes cancellations of {} that differ from {}, also those requested during the import",
            tenant.id,
            import.file.display()
        );
        session.confirm(import.yes, what).await?;
    }

    let writer = Writer {
        store,
        clock: session.clock.clone(),
        tenant: tenant.id,
        author: Author::import(Some(import.operator.name()?)),
        rules: Rules { existing: import.existing.into(), takes_overdue: import.overdue },
    };
    let rejects = Rejects::new(import.rejects, &import.file)?;
    let mut steps = Steps::new(import.file, writer, rejects, progress_bar(length));
    let outcome = steps.all(reader, tenant.time_zone, session).await;
    steps.finish(outcome, session)
}

fn open(path: &Path) -> io::Result<(Box<dyn BufRead + Send>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok((Box::new(BufReader::new(file)), Some(metadata.len()).filter(|_| metadata.is_file())))
}

/// Creates the progress bar. It is shown on standard error, if that is a terminal.
fn progress_bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{wide_bar} {percent:>3}%  {msg}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    // The templates are valid, so the style is always used.
    ProgressStyle::with_template(template).map_or(bar.clone(), |style| bar.with_style(style))
}
