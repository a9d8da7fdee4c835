//! The file of the lines that are not imported.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::operate::CommandError;
use crate::private;

/// A line that is not imported.
#[derive(Serialize)]
pub(super) struct Reject {
    pub(super) line: u64,
    pub(super) fault: String,
    /// What stands there, unless it is too long to be read.
    pub(super) text: Option<String>,
}

/// It holds what is personal, so one that is made is for its owner alone. If nobody named it, it is there only if there are
/// any rejects, so that an older one does not pass for this import's.
pub(super) struct Rejects {
    pub(super) path: PathBuf,
    /// Whether nobody has named it, so that it is an older import's if it is there.
    is_default: bool,
    file: Option<BufWriter<File>>,
}

impl Rejects {
    /// The file that was named, or one beside the file of subscriptions.
    ///
    /// # Errors
    /// The file of subscriptions was named.
    pub(super) fn new(named: Option<PathBuf>, subscriptions: &Path) -> Result<Self, CommandError> {
        let is_default = named.is_none();
        let path = named.unwrap_or_else(|| beside(subscriptions));
        let same =
            |one: &Path, other: &Path| Some(fs::canonicalize(one).ok()? == fs::canonicalize(other).ok()?);
        if same(&path, subscriptions) == Some(true) {
            return Err(CommandError::Usage("--rejects names the file that is imported"));
        }
        Ok(Self { path, is_default, file: None })
    }

    /// Writes one more.
    pub(super) fn add(&mut self, reject: &Reject) -> Result<(), CommandError> {
        let mut write = || -> io::Result<()> {
            let file = match &mut self.file {
                Some(file) => file,
                None => {
                    let open = if self.is_default { private::replace_file } else { private::open_file };
                    self.file.insert(BufWriter::new(open(&self.path)?))
                }
            };
            writeln!(file, "{}", json!(reject))
        };
        write().map_err(|source| CommandError::Write { path: self.path.clone(), source })
    }

    /// Nothing more will be written.
    pub(super) fn finish(&mut self, is_complete: bool) -> Result<(), CommandError> {
        let outcome = match &mut self.file {
            Some(file) => file.flush(),
            None if is_complete && self.is_default && self.path.is_file() => fs::remove_file(&self.path),
            None => Ok(()),
        };
        outcome.map_err(|source| CommandError::Write { path: self.path.clone(), source })
    }
}

fn beside(path: &Path) -> PathBuf {
    if path == Path::new("-") {
        return PathBuf::from("import.rejects");
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".rejects");
    PathBuf::from(name)
}
