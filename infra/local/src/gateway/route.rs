//! Routes: the function that answers a method and a path, and the parameters in the path.
//!
//! **The path** is decoded before a route is looked for, by one rule ([`decode_path`]): decode it, cut it at its first `?`, decode
//! it once more. A `%` that encodes nothing at either decoding gets 400. The rule explains every result that was captured from a
//! real HTTP API, for a value in a path:
//!
//! | sent | handed over |
//! |---|---|
//! | `space%20value` | `space value` |
//! | `hash%23value` | `hash#value` |
//! | `slash%2Fvalue` | `slash/value` |
//! | `question%3Fvalue` | `question` |
//! | `percent%25done` | 400 |
//! | `literal%252Fvalue` | `literal/value` |
//! | `literal%253Fvalue` | `literal?value` |
//! | `literal%2525value` | `literal%value` |
//!
//! Captured as well: letters outside ASCII stay, and the query arrives as it was sent.
//!
//! Inferred from the rule, and not captured: a malformed escape in the path as it was sent gets 400, too; a slash that appears at
//! either decoding counts for the route; the part that is cut off is not checked; bytes that are not UTF-8 become U+FFFD.

use std::collections::BTreeMap;

use axum::http::Method;
use percent_encoding::percent_decode_str;

/// A function that answers HTTP requests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    GetSubscription,
    CancelSubscription,
}

/// The routes: method, path, and the function that answers.
const ROUTES: [(Method, &str, Function); 7] = [
    (Method::GET, "/subscriptions", Function::GetSubscription),
    (Method::GET, "/subscriptions/{subscriptionId}", Function::GetSubscription),
    (Method::GET, "/subscriptions/{subscriptionId}/cancellation", Function::GetSubscription),
    (Method::GET, "/subscriptions/{subscriptionId}/history", Function::GetSubscription),
    (Method::POST, "/subscriptions/{subscriptionId}/cancel", Function::CancelSubscription),
    (Method::DELETE, "/subscriptions/{subscriptionId}/cancel", Function::CancelSubscription),
    (Method::POST, "/subscriptions/{subscriptionId}/cancel/preview", Function::GetSubscription),
];

/// Returns the routes as API Gateway names them.
pub fn route_keys() -> impl Iterator<Item = String> {
    ROUTES.iter().map(|(method, path, _)| format!("{method} {path}"))
}

/// Decodes a path for the match with routes, and for the functions. `None` if an escape in it encodes nothing.
#[must_use]
pub fn decode_path(sent: &str) -> Option<String> {
    let decode = |path: &str| -> Option<String> {
        let encodes = |after: &str| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
        let is_valid = path.split('%').skip(1).all(encodes);
        is_valid.then(|| percent_decode_str(path).decode_utf8_lossy().into_owned())
    };
    let once = decode(sent)?;
    decode(once.split_once('?').map_or(once.as_str(), |(path, _)| path))
}

/// A request's route, and its path with the parameters in it.
pub(super) struct Matched {
    pub(super) key: String,
    pub(super) function: Function,
    pub(super) path: String,
    pub(super) parameters: BTreeMap<String, String>,
}

/// Finds the route for a method and a path. An HTTP API has routes only, so an unknown method is an unknown route.
pub(super) fn find_route(method: &Method, path: String) -> Option<Matched> {
    let mut routes = ROUTES.iter().filter(|(known, ..)| known == method);
    let (template, function, parameters) = routes
        .find_map(|(_, template, function)| Some((template, *function, path_parameters(template, &path)?)))?;
    Some(Matched { key: format!("{method} {template}"), function, path, parameters })
}

/// Returns the values of a path at the places where a template has `{name}`. `None` if the path does not match the template.
fn path_parameters(template: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (names, values) = (template.split('/'), path.split('/'));
    if names.clone().count() != values.clone().count() {
        return None;
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in names.zip(values) {
        match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !value.is_empty() => parameters.insert(name.to_owned(), value.to_owned()),
            None if name == value => None,
            _ => return None,
        };
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_as_an_http_api_decodes_it() {
        for (sent, handed_over) in [
            ("/space%20value", Some("/space value")),
            ("/hash%23value", Some("/hash#value")),
            ("/slash%2Fvalue", Some("/slash/value")),
            ("/question%3Fvalue", Some("/question")),
            ("/percent%25done", None),
            ("/literal%252Fvalue", Some("/literal/value")),
            ("/literal%253Fvalue", Some("/literal?value")),
            ("/literal%2525value", Some("/literal%value")),
            ("/unicode%C3%BCvalue", Some("/unicodeüvalue")),
        ] {
            assert_eq!(decode_path(sent).as_deref(), handed_over, "{sent}");
        }
    }

    #[test]
    fn a_path_with_a_broken_escape_is_refused() {
        for sent in ["/%", "/%4", "/%zz", "/a%25", "/a%254", "/a%25zz/b"] {
            assert_eq!(decode_path(sent), None, "{sent}");
        }
        assert_eq!(decode_path("/%ff").as_deref(), Some("/\u{fffd}"));
    }

    #[test]
    fn a_route_matches_a_path_with_the_same_number_of_non_empty_parts() {
        let template = "/subscriptions/{subscriptionId}/cancel";
        let id = |path| Some(path_parameters(template, path)?["subscriptionId"].clone());
        assert_eq!(id("/subscriptions/a b/cancel").as_deref(), Some("a b"));
        for other in ["/subscriptions//cancel", "/subscriptions/a/b/cancel", "/subscriptions/a/cancel/", "/a"]
        {
            assert_eq!(id(other), None, "{other}");
        }
    }
}
