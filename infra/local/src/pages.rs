//! Pages for people on one machine: an overview of the service, with a clock to move; the console; the API reference, from
//! `infra/openapi.yaml`; an index of all problems; and a page about each, to which its `type` links.
//!
//! The pages are part of the binary and load nothing from elsewhere. They use the API, with the demo key, and the routes of
//! [`console`](crate::console). `pages/lit-html.js` is lit-html 3.3.3 as npm has it: it renders the console.

mod problems;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use operator::openapi;

const HOME: &str = include_str!("pages/home.html");
const DOCS: &str = include_str!("pages/docs.html");
const CONSOLE: &str = include_str!("pages/console.html");

/// Content security policy: the pages neither load from nor send to other origins. The reference needs inline styles.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Creates the routes of the pages, and of their scripts and styles.
pub fn routes() -> Router {
    Router::new()
        .route("/", get(Html(HOME)))
        .route("/docs", get(Html(DOCS)))
        .route("/problems", get(async || Html(problems::index())))
        .route("/problems/{code}", get(problem))
        .route("/openapi.yaml", get(text("application/yaml", openapi::TEXT)))
        .route("/pages/home.js", get(text("text/javascript", include_str!("pages/home.js"))))
        .route("/pages/docs.js", get(text("text/javascript", include_str!("pages/docs.js"))))
        .route("/pages/scalar.js", get(scalar))
        .layer(map_response(restrict))
        .merge(console_routes())
}

/// Creates the routes of the console's page.
pub fn console_routes() -> Router {
    let script = |script| get(text("text/javascript", script));
    Router::new()
        .route("/console", get(Html(CONSOLE)))
        .route("/pages/console.js", script(include_str!("pages/console.js")))
        .route("/pages/console-views.js", script(include_str!("pages/console-views.js")))
        .route("/pages/console-words.js", script(include_str!("pages/console-words.js")))
        .route("/pages/lit-html.js", script(include_str!("pages/lit-html.js")))
        .route("/pages/style.css", get(text("text/css", include_str!("pages/style.css"))))
        .layer(map_response(restrict))
}

fn text(kind: &'static str, text: &'static str) -> impl IntoResponse + Clone {
    ([(CONTENT_TYPE, kind)], text)
}

/// Returns the script that renders the reference.
async fn scalar() -> Response {
    match scalar_api_reference::get_asset("scalar.js") {
        Some(script) => ([(CONTENT_TYPE, "text/javascript")], script).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn problem(Path(code): Path<String>) -> Response {
    match problems::page(&code) {
        Some(page) => Html(page).into_response(),
        None => (StatusCode::NOT_FOUND, Html("There is no such problem.")).into_response(),
    }
}

async fn restrict(mut response: Response) -> Response {
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

#[cfg(test)]
mod tests {
    use domain::cancellation::Reason;
    use serde_json::json;
    use strum::VariantArray;

    use super::*;

    #[test]
    fn the_page_offers_every_reason() {
        let offered: Vec<_> =
            HOME.split("<option>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        let reasons: Vec<_> = Reason::VARIANTS.iter().map(|reason| json!(reason)).collect();
        assert_eq!(json!(offered), json!(reasons));
    }
}
