//! Notes the target and the commit of the build, which `connect --version` shows. A build outside of a repository has no commit.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=CONNECT_TARGET={target}");
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let commit = git.ok().filter(|git| git.status.success());
    let commit = commit.map(|git| String::from_utf8_lossy(&git.stdout).trim().to_owned()).unwrap_or_default();
    println!("cargo::rustc-env=CONNECT_COMMIT={commit}");
    println!("cargo::rerun-if-changed=build.rs");
    // Grows with each commit.
    if Path::new("../../.git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=../../.git/logs/HEAD");
    }
}
