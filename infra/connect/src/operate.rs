//! Runs one of the operator's commands as a process: a signal ends it, and its outcome is the exit code.

use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::time::Duration;

use local::{bus, up};
use operator::terminal;
use operator::{CommandError, QUEUE_VARIABLE, SCHEDULE_VARIABLE, Session};
use serde_json::json;
use service::clock::Clock;
use service::deliver::DeliveryQueue;
use service::endpoint::Endpoint;
use service::environment::{table_names, variable};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use crate::aws;
use crate::command_line::Global;
use crate::output::{fail, log};
use crate::pager;
use crate::signals::{Signals, output_is_closed};

/// Runs a command, and prints its error.
#[tokio::main]
pub(crate) async fn operate(command: operator::Command, global: Global) -> ExitCode {
    log(LevelFilter::WARN);
    let queue = queue(global.dynamodb_endpoint.is_some()).await;
    let endpoint = match endpoint(global.dynamodb_endpoint).await {
        Ok(endpoint) => endpoint,
        Err(missing) => return fail(format!("error: {missing}"), 1),
    };
    let only_reads = command.only_reads();
    let proxy = endpoint.proxy();
    match until_stopped(command, endpoint, queue, global.json).await {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output, such as `head`, has stopped early.
        Err(error) if only_reads && error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            let through = proxy.filter(|_| error.is_unavailable());
            let through = through.map(|proxy| format!(", through the proxy {proxy}")).unwrap_or_default();
            let (message, code) = (format!("{error}{through}"), error.exit_code());
            if global.json {
                let line = terminal::json(&json!({"error": message, "exitCode": code})).unwrap_or_default();
                return fail(line, code);
            }
            fail(format!("error: {message}"), code)
        }
    }
}

/// Returns the database at a URL, or that of the environment.
pub(crate) async fn endpoint(url: Option<String>) -> Result<Endpoint, String> {
    match url {
        // A database of this machine takes any credentials.
        Some(url) if variable("AWS_PROFILE").is_none() => Ok(Endpoint::at(url)),
        Some(url) => Ok(Endpoint { url: Some(url), ..aws::endpoint(aws::DYNAMODB).await? }),
        None => {
            let endpoint = aws::endpoint(aws::DYNAMODB).await;
            endpoint.map_err(|missing| format!("{missing}; or name the database with --dynamodb-endpoint"))
        }
    }
}

/// Returns the queue of deliveries, if it is known: the one that the environment names, or that of the service on this machine if
/// the database is chosen by its URL.
pub(crate) async fn queue(of_this_machine: bool) -> Option<DeliveryQueue> {
    let url = variable(QUEUE_VARIABLE).or_else(|| of_this_machine.then(|| bus::WEBHOOKS.to_owned()))?;
    let default = format!("http://127.0.0.1:{}{}", up::defaults().port, bus::PATH);
    let found = if of_this_machine && variable("AWS_PROFILE").is_none() {
        Endpoint::from_env_of(aws::SQS).map_err(|missing| missing.to_string())
    } else {
        aws::endpoint(aws::SQS).await
    };
    let sqs = match found {
        Ok(endpoint) if endpoint.url.is_none() && of_this_machine => {
            Endpoint { url: Some(default), ..endpoint }
        }
        Ok(endpoint) => endpoint,
        Err(_) => Endpoint::local(variable("AWS_ENDPOINT_URL_SQS").unwrap_or(default)),
    };
    Some(DeliveryQueue::new(&sqs.sdk_config(), url))
}

/// Runs a command until it ends or a signal comes. One that goes on also ends when nobody reads its output any more.
///
/// A command that ends by itself is told to stop, and may finish.
async fn until_stopped(
    command: operator::Command,
    endpoint: Endpoint,
    queue: Option<DeliveryQueue>,
    json: bool,
) -> Result<(), CommandError> {
    let signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let (ends_by_itself, goes_on) = (command.ends_by_itself(), command.goes_on());
    let (mut stdout, mut notes) = (io::stdout(), io::stderr());
    let mut pager = if command.only_reads() && !goes_on && !json { pager::start() } else { None };
    let mut to_pager = pager.as_mut().and_then(|pager| pager.stdin.take());
    let out: &mut (dyn Write + Send) = match &mut to_pager {
        Some(to_pager) => to_pager,
        None => &mut stdout,
    };
    let mut session = Session {
        endpoint,
        tables: table_names(),
        queue,
        schedule: variable(SCHEDULE_VARIABLE),
        clock: Clock::system(),
        json,
        asks: true,
        out,
        notes: &mut notes,
        stop: stop.clone(),
    };
    tokio::spawn(end_at_signals(signals, stop.clone(), ends_by_itself, goes_on));
    let running = operator::run(command, &mut session);
    let outcome = tokio::select! {
        outcome = running => outcome,
        () = stop.cancelled(), if !ends_by_itself => match goes_on {
            true => Ok(()),
            false => Err(CommandError::Incomplete("interrupted".to_owned())),
        },
        // Such a command would only notice it when it prints again.
        () = output_is_closed(), if goes_on => Ok(()),
    };
    drop(to_pager);
    if let Some(mut pager) = pager {
        // The reader decides when to go on.
        let _ = pager.wait();
    }
    outcome
}

/// Asks the command to stop at the first signal.
///
/// If the command ends by itself, a second signal ends the process. Otherwise the process ends after 2 seconds, in case the
/// command still blocks on a file.
async fn end_at_signals(mut signals: Signals, stop: CancellationToken, ends_by_itself: bool, goes_on: bool) {
    signals.wait().await;
    stop.cancel();
    if ends_by_itself {
        let _ =
            writeln!(io::stderr(), "finishing the work in progress; send the signal again to stop at once");
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
