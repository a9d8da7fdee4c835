//! The file of the lines that are not imported: for its owner alone, and never in place of a file that may be needed.

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
    /// What stands there, unless it is too long to be read.
    pub(super) text: Option<String>,
}

/// It holds what is personal, so one that is made is for its owner alone.
pub(super) struct Rejects {
    pub(super) path: PathBuf,
    kind: Kind,
    file: Option<BufWriter<File>>,
}

enum Kind {
    /// It was named, and holds this import's rejects, and nothing else.
    Named,
    /// It is named after the file of subscriptions, and takes the place of that of an earlier import; if there are no
    /// rejects, none is left.
    OfFile,
    /// Subscriptions come from standard input. Nobody knows what one that is there is about, so it stays.
    OfStandardInput,
}

impl Rejects {
    /// The file that was named, or one beside the file of subscriptions.
    ///
    /// # Errors
    /// The file of subscriptions was named; or the one that was named can't be written.
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
            // Before anything is imported.
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

    /// Writes one more.
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

    /// Nothing more will be written.
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

/// Whether the file can be made if it has to be.
fn check(path: &Path, kind: &Kind) -> io::Result<()> {
    match (fs::symlink_metadata(path), kind) {
        (Ok(there), Kind::OfFile) if there.is_file() => {}
        (Ok(_), _) => return Err(io::ErrorKind::AlreadyExists.into()),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {}
        (Err(error), _) => return Err(error),
    }
    NamedTempFile::new_in(private::folder_of(path)).map(drop)
}
