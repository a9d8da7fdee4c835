//! The embedded database: dynoxide, an implementation of the DynamoDB API on SQLite.
//!
//! The functions reach it over HTTP on a port, as they reach Amazon DynamoDB. Any other DynamoDB client can do so, too.

use std::error::Error;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use dynoxide::Database;
use rusqlite::Connection;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use operator::private;
use streams::Positions;

use crate::event_source::published_in;

/// The folder for the data that outlives the service. While the service runs, no other process may use it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// The reason for which a folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder can't be created or written to.
    #[error("cannot write to the folder {}: {source}", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("the folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
}

/// The file of the database.
const DATABASE: &str = "dynamodb.sqlite";
/// The file with the place in the stream up to which changes are published.
pub const CHECKPOINTS: &str = "events-delivered.json";
/// The file of the queue of deliveries.
pub const QUEUE: &str = "webhooks.sqlite";
/// All files that may be in the folder. Earlier versions created some of them readable for everybody.
const FILES: [&str; 9] = [
    "lock",
    DATABASE,
    "dynamodb.sqlite-wal",
    "dynamodb.sqlite-shm",
    "demo-api-key",
    CHECKPOINTS,
    QUEUE,
    "webhooks.sqlite-wal",
    "webhooks.sqlite-shm",
];

impl Folder {
    /// Creates the folder if it does not exist, and locks it.
    ///
    /// # Errors
    /// The folder can't be written to, or another process uses it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let unwritable = |source| FolderError::Unwritable { path: path.to_owned(), source };
        private::create_folders(path).map_err(unwritable)?;
        for name in FILES {
            private::tighten(&path.join(name)).map_err(unwritable)?;
        }
        // SQLite gives its additional files the rights of this file.
        for name in [DATABASE, QUEUE] {
            private::append_to(&path.join(name)).map_err(unwritable)?;
        }
        let lock = private::append_to(&path.join("lock")).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(unwritable(source)),
        }
    }

    /// Returns the path of a file in the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Serves a database, kept in `folder` or in memory, until `stop` is cancelled.
///
/// # Errors
/// The file in the folder is not a database, or can't be opened.
pub fn serve(
    listener: TcpListener,
    folder: Option<&Folder>,
    stop: CancellationToken,
) -> Result<JoinHandle<Result<(), String>>, String> {
    let database = match folder {
        Some(folder) => open(&folder.file(DATABASE), &published_in(&folder.file(CHECKPOINTS)))?,
        None => in_memory()?,
    };
    Ok(serve_opened(listener, database, stop))
}

/// Serves a database that is open, until `stop` is cancelled.
pub fn serve_opened(
    listener: TcpListener,
    database: Database,
    stop: CancellationToken,
) -> JoinHandle<Result<(), String>> {
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, stop.cancelled_owned()))
}

fn open(file: &Path, published: &Positions) -> Result<Database, String> {
    let path = utf8(file)?;
    let failed = |error: &dyn Error| format!("cannot open {path}: {error}");
    let database = Database::new(path).map_err(|error| failed(&error))?;
    Connection::open(file)
        .and_then(|connection| {
            connection.execute_batch(STREAM_INDEX)?;
            forget(&connection, published)
        })
        .map_err(|error| failed(&error))?;
    Ok(database)
}

/// Removes the changes of a shard before a number that are older than 24 hours.
const REMOVE_OLD_CHANGES: &str = "DELETE FROM _stream_records WHERE shard_id = ?1 \
    AND CAST(sequence_number AS INTEGER) < CAST(?2 AS INTEGER) AND created_at < unixepoch() - 86400";
/// Removes the item before and after the change with a number, if that is older than 24 hours.
const EMPTY_LAST_CHANGE: &str = "UPDATE _stream_records SET new_image = NULL, old_image = NULL WHERE shard_id = ?1 \
    AND CAST(sequence_number AS INTEGER) = CAST(?2 AS INTEGER) AND created_at < unixepoch() - 86400 \
    AND (new_image IS NOT NULL OR old_image IS NOT NULL)";

/// Removes the changes that the streams have kept for 24 hours, as DynamoDB does, if they are published. The last one that is published
/// stays, without the item before and after it, because its number counts. If there are some, the file is compacted: until then it
/// still holds what was removed or erased.
fn forget(connection: &Connection, published: &Positions) -> rusqlite::Result<()> {
    let mut changed = 0;
    for (shard, number) in published {
        for statement in [REMOVE_OLD_CHANGES, EMPTY_LAST_CHANGE] {
            changed += connection.execute(statement, (shard, number))?;
        }
    }
    if changed > 0 {
        connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
    }
    Ok(())
}

/// Creates a database in memory, with the same index as one in a file.
///
/// # Errors
/// A temporary file can't be written.
pub fn in_memory() -> Result<Database, String> {
    let failed = |error: &dyn Error| format!("cannot open a database: {error}");
    let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
    let file = folder.path().join("empty.sqlite");
    drop(open(&file, &Positions::new())?);
    let database = Database::memory().map_err(|error| failed(&error))?;
    database.restore_from(utf8(&file)?).map_err(|error| failed(&error))?;
    Ok(database)
}

fn utf8(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("the path {} is not UTF-8", path.display()))
}

/// An index over the records of streams. Dynoxide looks up the last number of a stream to number each change. Without the index it
/// reads all changes for that, so the time of many writes would grow with the square of their number.
const STREAM_INDEX: &str = "CREATE INDEX IF NOT EXISTS stream_records_by_number \
    ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";
