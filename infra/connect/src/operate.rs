//! Runs one of the operator's commands as a process: a signal ends it, and its outcome is the exit code.

use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::time::Duration;

use operator::{CommandError, SCHEDULE_VARIABLE, Session};
use service::clock::Clock;
use service::endpoint::Endpoint;
use service::environment::{table_names, variable};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use crate::command_line::Global;
use crate::output::{fail, log};
use crate::signals::{Signals, output_is_closed};

/// Runs a command, and prints its error.
#[tokio::main]
pub(crate) async fn operate(command: operator::Command, global: Global) -> ExitCode {
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
        // The reader of the output, such as `head`, has stopped early.
        Err(error) if only_reads && error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            let through = proxy.filter(|_| error.is_unavailable());
            let through = through.map(|proxy| format!(", through the proxy {proxy}")).unwrap_or_default();
            fail(format!("error: {error}{through}"), error.exit_code())
        }
    }
}

/// Runs a command until it ends or a signal comes. One that goes on also ends when nobody reads its output any more.
///
/// A command that ends by itself is told to stop, and may finish.
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
        // Such a command would only notice it when it prints again.
        () = output_is_closed(), if goes_on => Ok(()),
    }
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
