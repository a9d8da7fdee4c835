//! The console without the service: the same pages, on the database of a stack, with the operator's own credentials.
//!
//! Only who has the link that `connect console` prints gets in. Its token is good once, for one window: the page exchanges it for the
//! secret of a session, which it sends with each request, and which ends with the process. No cookie has that secret, because cookies
//! of one host are for all ports.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::commands::{self, Commands};
use crate::{pages, server};

/// The header with the secret of the session.
const SESSION: &str = "x-console-session";

/// The secrets of one run of the console.
struct Admission {
    /// The token of the link, until it is used.
    token: Mutex<Option<String>>,
    /// The secret of the session.
    session: String,
}

/// Makes a secret that nobody guesses: 244 random bits.
#[must_use]
pub fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// Serves the console until `stop` is cancelled. The page at `/#/?token=…` with this token gets in, once.
pub async fn serve(listener: TcpListener, commands: Commands, token: String, stop: CancellationToken) {
    let admission = Arc::new(Admission { token: Mutex::new(Some(token)), session: secret() });
    let enter = post(enter).with_state(Arc::clone(&admission));
    let routes = commands::routes(commands)
        .layer(from_fn_with_state(admission, only_in_the_session))
        .route("/_console/enter", enter)
        // The browser keeps what is behind the `#`.
        .route("/", get(async || Redirect::to("/console")))
        .merge(pages::console_routes());
    let routes: Router = routes;
    server::serve(listener, routes, stop).await;
}

#[derive(Deserialize)]
struct Entering {
    token: String,
}

/// Exchanges the token of the link for the secret of the session.
async fn enter(
    State(admission): State<Arc<Admission>>,
    Json(Entering { token }): Json<Entering>,
) -> Response {
    let mut expected = admission.token.lock().await;
    if expected.as_ref() != Some(&token) {
        return locked();
    }
    *expected = None;
    Json(json!({"session": admission.session})).into_response()
}

async fn only_in_the_session(
    State(admission): State<Arc<Admission>>,
    request: Request,
    next: Next,
) -> Response {
    let session = request.headers().get(SESSION).map(|session| session.as_bytes());
    if session == Some(admission.session.as_bytes()) { next.run(request).await } else { locked() }
}

fn locked() -> Response {
    let why = "this console is open in another window, or was restarted; start connect console anew, and use its link";
    (StatusCode::FORBIDDEN, Json(json!({"error": why, "notes": []}))).into_response()
}
