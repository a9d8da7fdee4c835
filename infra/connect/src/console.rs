//! `connect console`: the console as a process, on the database of a stack or of another machine, until a signal comes.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{self, ExitCode};

use clap::Args;
use local::console::alone;
use local::console::commands::Commands;
use operator::SCHEDULE_VARIABLE;
use operator::terminal::{self, Text};
use serde_json::json;
use service::clock::Clock;
use service::environment::{table_names, variable};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use crate::command_line::Global;
use crate::operate::{endpoint, queue};
use crate::output::{fail, log};
use crate::signals::Signals;

/// Options of the console.
#[derive(Args)]
pub(crate) struct ConsoleOptions {
    /// Port of the console; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Let the console change something too: pause, replace a key, enable a webhook, send again
    #[arg(long)]
    allow_changes: bool,
}

/// Runs the console.
pub(crate) fn console(options: &ConsoleOptions, global: Global) -> ExitCode {
    log(LevelFilter::WARN);
    match run(options, global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("error: {error}"), 1),
    }
}

#[tokio::main]
async fn run(options: &ConsoleOptions, global: Global) -> Result<(), String> {
    let mut signals = Signals::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let queue = queue(global.dynamodb_endpoint.is_some()).await;
    let endpoint = endpoint(global.dynamodb_endpoint).await?;
    let place = endpoint.url.clone().unwrap_or_else(|| format!("Amazon DynamoDB in {}", endpoint.region));
    let stop = CancellationToken::new();
    let commands = Commands {
        endpoint,
        tables: table_names(),
        queue,
        schedule: variable(SCHEDULE_VARIABLE),
        clock: Clock::system(),
        may_change: options.allow_changes,
        place,
        api_url: None,
        stop: stop.clone(),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await;
    let listener = listener.map_err(|source| format!("cannot listen on port {}: {source}", options.port))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let token = alone::secret();
    let url = format!("http://{address}/console#/?token={token}");
    let text = if global.json {
        terminal::json(&json!({"consoleUrl": url})).map_err(|error| error.to_string())?
    } else {
        Text::from(format!("Console   {url}"))
            .and("          The link is good once, for one window. Ctrl-C ends the console.")
            .to_string()
    };
    writeln!(io::stdout(), "{text}").map_err(|error| format!("cannot print: {error}"))?;
    let serving = tokio::spawn(alone::serve(listener, commands, token, stop.clone()));
    signals.wait().await;
    stop.cancel();
    tokio::spawn(async move {
        signals.wait().await;
        fail("error: interrupted", 1);
        process::exit(1);
    });
    serving.await.map_err(|error| error.to_string())
}
