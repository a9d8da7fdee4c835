//! The pages about problems: an index, and one page for each code. All texts come from `infra/openapi.yaml`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use operator::openapi::DOCUMENT;
use pulldown_cmark::{Parser, html};
use serde_json::Value;

const INDEX: &str = include_str!("problems.html");
const PAGE: &str = include_str!("problem.html");

/// A problem, as the document describes it.
struct Problem {
    code: String,
    title: String,
    status: u64,
    /// Short answer to the question whether to retry.
    retry: String,
    /// Cause, remedy and retry, as HTML.
    section: String,
    /// An answer with this problem, as JSON.
    example: String,
}

/// The problems, in the order of the document.
static PROBLEMS: LazyLock<Vec<Problem>> = LazyLock::new(|| {
    let description = DOCUMENT.pointer("/info/description").and_then(Value::as_str).unwrap_or_default();
    sections(description).map(|(code, text)| Problem::new(code, text, &DOCUMENT)).collect()
});

impl Problem {
    fn new(code: &str, text: &str, document: &Value) -> Self {
        let example = document.pointer(&format!("/components/examples/{code}/value")).unwrap_or(&Value::Null);
        let member = |name: &str| example.get(name).unwrap_or(&Value::Null);
        let retry = text.split_once("**Retry.** ").map_or("", |(_, retry)| retry);
        let mut section = String::new();
        html::push_html(&mut section, Parser::new(text));
        Self {
            code: code.to_owned(),
            title: member("title").as_str().unwrap_or_default().to_owned(),
            status: member("status").as_u64().unwrap_or_default(),
            retry: retry.split([':', '.', ',']).next().unwrap_or_default().to_owned(),
            section,
            example: serde_json::to_string_pretty(example).unwrap_or_default(),
        }
    }

    /// Returns the badge that says whether to retry, as HTML.
    fn badge(&self) -> String {
        let kind = if self.retry.starts_with("No") { "no" } else { "yes" };
        format!("<span class=\"badge {kind}\">{}</span>", escaped(&self.retry))
    }
}

/// Returns the index, as HTML.
pub(super) fn index() -> String {
    let mut rows = String::new();
    for problem in &*PROBLEMS {
        let Problem { code, title, status, .. } = problem;
        // Writing into a string cannot fail.
        let _ = writeln!(
            rows,
            "<tr><td data-label=\"Code\"><a href=\"/problems/{code}\"><code>{code}</code></a></td>\
             <td data-label=\"Status\">{status}</td><td data-label=\"Meaning\">{}</td>\
             <td data-label=\"Retry\">{}</td></tr>",
            escaped(title),
            problem.badge()
        );
    }
    INDEX.replace("{{rows}}", &rows)
}

/// Returns the page about a problem, as HTML. `None` if no problem has this code.
pub(super) fn page(code: &str) -> Option<String> {
    let problem = PROBLEMS.iter().find(|problem| problem.code == code)?;
    let values = [
        ("{{code}}", problem.code.clone()),
        ("{{title}}", escaped(&problem.title)),
        ("{{status}}", problem.status.to_string()),
        ("{{badge}}", problem.badge()),
        ("{{section}}", problem.section.clone()),
        ("{{example}}", escaped(&problem.example)),
    ];
    Some(values.iter().fold(PAGE.to_owned(), |page, (name, value)| page.replace(name, value)))
}

/// Returns the sections of a Markdown text whose headings are codes of problems: code and text.
fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let sections = text.split("\n## ").flat_map(|chapter| chapter.split("\n### ").skip(1));
    sections.filter_map(|section| section.split_once('\n'))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    html::push_html(&mut escaped, std::iter::once(pulldown_cmark::Event::Text(text.into())));
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use service::http::problem::Code;
    use strum::VariantArray;

    use super::*;

    #[test]
    fn every_problem_has_a_page_with_status_example_and_retry() {
        let codes: BTreeSet<_> = PROBLEMS.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, Code::VARIANTS.iter().map(|code| code.as_str()).collect());
        for problem in &*PROBLEMS {
            let page = page(&problem.code).unwrap();
            assert!(!page.contains("{{") && page.contains("<strong>Retry.</strong>"), "{page}");
            assert!((400..600).contains(&problem.status) && !problem.title.is_empty(), "{page}");
            assert!(problem.example.contains(&problem.code), "{page}");
            assert!((2..25).contains(&problem.retry.len()), "{}", problem.retry);
            assert!(index().contains(&format!("/problems/{}", problem.code)));
        }
        assert!(page("unknown").is_none());
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let found: Vec<_> = sections("a\n## Problems\nb\n### x\n- **1**\n\n### y\n2\n## After\nc").collect();
        assert_eq!(found, [("x", "- **1**\n"), ("y", "2")]);
    }

    #[test]
    fn a_title_is_escaped() {
        assert_eq!(escaped("a < b & c"), "a &lt; b &amp; c");
    }
}
