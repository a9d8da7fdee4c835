//! The command line of Connect Subscriptions.

use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::sync::LazyLock;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use domain::calendar::IANA_RELEASE;
use local::up::{self, Addresses, Options, Running};
use operator::terminal::{self, LogLines, Text};
use operator::{CommandError, SCHEDULE_VARIABLE, Session};
use service::clock::Clock;
use service::endpoint::Endpoint;
use service::environment::table_names;
use service::environment::variable;
use service::telemetry;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};
use url::Url;
use uuid::Uuid;

/// This version, and of which release the time zones are: both decide when a cancellation takes effect.
static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{} (time zones: IANA {IANA_RELEASE})", env!("CARGO_PKG_VERSION")));

/// The cancellation service of a telecom operator's API
///
/// Without a command it runs the whole service on this machine. The other commands work on the DynamoDB that
/// --dynamodb-endpoint names, or that the environment does (AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), in the
/// tables that SUBSCRIPTIONS_TABLE, IDEMPOTENCY_TABLE and TENANTS_TABLE name.
///
/// They exit with 0 if all went well, 1 if not, 2 if they were called wrongly.
#[derive(Parser)]
#[command(name = "connect", version = VERSION.as_str())]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    global: Global,
}

#[derive(Args)]
struct Global {
    /// The DynamoDB to work on, instead of what the environment says, or of the embedded one of `up`
    #[arg(long, value_name = "URL", global = true, value_parser = parse_endpoint)]
    dynamodb_endpoint: Option<String>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole service on this machine (the default)
    Up(Options),
    #[command(flatten)]
    Operate(operator::Command),
}

fn main() -> ExitCode {
    let CommandLine { command, global } = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) if error.use_stderr() => return fail(usage(&error), 2),
        Err(help) => help.exit(),
    };
    match command {
        Some(Command::Operate(command)) => operate(command, global),
        Some(Command::Up(options)) => serve(options, global),
        // `connect` alone means `connect up` with every option at its default.
        None => serve(up::defaults(), global),
    }
}

fn parse_endpoint(text: &str) -> Result<String, &'static str> {
    let is_url = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    is_url.then(|| text.to_owned()).ok_or("write a URL, such as http://127.0.0.1:8000")
}

/// What clap says is wrong, and what it guesses was meant, on one line; or the help on a command that lacks another.
fn usage(error: &clap::Error) -> Text {
    let text = error.to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return text.trim_end().lines().collect();
    }
    let mut paragraphs =
        text.split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "));
    let wrong = paragraphs.next().unwrap_or_default();
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned));
    without_tokens(&tip.map_or(wrong.clone(), |tip| format!("{wrong}; {tip}"))).into()
}

/// What is said of an argument quotes it, and it may have been meant to be an API key.
fn without_tokens(text: &str) -> String {
    let is_long = |word: &str| word.chars().filter(char::is_ascii_hexdigit).count() >= 64;
    let words = text.split(' ').map(|word| if word.contains("ck_") || is_long(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn fail(message: impl Into<Text>, code: u8) -> ExitCode {
    // Without standard error there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{}", message.into());
    ExitCode::from(code)
}

fn log(level: LevelFilter) {
    // The embedded database warns of every condition that fails, and conditions fail by design.
    let filter = telemetry::filter(level).with_target("dynoxide", LevelFilter::ERROR);
    registry().with(fmt::layer().with_writer(|| LogLines(io::stderr()))).with(filter).init();
}

#[tokio::main]
async fn operate(command: operator::Command, global: Global) -> ExitCode {
    log(LevelFilter::WARN);
    let endpoint = match global.dynamodb_endpoint.map_or_else(Endpoint::from_env, |url| Ok(Endpoint::at(url)))
    {
        Ok(endpoint) => endpoint,
        Err(missing) => {
            return fail(format!("error: {missing}; or name the database with --dynamodb-endpoint"), 1);
        }
    };
    let only_reads = command.only_reads();
    let proxy = endpoint.proxy();
    match until_stopped(command, endpoint, global.json).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read it has read enough.
        Err(error) if only_reads && error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            let through = proxy.filter(|_| error.is_unavailable());
            let through = through.map(|proxy| format!(", through the proxy {proxy}")).unwrap_or_default();
            fail(format!("error: {error}{through}"), error.exit_code())
        }
    }
}

/// Carries out a command, unless a signal comes. One that ends by itself is told to; a second signal ends that too.
async fn until_stopped(
    command: operator::Command,
    endpoint: Endpoint,
    json: bool,
) -> Result<(), CommandError> {
    let signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let (ends_by_itself, goes_on) = (command.ends_by_itself(), command.goes_on());
    let (mut out, mut notes) = (io::stdout(), io::stderr());
    let mut session = Session {
        endpoint,
        tables: table_names(),
        schedule: variable(SCHEDULE_VARIABLE),
        clock: Clock::system(),
        json,
        out: &mut out,
        notes: &mut notes,
        stop: stop.clone(),
    };
    tokio::spawn(end_at_signals(signals, stop.clone(), ends_by_itself, goes_on));
    let running = operator::run(command, &mut session);
    tokio::select! {
        outcome = running => outcome,
        () = stop.cancelled(), if !ends_by_itself => match goes_on {
            true => Ok(()),
            false => Err(CommandError::Incomplete("interrupted".to_owned())),
        },
    }
}

/// Asks a command to stop at the first signal, and ends the process at the second; or soon after the first if the command
/// should have ended at once, and does not, as it waits for a file.
async fn end_at_signals(mut signals: Signals, stop: CancellationToken, ends_by_itself: bool, goes_on: bool) {
    signals.wait().await;
    stop.cancel();
    if ends_by_itself {
        let _ = writeln!(io::stderr(), "finishing what is under way; once more to stop at once");
        signals.wait().await;
    } else {
        tokio::time::sleep(Duration::from_secs(2)).await;
        if goes_on {
            process::exit(0);
        }
    }
    fail("error: interrupted", 1);
    process::exit(1);
}

fn serve(options: Options, global: Global) -> ExitCode {
    log(LevelFilter::INFO);
    let options = Options { dynamodb_endpoint: global.dynamodb_endpoint, ..options };
    match run(&options, global.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("error: {error}"), 1),
    }
}

#[tokio::main]
async fn run(options: &Options, json: bool) -> Result<(), String> {
    // Before the service starts, so that a signal meanwhile is not lost.
    let mut stop = Signals::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let running = up::start(options).await.map_err(|error| error.to_string())?;

    let text = if json {
        terminal::json(&running.addresses).map_err(|error| error.to_string())?
    } else {
        welcome(&running, options).lines().collect::<Text>().to_string()
    };
    let printed = writeln!(io::stdout(), "{text}").and_then(|()| io::stdout().flush());
    if printed.is_ok() {
        stop.wait().await;
    }
    tokio::spawn(async move {
        stop.wait().await;
        fail("error: interrupted", 1);
        process::exit(1);
    });
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
    let kept = terminal::escape(&options.keeping());
    let zone = &options.time_zone;
    let mut text = format!(
        "\nConnect Subscriptions is running. Ctrl-C stops it.\n\n  \
         Page      {api_url}/\n  \
         Reference {api_url}/docs\n  \
         API       {api_url}\n  \
         DynamoDB  {dynamodb_url} ({kept})\n  \
         Tenant    {tenant}, whose days begin in {zone}\n  \
         API key   {api_key}\n"
    );
    if let Some(webhook) = &options.webhook {
        text += &format!("  Webhook   {}\n", webhook.origin());
    }
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
