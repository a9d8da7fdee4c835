//! The console without the service: the same pages, on the database of a stack, with the operator's own credentials.
//!
//! Only who has the link that `connect console` prints gets in. Its token is good once, for one browser: it is exchanged for a cookie,
//! which ends with the process.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::commands::{self, Commands};
use crate::{pages, server};

/// The name of the cookie.
const NAME: &str = "connect-console";

/// The secrets of one run of the console.
struct Admission {
    /// The token of the link, until it is used.
    token: Mutex<Option<String>>,
    /// The value of the cookie.
    cookie: String,
}

/// Makes a secret that nobody guesses: 244 random bits.
#[must_use]
pub fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// Serves the console until `stop` is cancelled. `/?token=…` with this token lets one browser in.
pub async fn serve(listener: TcpListener, commands: Commands, token: String, stop: CancellationToken) {
    let admission = Arc::new(Admission { token: Mutex::new(Some(token)), cookie: secret() });
    let routes = commands::routes(commands)
        .merge(pages::console_routes())
        .layer(from_fn_with_state(Arc::clone(&admission), only_with_the_cookie))
        .route("/", get(enter).with_state(admission));
    server::serve(listener, routes, stop).await;
}

#[derive(Deserialize)]
struct Link {
    token: Option<String>,
}

/// Exchanges the token of the link for the cookie.
async fn enter(
    State(admission): State<Arc<Admission>>,
    headers: HeaderMap,
    Query(link): Query<Link>,
) -> Response {
    if has_cookie(&headers, &admission.cookie) {
        return Redirect::to("/console").into_response();
    }
    let mut token = admission.token.lock().await;
    if token.is_none() || *token != link.token {
        return locked();
    }
    *token = None;
    let cookie = format!("{NAME}={}; HttpOnly; SameSite=Strict; Path=/", admission.cookie);
    ([(SET_COOKIE, cookie)], Redirect::to("/console")).into_response()
}

async fn only_with_the_cookie(
    State(admission): State<Arc<Admission>>,
    request: Request,
    next: Next,
) -> Response {
    if has_cookie(request.headers(), &admission.cookie) { next.run(request).await } else { locked() }
}

fn has_cookie(headers: &HeaderMap, cookie: &str) -> bool {
    let texts = headers.get_all(COOKIE).iter().filter_map(|text| text.to_str().ok());
    let mut cookies = texts.flat_map(|text| text.split(';')).map(str::trim);
    cookies.any(|it| it.split_once('=').is_some_and(|(name, value)| name == NAME && value == cookie))
}

fn locked() -> Response {
    let why = "This console is open in another browser, or was restarted. Start connect console anew, and use its link.";
    (StatusCode::FORBIDDEN, Html(why)).into_response()
}
