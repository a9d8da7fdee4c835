//! The command line: the service by default, or one of the operator's commands, with the options that all share.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use domain::calendar::IANA_RELEASE;
use local::up::Options;
use url::Url;

use crate::console::ConsoleOptions;
use crate::profile;

/// The version with its commit and target, and the release of the time zone database: both decide when a cancellation takes effect.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let build = [env!("CONNECT_COMMIT"), env!("CONNECT_TARGET")].map(str::to_owned);
    let build = build.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    format!("{} ({build}, time zones: IANA {IANA_RELEASE})", env!("CARGO_PKG_VERSION"))
});

/// The cancellation service of a telecom operator's API
///
/// Without a command, the whole service runs on this machine. The other commands use the DynamoDB that --dynamodb-endpoint
/// names, or otherwise that of AWS, with the credentials that the AWS CLI uses (environment, AWS_PROFILE, single sign-on), and the
/// tables that SUBSCRIPTIONS_TABLE, IDEMPOTENCY_TABLE, TENANTS_TABLE and HISTORY_TABLE name.
///
/// The exit code is 0 for success, 1 for a failure, and 2 for wrong usage.
#[derive(Parser)]
#[command(name = "connect", version = VERSION.as_str())]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) global: Global,
}

#[derive(Args)]
pub(crate) struct Global {
    /// DynamoDB to use, instead of the one in the environment or the embedded one of `up`
    #[arg(long, value_name = "URL", global = true, value_parser = parse_endpoint)]
    pub(crate) dynamodb_endpoint: Option<String>,
    /// Profile with the environment of a stack, from ~/.config/connect/config.toml
    #[arg(long, value_name = "NAME", global = true, env = profile::VARIABLE, hide_env_values = true)]
    pub(crate) profile: Option<String>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the whole service on this machine (the default)
    Up(Box<Options>),
    #[command(flatten)]
    Operate(operator::Command),
    /// Open the console: tenants, keys, webhooks, subscriptions and their cancellations, in a browser on this machine
    ///
    /// Prints a link that is good once. The console uses the same database and the same credentials as the other commands, and only
    /// reads unless --allow-changes is given. It listens on the loopback interface only.
    Console(ConsoleOptions),
    /// Print the completions of a shell
    ///
    /// For bash: connect completions bash > ~/.local/share/bash-completion/completions/connect
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write a man page for each command
    Man {
        /// Folder for the pages, such as ~/.local/share/man/man1
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

fn parse_endpoint(text: &str) -> Result<String, &'static str> {
    let is_url = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    is_url.then(|| text.to_owned()).ok_or("write a URL, such as http://127.0.0.1:8000")
}
