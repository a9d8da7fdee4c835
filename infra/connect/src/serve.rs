//! Runs the service as a process: until a signal comes, and then until the work in progress is finished.

use std::io::{self, Write};
use std::process::{self, ExitCode};

use local::up::{self, Addresses, Options, Running};
use operator::terminal::{self, Text};
use tracing::level_filters::LevelFilter;
use uuid::Uuid;

use crate::command_line::Global;
use crate::output::{fail, log};
use crate::signals::Signals;

/// Runs the service.
pub(crate) fn serve(options: Options, global: Global) -> ExitCode {
    log(LevelFilter::INFO);
    let options = Options { dynamodb_endpoint: global.dynamodb_endpoint, ..options };
    match run(&options, global.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("error: {error}"), 1),
    }
}

#[tokio::main]
async fn run(options: &Options, json: bool) -> Result<(), String> {
    // Listens before the service starts, so that a signal during the start is not lost.
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

/// Formats the addresses, and commands to begin with, for people.
fn welcome(running: &Running, options: &Options) -> String {
    let Addresses { api_url, dynamodb_url, api_key, tenant, webhook_secret, .. } = &running.addresses;
    let kept = terminal::escape(&options.keeping());
    let zone = &options.time_zone;
    let mut text = format!(
        "\nConnect Subscriptions is running. Ctrl-C stops it.\n\n  \
         Page      {api_url}/\n  \
         Reference {api_url}/docs\n  \
         API       {api_url}\n  \
         DynamoDB  {dynamodb_url} ({kept})\n  \
         Tenant    {tenant} (time zone {zone})\n  \
         API key   {api_key}\n"
    );
    if let (Some(url), Some(secret)) = (&options.webhook, webhook_secret) {
        text += &format!("  Webhook   {} (secret {secret})\n", url.origin().ascii_serialization());
    }
    if let Some(id) = running.example {
        // Each start has another key. With the same one, the command would only replay the first answer.
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
