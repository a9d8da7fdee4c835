//! Pages for people on one machine: an overview of the service, with a clock to move; the API reference, from
//! `infra/openapi.yaml`; and a page about each problem, to which its `type` links.
//!
//! The pages are part of the binary and load nothing from elsewhere. They use the API, with the demo key, and the routes of
//! [`console`](crate::console).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use pulldown_cmark::{Parser, html};
use saphyr::{LoadableYamlNode, Yaml};

const OPENAPI: &str = include_str!("../../openapi.yaml");
const HOME: &str = include_str!("pages/home.html");
const DOCS: &str = include_str!("pages/docs.html");
const PROBLEM: &str = include_str!("pages/problem.html");

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
        .route("/problems/{code}", get(problem))
        .route("/openapi.yaml", get(text("application/yaml", OPENAPI)))
        .route("/pages/home.js", get(text("text/javascript", include_str!("pages/home.js"))))
        .route("/pages/docs.js", get(text("text/javascript", include_str!("pages/docs.js"))))
        .route("/pages/style.css", get(text("text/css", include_str!("pages/style.css"))))
        .route("/pages/scalar.js", get(scalar))
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
    match PROBLEMS.get(code.as_str()) {
        Some(section) => {
            // Not escaped: codes have no special characters of HTML, and the text is part of this project.
            let page = PROBLEM.replace("{{code}}", &code).replace("{{section}}", section);
            Html(page).into_response()
        }
        None => (StatusCode::NOT_FOUND, Html("There is no such problem.")).into_response(),
    }
}

async fn restrict(mut response: Response) -> Response {
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// The section of the document about each problem, as HTML, by the problem's code.
static PROBLEMS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let document = Yaml::load_from_str(OPENAPI).unwrap_or_default();
    let info = document.first().and_then(|root| root.as_mapping_get("info"));
    let description = info.and_then(|info| info.as_mapping_get("description"));
    problems(description.and_then(Yaml::as_str).unwrap_or_default())
});

/// Returns the sections of a Markdown text whose headings are codes of problems, as HTML, by code.
fn problems(text: &str) -> BTreeMap<String, String> {
    let sections = text.split("\n## ").flat_map(|chapter| chapter.split("\n### ").skip(1));
    let rendered = sections.filter_map(|section| {
        let (code, text) = section.split_once('\n')?;
        let mut page = String::new();
        html::push_html(&mut page, Parser::new(text));
        Some((code.to_owned(), page))
    });
    rendered.collect()
}

#[cfg(test)]
mod tests {
    use domain::cancellation::Reason;
    use serde_json::json;
    use service::http::problem::Code;
    use strum::VariantArray;

    use super::*;

    #[test]
    fn every_problem_has_a_page() {
        assert!(
            Code::VARIANTS.iter().all(|code| PROBLEMS[code.as_str()].contains("<strong>Retry.</strong>"))
        );
        assert_eq!(PROBLEMS.len(), Code::VARIANTS.len());
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let pages = problems("a\n## Problems\nb\n### x\n- **1**\n\n### y\n2\n## After\nc");
        assert_eq!(pages["x"], "<ul>\n<li><strong>1</strong></li>\n</ul>\n");
        assert_eq!(pages["y"], "<p>2</p>\n");
    }

    #[test]
    fn the_page_offers_every_reason() {
        let offered: Vec<_> =
            HOME.split("<option>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        let reasons: Vec<_> = Reason::VARIANTS.iter().map(|reason| json!(reason)).collect();
        assert_eq!(json!(offered), json!(reasons));
    }
}
