//! `subscriptions import`: a file of subscriptions, however large, in constant memory.
//!
//! The file is read a part at a time. The subscriptions of a part are written in batches, some at once. No two lines of a part name
//! the same subscription or reference id, so a line meets the state that those before it have left. A subscription that was imported
//! before is recognised, so an import that was interrupted goes on with the same command and ends in the same state.

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
use indicatif::{ProgressBar, ProgressStyle};

use self::batches::Writer;
use self::rejects::Rejects;
use self::steps::Steps;
use crate::arguments::{find_tenant, parse_tenant};
use crate::{CommandError, Session};

/// Imports subscriptions.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// Subscriptions in the wire shape, one a line; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose subscriptions they are
    #[arg(long, value_parser = parse_tenant)]
    tenant: TenantId,
    /// What becomes of subscriptions that are there already, and differ
    #[arg(long, value_enum, default_value = "keep")]
    existing: OnExisting,
    /// Take in cancellations whose date has begun; they are executed within a minute
    #[arg(long)]
    overdue: bool,
    /// Where lines that are not imported are written, with what is wrong with them [default: FILE.rejects; import.rejects for
    /// standard input, which must not be there yet]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Don't ask before cancellations are overwritten
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnExisting {
    /// They stay as they are
    Keep,
    /// They get the document of the file, unless that would undo or change a cancellation, pending or done, or bring one back
    /// that was withdrawn
    Update,
    /// They get the document of the file, and with it that document's cancellation, or none
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
            "Cancellations of subscriptions of {} are undone where {} says otherwise, also those that are asked for meanwhile",
            tenant.id,
            import.file.display()
        );
        session.confirm(import.yes, what).await?;
    }

    let writer = Writer {
        store,
        clock: session.clock.clone(),
        tenant: tenant.id,
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

/// Shown on standard error if that is a terminal.
fn progress_bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{wide_bar} {percent:>3}%  {msg}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    // The templates are right, so the style is always this one.
    ProgressStyle::with_template(template).map_or(bar.clone(), |style| bar.with_style(style))
}
