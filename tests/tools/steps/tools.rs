//! Tools of others: installed by `.ci/tools` and `.ci/packages`, run as processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::connect::{command, root};
use crate::process::Process;
use crate::step::Step;

/// Installs a set of tools, unless it is installed already. Returns the folder of its commands.
pub async fn tools(set: &str) -> Step<PathBuf> {
    let folder = Process::output(command(root().join(".ci/tools")).arg(set)).await?;
    if folder.trim().is_empty() {
        Err(format!(".ci/tools {set}: no folder").into())
    } else {
        Ok(folder.trim().into())
    }
}

/// Returns the search path for programs, with this folder first.
pub fn before_path(folder: &Path) -> Step<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths([folder.to_owned()].into_iter().chain(std::env::split_paths(&path)))?)
}

/// Installs a Debian package, unless it is installed already.
pub async fn package(name: &str) -> Step {
    // Started in this program's own process group, because `sudo` may ask for a password in the terminal.
    let status = command(root().join(".ci/packages")).arg(name).kill_on_drop(true).status().await?;
    if status.success() { Ok(()) } else { Err(format!(".ci/packages {name}: {status}").into()) }
}

/// Returns the first of these programs that is on the search path.
pub fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found =
        |name: &&str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_file(file));
    names.iter().find_map(found)
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
