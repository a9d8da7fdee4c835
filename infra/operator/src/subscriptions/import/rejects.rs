//! The file of the lines that are not imported. Only its owner can read it, and it never replaces a file that may be needed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::{CommandError, private, terminal};

/// A line that is not imported.
#[derive(Serialize)]
pub(super) struct Reject {
    pub(super) line: u64,
    pub(super) fault: String,
    /// The text of the line; `None` if it is too long.
    pub(super) text: Option<String>,
}

/// The file of rejects. It has personal data, so only its owner can read it.
pub(super) struct Rejects {
    pub(super) path: PathBuf,
    kind: Kind,
    file: Option<BufWriter<File>>,
}

enum Kind {
    /// The operator named the file. It has only the rejects of this import.
    Named,
    /// The file is named after the file of subscriptions. It replaces the one of an earlier import, and is removed if there are
    /// no rejects.
    OfFile,
    /// Subscriptions come from standard input. An existing file may belong to any import, so it is not replaced.
    OfStandardInput,
}

impl Rejects {
    /// Prepares the file that was named, or the default one.
    ///
    /// # Errors
    /// The file of subscriptions was named, or the file can't be written.
    pub(super) fn new(named: Option<PathBuf>, subscriptions: &Path) -> Result<Self, CommandError> {
        let is_standard_input = subscriptions == Path::new("-");
        let Some(path) = named else {
            let (path, kind) = if is_standard_input {
                (PathBuf::from("import.rejects"), Kind::OfStandardInput)
            } else {
                let mut name = subscriptions.as_os_str().to_owned();
                name.push(".rejects");
                (PathBuf::from(name), Kind::OfFile)
            };
            // Checked before anything is imported.
            check(&path, &kind).map_err(|source| CommandError::Rejects { path: path.clone(), source })?;
            return Ok(Self { path, kind, file: None });
        };
        let input = if is_standard_input { Path::new("/dev/stdin") } else { subscriptions };
        if private::is_same(&path, input) {
            return Err(CommandError::Usage("--rejects names the file that is imported"));
        }
        let file =
            private::open_file(&path).map_err(|source| CommandError::Write { path: path.clone(), source })?;
        Ok(Self { path, kind: Kind::Named, file: Some(BufWriter::new(file)) })
    }

    /// Writes one more reject.
    pub(super) fn add(&mut self, reject: &Reject) -> Result<(), CommandError> {
        let mut write = || -> io::Result<()> {
            let file = match &mut self.file {
                Some(file) => file,
                None => {
                    let create = match self.kind {
                        Kind::OfFile => private::replace_file,
                        Kind::Named | Kind::OfStandardInput => private::create_file,
                    };
                    self.file.insert(BufWriter::new(create(&self.path)?))
                }
            };
            writeln!(file, "{}", terminal::json(reject)?)
        };
        write().map_err(|source| CommandError::Write { path: self.path.clone(), source })
    }

    /// Completes the file. After a complete import without rejects, a file of an earlier import is removed.
    pub(super) fn finish(&mut self, is_complete: bool) -> Result<(), CommandError> {
        let outcome = match &mut self.file {
            Some(file) => file.flush(),
            None if is_complete && matches!(self.kind, Kind::OfFile) && self.path.is_file() => {
                fs::remove_file(&self.path)
            }
            None => Ok(()),
        };
        outcome.map_err(|source| CommandError::Write { path: self.path.clone(), source })
    }
}

/// Checks that the file can be created if it is needed.
fn check(path: &Path, kind: &Kind) -> io::Result<()> {
    match (fs::symlink_metadata(path), kind) {
        (Ok(there), Kind::OfFile) if there.is_file() => {}
        (Ok(_), _) => return Err(io::ErrorKind::AlreadyExists.into()),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {}
        (Err(error), _) => return Err(error),
    }
    NamedTempFile::new_in(private::folder_of(path)).map(drop)
}
