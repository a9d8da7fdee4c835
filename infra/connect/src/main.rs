//! The command line of Connect Subscriptions.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use connect::operate;
use connect::up::{self, Addresses, Options, Running};
use subscriptions::telemetry;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};
use uuid::Uuid;

/// The cancellation service of a telecom operator's API
#[derive(Parser)]
#[command(name = "connect", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole service on this machine (the default)
    Up(Up),
    #[command(flatten)]
    Operate(operate::Command),
}

#[derive(Parser)]
struct Up {
    #[command(flatten)]
    options: Options,
    /// Print one line of JSON once all is ready, for programs
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) if error.use_stderr() => {
            // The first line says what is wrong; the rest of what clap prints is about --help.
            let text = error.to_string();
            return fail(text.lines().next().unwrap_or("error: wrong usage"), 2);
        }
        Err(help) => help.exit(),
    };
    // The embedded database warns of every condition that fails, and conditions fail by design.
    let filter = telemetry::filter(LevelFilter::INFO).with_target("dynoxide", LevelFilter::ERROR);
    registry().with(fmt::layer().with_writer(io::stderr)).with(filter).init();

    match command_line.command {
        Some(Command::Up(up)) => done(run(&up)),
        Some(Command::Operate(command)) => done(operate(command)),
        // `connect` alone means `connect up` with every option at its default.
        None => done(run(&Up::parse_from(["up"]))),
    }
}

fn done(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("error: {error}"), 1),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    // Without standard error there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(code)
}

#[tokio::main]
async fn operate(command: operate::Command) -> Result<(), String> {
    let text = operate::run(command).await.map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "{text}").map_err(|error| format!("cannot print: {error}"))
}

#[tokio::main]
async fn run(up: &Up) -> Result<(), String> {
    // Before the service starts, so that a signal meanwhile is not lost.
    let mut stop = Signals::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let running = up::start(&up.options).await.map_err(|error| error.to_string())?;

    let text = if up.json {
        serde_json::to_string(&running.addresses).map_err(|error| error.to_string())?
    } else {
        welcome(&running, &up.options)
    };
    let printed = writeln!(io::stdout(), "{text}").and_then(|()| io::stdout().flush());
    if printed.is_ok() {
        stop.wait().await;
    }
    running.stop().await?;
    printed.map_err(|error| format!("cannot print: {error}"))
}

/// What asks a process to stop.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) {
        // If it can't be listened for, the process ends as the system ends it.
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// What a person needs to begin.
fn welcome(running: &Running, options: &Options) -> String {
    let Addresses { api_url, dynamodb_url, api_key, tenant, .. } = &running.addresses;
    let kept = options.keeping();
    let zone = options.time_zone;
    let mut text = format!(
        "\nConnect Subscriptions is running. Ctrl-C stops it.\n\n  \
         Page      {api_url}/\n  \
         Reference {api_url}/docs\n  \
         API       {api_url}\n  \
         DynamoDB  {dynamodb_url} ({kept})\n  \
         Tenant    {tenant}, whose days begin in {zone}\n  \
         API key   {api_key}\n"
    );
    if let Some(id) = running.example {
        // Another key with each start: the line shall do something again.
        let key = Uuid::new_v4();
        let subscription = format!("{api_url}/subscriptions/{id}");
        text += &format!(
            "\nRead a subscription:\n\n  \
             curl -i {subscription} -H 'X-Api-Key: {api_key}'\n\n\
             Cancel it at the end of the day:\n\n  \
             curl -i {subscription}/cancel -H 'X-Api-Key: {api_key}' -H 'X-Idempotency-Key: {key}' \
             --json '{{\"schedule\": {{\"type\": \"CancelNextDay\"}}, \"reason\": \"NO_NEED\"}}'\n\n\
             Let the date arrive, and read it again:\n\n  \
             curl {api_url}/_local/clock --json '{{\"advance\": \"P2D\"}}'\n  \
             curl -X POST {api_url}/_local/execute-cancellations\n"
        );
    }
    text
}
