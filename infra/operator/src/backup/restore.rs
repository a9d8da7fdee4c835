//! `restore`: puts a backup into a database that does not have the tenant. Nothing of the tenant is executed until everything is
//! there, and no API key is valid.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Instant;

use clap::Args;
use domain::identifiers::TenantId;
use domain::tenant::{Pause, PauseReason};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;
use store::backup::{BackupItem, BackupPart, Restored, RestoredTenant};
use store::{Admin, Patience, try_again};

use super::file::{BackupFault, BackupLines, Checked, Heading, LineOfBackup, check};
use crate::arguments::Operator;
use crate::cancellations::confirm_executions;
use crate::format::{counted, instant, table};
use crate::{CommandError, Session};

/// Number of items that are written at once.
const AT_ONCE: usize = 32;
/// Most keys of items that are named.
const MOST_NAMED: usize = 20;

/// Arguments of `restore`.
#[derive(Clone, Debug, Args)]
pub struct Restore {
    /// File that `backup` has written
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave the cancellations of the tenant paused, until `cancellations resume`
    #[arg(long)]
    paused: bool,
    /// Don't ask for confirmation before cancellations are executed that are due
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operator: Operator,
}

/// The items of a part: those that were added, and those that were there.
#[derive(Clone, Copy, Default, Serialize)]
struct PartTally {
    added: u64,
    present: u64,
}

#[derive(Serialize)]
struct RestoreTally {
    tenant: TenantId,
    items: BTreeMap<BackupPart, PartTally>,
    /// Keys of items in whose place others were, which stay.
    others: Vec<String>,
    paused: bool,
}

pub(crate) async fn run(restore: Restore, session: &mut Session<'_>) -> Result<(), CommandError> {
    let path = &restore.file;
    let faulty = |fault| match fault {
        BackupFault::Unreadable(source) => CommandError::Read { path: path.clone(), source },
        fault => CommandError::Incomplete(format!("{}: {fault}", path.display())),
    };
    let now = session.now();
    let Checked { heading, tenant: item, due } = check(path, now).map_err(faulty)?;
    let (store, tenant) = (session.store(), heading.tenant.clone());
    let saved = store.tenant_in(&tenant, &item)?;
    session.note(&format!("the backup of {tenant} is of {}", instant(heading.at)));
    let by = Some(restore.operator.name()?);
    let pause = Pause { at: now, by: by.clone(), reason: PauseReason::Restoring(heading.at) };
    let restored = try_again(Patience::OfCommand, || store.restore_tenant(item.clone(), heading.at, &pause));
    let added = match restored.await? {
        RestoredTenant::Added => PartTally { added: 1, present: 0 },
        RestoredTenant::Begun => PartTally { added: 0, present: 1 },
        RestoredTenant::Other => return Err(CommandError::TenantExists(tenant)),
    };
    let mut tally = RestoreTally {
        tenant: tenant.clone(),
        items: BTreeMap::from([(BackupPart::Tenant, added)]),
        others: Vec::new(),
        paused: true,
    };
    let mut outcome = Ok(());
    for part in BackupPart::ALL.into_iter().filter(|part| *part != BackupPart::Tenant) {
        outcome = restore_part(session, &store, path, part, &mut tally).await;
        if outcome.is_err() || !tally.others.is_empty() {
            break;
        }
    }
    let others = tally.others.len();
    for key in tally.others.iter().take(MOST_NAMED) {
        session.note(&format!("another item is there, and stays: {key}"));
    }
    let outcome = match outcome {
        Ok(()) if others > 0 => Err(CommandError::Incomplete(format!(
            "{} not restored; the tenant stays paused",
            counted(others, "item")
        ))),
        Ok(()) => {
            // A pause that was saved stays, and so does one that is asked for.
            let asked = restore.paused.then_some(Pause { at: now, by, reason: PauseReason::Tenant });
            let pause = saved.paused.or(asked);
            let ended = end(session, &store, &heading, pause.as_ref(), due, restore.yes).await;
            tally.paused = pause.is_some() || !matches!(ended, Ok(true));
            ended.map(|_| ())
        }
        Err(error) => Err(error),
    };
    if tally.paused {
        session.note(&format!("the cancellations of {tenant} are paused"));
    }
    let row = |(part, count): (&BackupPart, &PartTally)| {
        [part.to_string(), count.added.to_string(), count.present.to_string()]
    };
    session.conclude(&tally, || table(["PART", "#ADDED", "#PRESENT"], tally.items.iter().map(row)), outcome)
}

/// Ends the pause of the restore, and puts this one in its place. Without one, asks first if some cancellations are due. Returns false
/// if an operator has paused the tenant meanwhile.
async fn end(
    session: &mut Session<'_>,
    store: &Admin,
    heading: &Heading,
    pause: Option<&Pause>,
    due: usize,
    yes: bool,
) -> Result<bool, CommandError> {
    if pause.is_none() && !yes {
        confirm_executions(session, due).await?;
    }
    let end = || store.end_restore(&heading.tenant, heading.at, pause);
    Ok(try_again(Patience::OfCommand, end).await?)
}

/// Restores one part, several items at once, until its end, a failure or a signal.
async fn restore_part(
    session: &Session<'_>,
    store: &Admin,
    path: &std::path::Path,
    part: BackupPart,
    tally: &mut RestoreTally,
) -> Result<(), CommandError> {
    let unreadable = |source| CommandError::Read { path: path.to_owned(), source };
    let lines = BackupLines::open(path).map_err(unreadable)?;
    // The file was checked before. If it has changed since, its items can still only be added.
    let changed = move |fault: BackupFault| CommandError::Incomplete(fault.to_string());
    let items = stream::iter(items_of(lines, part)).map_err(changed);
    let items = items.take_until(session.stop.cancelled());
    let written = items.map_ok(|item| async move {
        let restored = try_again(Patience::OfCommand, || store.restore_item(part, &item)).await?;
        Ok::<_, CommandError>((item, restored))
    });
    let mut written = pin!(written.try_buffer_unordered(AT_ONCE));
    let progress = ProgressBar::new_spinner();
    // The template is valid, so the style is always used.
    let progress = ProgressStyle::with_template("{spinner} {msg}")
        .map_or(progress.clone(), |style| progress.with_style(style));
    let (begun, mut done) = (Instant::now(), 0);
    while let Some((item, restored)) = written.try_next().await? {
        let count = tally.items.entry(part).or_default();
        match restored {
            Restored::Added => count.added += 1,
            Restored::Present => count.present += 1,
            Restored::Other => tally.others.push(item.key().to_owned()),
        }
        done += 1;
        progress.set_message(format!(
            "{part}: {} in {:.0} s",
            HumanCount(done),
            begun.elapsed().as_secs_f32()
        ));
        progress.tick();
    }
    progress.finish_and_clear();
    if session.stop.is_cancelled() {
        return Err(CommandError::Incomplete(
            "interrupted; the same command continues, and until then the tenant is paused and no key is valid".to_owned(),
        ));
    }
    Ok(())
}

/// Returns the items of one part of a file.
fn items_of(
    mut lines: BackupLines,
    part: BackupPart,
) -> impl Iterator<Item = Result<BackupItem, BackupFault>> {
    std::iter::from_fn(move || {
        loop {
            match lines.next() {
                Ok(Some(LineOfBackup::Item { part: of, item })) if of == part => return Some(Ok(item)),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(fault) => return Some(Err(fault)),
            }
        }
    })
}
