//! Profiles of `connect`: a file with sets of environment variables by name, such as one for each stack.
//!
//! ```toml
//! [production]
//! AWS_PROFILE = "operator-production"
//! SUBSCRIPTIONS_TABLE = "connect-subscriptions-subscriptions"
//! CONNECT_TENANT = "acme"
//! ```
//!
//! The process starts itself anew with these variables, so everything that reads one finds it. A variable that is set already counts
//! more than the profile.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The variable that names a profile, in place of `--profile`.
pub(crate) const VARIABLE: &str = "CONNECT_PROFILE";
/// The variable with the profile that the process has.
const READ: &str = "CONNECT_PROFILE_READ";

/// Starts the process anew with the variables of its profile, if it has one that is not read yet. Returns if there is nothing to do.
pub(crate) fn apply() -> Result<Option<ExitCode>, String> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let named = asked(&arguments).or_else(|| env::var(VARIABLE).ok()).filter(|name| !name.is_empty());
    let Some(name) = named.filter(|name| env::var(READ).as_ref() != Ok(name)) else { return Ok(None) };
    let variables = read(&name)?;
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    let is_unset = |(variable, _): &(String, String)| env::var_os(variable).is_none();
    command.args(arguments).envs(variables.into_iter().filter(is_unset)).env(READ, name);
    restart(command)
}

/// Returns the profile that the arguments name.
fn asked(arguments: &[OsString]) -> Option<String> {
    let mut arguments = arguments.iter().filter_map(|argument| argument.to_str());
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--profile") {
            Some("") => return arguments.next().map(str::to_owned),
            Some(value) if value.starts_with('=') => return Some(value[1..].to_owned()),
            _ if argument == "--" => return None,
            _ => {}
        }
    }
    None
}

/// Reads the variables of a profile.
fn read(name: &str) -> Result<BTreeMap<String, String>, String> {
    let path = file().ok_or("there is no home folder for the file of profiles; name it in CONNECT_CONFIG")?;
    let text =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut profiles: BTreeMap<String, BTreeMap<String, String>> =
        toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.message()))?;
    let variables =
        profiles.remove(name).ok_or_else(|| format!("{} has no profile {name}", path.display()))?;
    match variables.keys().find(|variable| !is_ours(variable)) {
        Some(other) => Err(format!("{}: connect does not read the variable {other}", path.display())),
        None => Ok(variables),
    }
}

/// Returns true for a variable that `connect` reads.
fn is_ours(variable: &str) -> bool {
    const OTHERS: [&str; 7] = [
        "CONNECT_TENANT",
        "SWEEP_SCHEDULE",
        "WEBHOOK_QUEUE_URL",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "PAGER",
    ];
    variable.starts_with("AWS_") || variable.ends_with("_TABLE") || OTHERS.contains(&variable)
}

/// Returns the path of the file: `CONNECT_CONFIG`, or `connect/config.toml` in the user's folder for configuration.
fn file() -> Option<PathBuf> {
    let folder = |variable: &str| env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let of_user = || {
        let home = || folder("HOME").map(|home| home.join(".config"));
        let configuration = folder("XDG_CONFIG_HOME").or_else(|| folder("APPDATA")).or_else(home)?;
        Some(configuration.join("connect").join("config.toml"))
    };
    folder("CONNECT_CONFIG").or_else(of_user)
}

#[cfg(unix)]
fn restart(mut command: Command) -> Result<Option<ExitCode>, String> {
    // Returns only if it fails.
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    Err(format!("cannot start anew with the profile: {error}"))
}

#[cfg(not(unix))]
fn restart(mut command: Command) -> Result<Option<ExitCode>, String> {
    let status = command.status().map_err(|error| format!("cannot start anew with the profile: {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Some(ExitCode::from(code.unwrap_or(1))))
}
