//! The operator's commands, as the console runs them: the same parser, the same commands, the same questions. A page sends the
//! arguments of a command, and gets its result as JSON.
//!
//! A command that reads or writes a file of this machine is refused. So is one that changes something, unless the console may.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use operator::{Command, CommandError, Session};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_with::skip_serializing_none;
use service::clock::Clock;
use service::deliver::DeliveryQueue;
use service::endpoint::Endpoint;
use store::tables::TableNames;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// The database and the rights with which the commands of a page run.
#[derive(Clone, Debug)]
pub struct Commands {
    /// The database.
    pub endpoint: Endpoint,
    /// The names of its tables.
    pub tables: TableNames,
    /// The queue of deliveries to webhooks, if it is known.
    pub queue: Option<DeliveryQueue>,
    /// The name of the schedule that sweeps, if it is known.
    pub schedule: Option<String>,
    /// The clock.
    pub clock: Clock,
    /// True if commands may change something.
    pub may_change: bool,
    /// A description of the database, for people.
    pub place: String,
    /// The URL of the API, if it is known.
    pub api_url: Option<String>,
    /// Cancelled when the process is to end: commands under way finish what they have begun.
    pub stop: CancellationToken,
}

/// The command line of a page.
#[derive(Parser)]
#[command(name = "connect", no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
struct CommandOfPage {
    #[command(subcommand)]
    command: Command,
    /// Changes nothing: a page always gets JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Deserialize)]
struct Asked {
    arguments: Vec<String>,
}

/// The outcome of a command.
#[skip_serializing_none]
#[derive(Default, Serialize)]
struct Ran {
    /// The result, if the command printed one.
    result: Option<Value>,
    /// The lines that it printed for people.
    notes: Vec<String>,
    /// The reason for which it failed, in whole or in part.
    error: Option<String>,
    /// The question to answer before it is sent again with `--yes`.
    question: Option<String>,
}

/// Creates the routes under `/_console/`.
pub fn routes(commands: Commands) -> Router {
    Router::new()
        .route("/_console/about", get(about))
        .route("/_console/run", post(run))
        .with_state(Arc::new(commands))
}

async fn about(State(commands): State<Arc<Commands>>) -> Response {
    let Commands { place, may_change, api_url, clock, .. } = &*commands;
    Json(json!({"place": place, "mayChange": may_change, "apiUrl": api_url, "now": clock.now()}))
        .into_response()
}

async fn run(State(commands): State<Arc<Commands>>, Json(Asked { arguments }): Json<Asked>) -> Response {
    let refused = |status: StatusCode, error: String| {
        (status, Json(Ran { error: Some(error), ..Ran::default() })).into_response()
    };
    let command = match CommandOfPage::try_parse_from(&arguments) {
        Ok(CommandOfPage { command, json: _ }) => command,
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            return refused(StatusCode::BAD_REQUEST, line.trim_start_matches("error: ").to_owned());
        }
    };
    if !command.is_for_a_page() {
        return refused(StatusCode::FORBIDDEN, "this command runs in a terminal only".to_owned());
    }
    if !command.only_reads() && !commands.may_change {
        let why = "this console only reads; connect console --allow-changes allows more";
        return refused(StatusCode::FORBIDDEN, why.to_owned());
    }
    // The future of a command stays in one thread.
    let runtime = Handle::current();
    let running = tokio::task::spawn_blocking(move || runtime.block_on(commands.run(command)));
    match running.await {
        Ok(ran) => Json(ran).into_response(),
        Err(cause) => refused(StatusCode::INTERNAL_SERVER_ERROR, cause.to_string()),
    }
}

impl Commands {
    async fn run(&self, command: Command) -> Ran {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut session = Session {
            endpoint: self.endpoint.clone(),
            tables: self.tables.clone(),
            queue: self.queue.clone(),
            schedule: self.schedule.clone(),
            clock: self.clock.clone(),
            json: true,
            asks: false,
            out: &mut out,
            notes: &mut notes,
            stop: self.stop.child_token(),
        };
        // Boxed, because the future of all commands is large.
        let outcome = Box::pin(operator::run(command, &mut session)).await;
        let notes = String::from_utf8_lossy(&notes).lines().map(str::to_owned).collect();
        let result = serde_json::from_slice(&out).ok();
        match outcome {
            Ok(()) => Ran { result, notes, ..Ran::default() },
            Err(CommandError::NobodyToAsk(question)) => {
                Ran { notes, question: Some(question), ..Ran::default() }
            }
            Err(error) => Ran { result, notes, error: Some(error.to_string()), question: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_parser_of_a_page_is_sound() {
        CommandOfPage::command().debug_assert();
    }
}
