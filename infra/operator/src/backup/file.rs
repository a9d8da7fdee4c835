//! The file of a backup: lines of JSON. The first is a heading, the last has the counts, so that a file that was cut off is noticed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use chrono::{DateTime, Utc};
use domain::identifiers::TenantId;
use serde::{Deserialize, Serialize};
use store::backup::{BackupItem, BackupPart};

use super::Counts;

/// The format that this version writes, and the latest that it reads.
pub(super) const FORMAT: u32 = 1;

/// Longest line that is read, in bytes. An item has at most 400 KB, and bytes take a third more in JSON.
const LONGEST: u64 = 4 << 20;

/// The first line.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Heading {
    pub(super) format: u32,
    pub(super) tenant: TenantId,
    pub(super) at: DateTime<Utc>,
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum LineOfBackup {
    /// The first line.
    Heading(Heading),
    /// An item.
    Item { part: BackupPart, item: BackupItem },
    /// The last line.
    End { items: Counts },
}

/// The fault of a file: it is no whole backup that this version can read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupFault {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error("line {0} is not that of a backup")]
    Line(u64),
    #[error("it is not a backup: its first line is not a heading")]
    NoHeading,
    #[error("a later version of connect has written it, in format {0}")]
    LaterFormat(u32),
    #[error("line {0} does not belong to the tenant of the backup")]
    OfAnother(u64),
    #[error("it is not complete: its last line is missing, or has other counts")]
    Incomplete,
}

/// The lines of a file.
pub(super) struct BackupLines {
    reader: BufReader<File>,
    number: u64,
}

impl BackupLines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { reader: BufReader::new(File::open(path)?), number: 0 })
    }

    /// Reads the next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<LineOfBackup>, BackupFault> {
        let mut line = Vec::new();
        if self.reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        serde_json::from_slice(&line).map(Some).map_err(|_| BackupFault::Line(self.number))
    }
}

/// A file that is a whole backup.
pub(super) struct Checked {
    pub(super) heading: Heading,
    /// The item of the tenant.
    pub(super) tenant: BackupItem,
    /// The number of cancellations that are due.
    pub(super) due: usize,
}

/// Reads a file to its end, and checks it.
pub(super) fn check(path: &Path, now: DateTime<Utc>) -> Result<Checked, BackupFault> {
    let mut lines = BackupLines::open(path)?;
    let heading = match lines.next() {
        Ok(Some(LineOfBackup::Heading(heading))) => heading,
        Err(BackupFault::Unreadable(cause)) => return Err(cause.into()),
        _ => return Err(BackupFault::NoHeading),
    };
    if heading.format > FORMAT {
        return Err(BackupFault::LaterFormat(heading.format));
    }
    let (mut counts, mut tenant, mut due) = (Counts::new(), None, 0);
    loop {
        match lines.next()? {
            Some(LineOfBackup::Item { part, item }) => {
                if !item.belongs_to(part, &heading.tenant) {
                    return Err(BackupFault::OfAnother(lines.number));
                }
                *counts.entry(part).or_default() += 1;
                due += usize::from(item.is_due(now));
                if part == BackupPart::Tenant {
                    tenant = Some(item);
                }
            }
            Some(LineOfBackup::End { items }) if items == counts && lines.next()?.is_none() => break,
            Some(LineOfBackup::Heading(_)) => return Err(BackupFault::Line(lines.number)),
            Some(LineOfBackup::End { .. }) | None => return Err(BackupFault::Incomplete),
        }
    }
    let tenant = tenant.ok_or(BackupFault::Incomplete)?;
    Ok(Checked { heading, tenant, due })
}
