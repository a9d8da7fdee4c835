//! The tools that others make: installed by `.ci/tools` and `.ci/packages`, run as processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::connect::root;
use crate::step::Step;

/// Installs a set of tools, unless it is there; the folder of its commands.
pub async fn tools(set: &str) -> Step<PathBuf> {
    let output = Command::new(root().join(".ci/tools")).arg(set).kill_on_drop(true).output().await?;
    let folder = String::from_utf8(output.stdout)?.trim().to_owned();
    if output.status.success() && !folder.is_empty() {
        Ok(folder.into())
    } else {
        Err(format!(".ci/tools {set}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// The path on which programs are looked for, with this folder first.
pub fn before_path(folder: &Path) -> Step<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths([folder.to_owned()].into_iter().chain(std::env::split_paths(&path)))?)
}

/// Installs a package of Debian, unless it is there.
pub async fn package(name: &str) -> Step {
    run(Command::new(root().join(".ci/packages")).arg(name)).await
}

/// Runs a command whose output is for people.
///
/// # Errors
/// It does not end well.
pub async fn run(command: &mut Command) -> Step {
    let status = command.current_dir(root()).kill_on_drop(true).status().await?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{}: {status}", command.as_std().get_program().display()).into())
    }
}

/// The first of these programs that is on the path.
pub fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found =
        |name: &&str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_file(file));
    names.iter().find_map(found)
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
