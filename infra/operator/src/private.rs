//! Files and folders that only their owner can read.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::Path;

/// A new file.
///
/// # Errors
/// It can't be made, or is there already.
pub fn create_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A file to add to, made if it isn't there.
///
/// # Errors
/// It can't be made or opened.
pub fn append_to(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A new file, in place of the one that may be there, and that others may be able to read.
///
/// # Errors
/// It can't be made; or what is there is no file.
pub fn replace_file(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => fs::remove_file(path)?,
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    create_file(path)
}

/// A new file to write to, in place of the one that may be there, also through a link; or a device or a pipe.
///
/// # Errors
/// It can't be opened.
pub fn open_file(path: &Path) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() => replace_file(&fs::canonicalize(path)?),
        Ok(_) => File::options().write(true).open(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_file(path),
        Err(error) => Err(error),
    }
}

/// Takes the rights to a file from all but its owner, if it is there and they have any.
///
/// # Errors
/// It belongs to somebody else.
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

/// There is nothing that could be taken.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn tighten(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Whether two paths lead to one file, device or pipe, by whatever names and links.
#[cfg(unix)]
#[must_use]
pub fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    // Asked for, not opened: a pipe would wait for somebody to write.
    let identity = |path: &Path| fs::metadata(path).ok().map(|there| (there.dev(), there.ino()));
    identity(one).is_some_and(|identity_of_one| Some(identity_of_one) == identity(other))
}

/// Whether two paths lead to one file.
#[cfg(not(unix))]
#[must_use]
pub fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// The folder that a file is in.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// A folder and those above it, unless they are there.
///
/// # Errors
/// It can't be made.
pub fn create_folders(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
