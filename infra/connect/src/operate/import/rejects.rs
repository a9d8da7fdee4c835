//! The file of the lines that are not imported.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::operate::CommandError;

/// A line that is not imported.
#[derive(Serialize)]
pub(super) struct Reject {
    pub(super) line: u64,
    pub(super) fault: String,
    /// What stands there, unless it is too long to be read.
    pub(super) text: Option<String>,
}

/// It holds what is personal, so only its owner can read it; and it is there only if there
/// are any, so that an older one does not pass for this import's.
pub(super) struct Rejects {
    pub(super) path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Rejects {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Writes one more.
    pub(super) fn add(&mut self, reject: &Reject) -> Result<(), CommandError> {
        let mut write = || -> io::Result<()> {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(BufWriter::new(create_private(&self.path)?)),
            };
            writeln!(file, "{}", json!(reject))
        };
        write().map_err(|source| CommandError::Write { path: self.path.clone(), source })
    }

    /// Nothing more will be written. After a complete import without any, no file is left.
    pub(super) fn finish(&mut self, is_complete: bool) -> Result<(), CommandError> {
        let outcome = match &mut self.file {
            Some(file) => file.flush(),
            None if is_complete => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            None => Ok(()),
        };
        outcome.map_err(|source| CommandError::Write { path: self.path.clone(), source })
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    // An older one may be readable by others.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
