//! Files and folders that only their owner can read.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::Path;

/// Creates a file.
///
/// # Errors
/// The file exists already, or can't be created.
pub fn create_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Opens a file to append to. Creates it if it does not exist.
///
/// # Errors
/// The file can't be created or opened.
pub fn append_to(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Creates a file. An existing file is removed first, because others may be able to read it.
///
/// # Errors
/// The file can't be created, or the path is something other than a file.
pub fn replace_file(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => fs::remove_file(path)?,
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    create_file(path)
}

/// Opens a file, a device or a pipe to write to. An existing file is replaced by a new one, also through a link.
///
/// # Errors
/// The file, device or pipe can't be opened or created.
pub fn open_file(path: &Path) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() => replace_file(&fs::canonicalize(path)?),
        Ok(_) => File::options().write(true).open(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_file(path),
        Err(error) => Err(error),
    }
}

/// Removes all rights of others to a file. A missing file is not an error.
///
/// # Errors
/// The file belongs to another user.
#[cfg(unix)]
pub fn tighten(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() && there.permissions().mode() & 0o077 != 0 => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        }
        _ => Ok(()),
    }
}

/// Does nothing: this system has no such rights.
///
/// # Errors
/// Never fails.
#[cfg(not(unix))]
pub fn tighten(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns true if two paths lead to the same file, device or pipe, through any names and links.
#[cfg(unix)]
#[must_use]
pub fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    // Only the metadata is read: opening a pipe would wait for a writer.
    let identity = |path: &Path| fs::metadata(path).ok().map(|there| (there.dev(), there.ino()));
    identity(one).is_some_and(|identity_of_one| Some(identity_of_one) == identity(other))
}

/// Returns true if two paths lead to the same file.
#[cfg(not(unix))]
#[must_use]
pub fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// Returns the folder that a file is in.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Creates a folder and its parents, unless they exist.
///
/// # Errors
/// The folder can't be created.
pub fn create_folders(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
