//! Problems: every answer that is not a success, in one table.
//!
//! A problem is answered as `application/problem+json` (RFC 9457). Its `code` is stable, and programs switch on it. Its `type`,
//! `/problems/<code>`, leads people to a page about it. Internal causes go into the log and never into the answer.

use std::collections::BTreeMap;

use domain::api_key::{NotAdmitted, Scope};
use domain::cancel::Refusal;
use domain::cancel_request::InvalidBody;
use domain::fault::{Fault, Faults};
use domain::json::MalformedJson;
use domain::stored::Revision;
use serde::Serialize;
use store::StoreError;
use store::answer::Answer;
use store::load::NotOpened;
use strum::{EnumDiscriminants, IntoStaticStr, VariantArray};

/// Returns the entity tag of a state of a subscription.
#[must_use]
pub fn etag(revision: &Revision) -> String {
    format!("\"{revision}\"")
}

/// The largest body of a request, in bytes.
pub const MAX_BODY_BYTES: usize = 32 * 1024;

/// A reason why a request was not done. The code of each case is its name, in snake_case.
#[derive(Clone, Debug, EnumDiscriminants)]
#[strum_discriminants(name(Code), derive(IntoStaticStr, VariantArray), strum(serialize_all = "snake_case"))]
#[strum_discriminants(doc = "The code of a problem. Stable: callers switch on these.")]
pub enum Problem {
    /// The API key is missing.
    ApiKeyMissing,
    /// The API key is not valid.
    ApiKeyInvalid,
    /// The API key lacks this scope.
    InsufficientScope(Scope),
    /// The path names neither a subscription id nor a reference id.
    InvalidSubscriptionId,
    /// The tenant has no such subscription.
    SubscriptionNotFound,
    /// The subscription is cancelled already.
    SubscriptionAlreadyCancelled,
    /// The subscription has no pending cancellation to withdraw.
    NoPendingCancellation,
    /// The subscription has no cancellation to show.
    NoCancellation,
    /// The query has parameters that this operation does not know, with these names.
    UnknownParameter(Vec<String>),
    /// A parameter of the query has a value that it can't have.
    InvalidParameter(Parameter),
    /// The idempotency key is malformed, or two different ones were sent.
    IdempotencyKeyInvalid,
    /// The idempotency key belongs to another request.
    IdempotencyKeyMismatch,
    /// The first request with the idempotency key is still being written, or other requests keep changing the subscription.
    IdempotencyKeyLocked,
    /// The name in `X-Actor` is malformed.
    ActorInvalid,
    /// The precondition does not name the current state of the subscription, which is this one.
    PreconditionFailed(Revision),
    /// The body is not JSON.
    MalformedJson(MalformedJson),
    /// The body is too large.
    PayloadTooLarge,
    /// The body is not declared as JSON, or is compressed.
    UnsupportedMediaType(Unsupported),
    /// The body breaks these rules.
    ValidationFailed(Faults),
    /// The database is unavailable at the moment, or the operation timed out. The text is the cause, for the log only.
    TemporarilyUnavailable(String),
    /// An error of this service. The text is the cause, for the log only.
    InternalError(String),
}

/// A part of a query that asks for a page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The length of the page.
    Limit,
    /// The place at which the page begins.
    Cursor,
    /// The text to search for.
    Search,
}

/// The header of a body whose value is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// The content type.
    Type,
    /// The content encoding.
    Encoding,
}

/// A problem's row in the table.
struct Row {
    status: u16,
    title: &'static str,
    detail: String,
}

impl Problem {
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn row(&self) -> Row {
        let row = |status, title, detail: &str| Row { status, title, detail: detail.to_owned() };
        match self {
            Self::ApiKeyMissing => {
                row(401, "The API key is missing", "Send your API key in the header X-Api-Key.")
            }
            Self::ApiKeyInvalid => {
                row(401, "The API key is not valid", "The header X-Api-Key holds no key that is valid now.")
            }
            Self::InsufficientScope(scope) => {
                row(403, "The API key lacks a scope", &format!("This operation needs the scope {scope}."))
            }
            Self::InvalidSubscriptionId => row(
                400,
                "The subscription id is not valid",
                "Name the subscription by its UUID, or by its reference id behind rid_: 1 to 255 characters without / ? % and control characters.",
            ),
            Self::SubscriptionNotFound => {
                row(404, "There is no such subscription", "None of your subscriptions has this id.")
            }
            Self::SubscriptionAlreadyCancelled => row(
                409,
                "The subscription is cancelled already",
                "Its cancellation has taken effect; nothing about it can be changed.",
            ),
            Self::NoPendingCancellation => row(
                409,
                "There is no cancellation to withdraw",
                "No cancellation of this subscription is pending: there was none, or it was withdrawn.",
            ),
            Self::NoCancellation => row(
                404,
                "There is no cancellation",
                "This subscription has no cancellation to show: none was requested, an import removed it, or its state is unclear.",
            ),
            Self::UnknownParameter(names) => row(
                400,
                "The query has an unknown parameter",
                &format!("This operation has no parameter {}. Nothing was done.", names.join(", ")),
            ),
            Self::InvalidParameter(Parameter::Limit) => row(
                400,
                "A query parameter is not valid",
                "The parameter limit is one whole number from 1 to 100.",
            ),
            Self::InvalidParameter(Parameter::Cursor) => row(
                400,
                "A query parameter is not valid",
                "The parameter cursor is one nextCursor of this list, as it was answered.",
            ),
            Self::InvalidParameter(Parameter::Search) => row(
                400,
                "A query parameter is not valid",
                "Send exactly one of msisdn, customerId and referenceId, once, with a text to search for.",
            ),
            Self::IdempotencyKeyInvalid => row(
                400,
                "The idempotency key is not valid",
                "Send one key of 1 to 256 printable ASCII characters without a comma, in X-Idempotency-Key or \
                 Idempotency-Key.",
            ),
            Self::IdempotencyKeyMismatch => row(
                409,
                "The idempotency key belongs to another request",
                "A request with this key and another method, path, query, content type or body was answered \
                 within the last 24 hours. Use a new key for a new request.",
            ),
            Self::IdempotencyKeyLocked => row(
                409,
                "Another request is being written",
                "The first request with this idempotency key is under way, or others change the same subscription. \
                 Send the same request again in a moment.",
            ),
            Self::ActorInvalid => row(
                400,
                "The actor is not valid",
                "Send 1 to 128 printable ASCII characters in X-Actor, or leave it out.",
            ),
            Self::PreconditionFailed(_) => row(
                412,
                "The subscription is in another state",
                "If-Match does not name the state that the subscription is in. Nothing was done. The header ETag names \
                 that state; read the subscription to see it.",
            ),
            Self::MalformedJson(place) => row(
                400,
                "The body is not JSON",
                &format!(
                    "At {place}, the body stops being JSON, repeats the name of a member, has a number that is too \
                     large for a double, or is nested too deeply."
                ),
            ),
            Self::PayloadTooLarge => {
                row(413, "The body is too large", &format!("A body may have at most {MAX_BODY_BYTES} bytes."))
            }
            Self::UnsupportedMediaType(Unsupported::Type) => {
                row(415, "The body is not plain JSON", "Send the body as application/json, in UTF-8.")
            }
            Self::UnsupportedMediaType(Unsupported::Encoding) => row(
                415,
                "The body is not plain JSON",
                "Send the body as it is, not compressed, and without Content-Encoding.",
            ),
            Self::ValidationFailed(faults) => row(
                422,
                "The body breaks a rule",
                &match faults.unlisted {
                    0 => "See errors for each fault.".to_owned(),
                    more => format!("See errors for the faults; {more} more are not listed."),
                },
            ),
            Self::TemporarilyUnavailable(_) => row(
                503,
                "The service is temporarily unavailable",
                "Send the same request again in a moment; with an idempotency key that is safe.",
            ),
            Self::InternalError(_) => row(
                500,
                "The service made a mistake",
                "It has been reported. Give the requestId when you ask about it.",
            ),
        }
    }

    /// Returns the stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        Code::from(self).as_str()
    }

    /// Returns the answer for the caller.
    #[must_use]
    pub fn answer(&self, request_id: &str) -> Answer {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'p> {
            r#type: String,
            title: &'p str,
            status: u16,
            detail: String,
            code: &'p str,
            request_id: &'p str,
            #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
            errors: &'p [Fault],
        }
        let (code, Row { status, title, detail }) = (self.code(), self.row());
        let errors = match self {
            Self::ValidationFailed(faults) => faults.listed.as_slice(),
            _ => &[],
        };
        let body =
            Body { r#type: format!("/problems/{code}"), title, status, detail, code, request_id, errors };
        let content_type = "application/problem+json".to_owned();
        let mut headers = BTreeMap::from([("content-type".to_owned(), content_type)]);
        match self {
            Self::IdempotencyKeyLocked | Self::TemporarilyUnavailable(_) => {
                headers.insert("retry-after".to_owned(), "1".to_owned());
            }
            // RFC 9110, section 11.6.1: a 401 names a scheme.
            Self::ApiKeyMissing | Self::ApiKeyInvalid => {
                headers.insert("www-authenticate".to_owned(), "ApiKey".to_owned());
            }
            Self::PreconditionFailed(revision) => {
                headers.insert("etag".to_owned(), etag(revision));
            }
            // RFC 7694, section 3.
            Self::UnsupportedMediaType(Unsupported::Encoding) => {
                headers.insert("accept-encoding".to_owned(), "identity".to_owned());
            }
            _ => {}
        }
        // Texts and numbers always have a JSON form.
        let body = serde_json::to_string(&body).unwrap_or_default();
        Answer { status, headers, body }
    }
}

impl Code {
    /// Returns the code as it is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl From<NotAdmitted> for Problem {
    fn from(why: NotAdmitted) -> Self {
        match why {
            NotAdmitted::KeyMissing => Self::ApiKeyMissing,
            NotAdmitted::KeyInvalid => Self::ApiKeyInvalid,
            NotAdmitted::ScopeMissing(scope) => Self::InsufficientScope(scope),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::SubscriptionNotFound,
            Refusal::AlreadyCancelled => Self::SubscriptionAlreadyCancelled,
            Refusal::NoPendingCancellation => Self::NoPendingCancellation,
            Refusal::UnusableDate(unusable) => Self::ValidationFailed((&unusable).into()),
            Refusal::OtherRevision(revision) => Self::PreconditionFailed(revision),
        }
    }
}

impl From<InvalidBody> for Problem {
    fn from(invalid: InvalidBody) -> Self {
        match invalid {
            InvalidBody::Malformed(place) => Self::MalformedJson(place),
            InvalidBody::Faulty(faults) => Self::ValidationFailed(faults),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_)
            | StoreError::Conflict
            | StoreError::Throttled
            | StoreError::InProgress => Self::TemporarilyUnavailable(error.to_string()),
            StoreError::Defect(_) => Self::InternalError(error.to_string()),
        }
    }
}

impl From<NotOpened> for Problem {
    fn from(why: NotOpened) -> Self {
        match why {
            NotOpened::NotAdmitted(why) => why.into(),
            NotOpened::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::calendar::{Calendar, TimeZone};
    use domain::cancellation::CancelRequest;
    use serde_json::Value;
    use strum::VariantArray;

    use super::*;

    /// Returns an example of each problem, as a caller can meet it.
    fn problems() -> Vec<Problem> {
        let calendar = Calendar::new(TimeZone::UTC, "2026-01-31T22:30:00Z".parse().unwrap());
        let refused = |body: &str| match CancelRequest::from_json(body.as_bytes(), &calendar) {
            Err(invalid) => Problem::from(invalid),
            Ok(_) => panic!("accepted"),
        };
        vec![
            Problem::ApiKeyMissing,
            Problem::ApiKeyInvalid,
            Problem::InsufficientScope(Scope::Cancel),
            Problem::InvalidSubscriptionId,
            Problem::SubscriptionNotFound,
            Problem::SubscriptionAlreadyCancelled,
            Problem::NoPendingCancellation,
            Problem::NoCancellation,
            Problem::UnknownParameter(vec!["force".to_owned(), "reason".to_owned()]),
            Problem::InvalidParameter(Parameter::Limit),
            Problem::InvalidParameter(Parameter::Cursor),
            Problem::IdempotencyKeyInvalid,
            Problem::IdempotencyKeyMismatch,
            Problem::IdempotencyKeyLocked,
            Problem::ActorInvalid,
            Problem::PreconditionFailed(Revision { version: 7, write_id: "0f3a9c2e71d4".parse().ok() }),
            refused("{"),
            Problem::PayloadTooLarge,
            Problem::UnsupportedMediaType(Unsupported::Type),
            Problem::UnsupportedMediaType(Unsupported::Encoding),
            refused(
                r#"{"schedule": {"type": "CancelAtDate", "date": "2026-01-31"}, "reason": "BORED", "extra": 1}"#,
            ),
            Problem::TemporarilyUnavailable("connection refused".to_owned()),
            Problem::InternalError("a mistake".to_owned()),
        ]
    }

    #[test]
    fn every_problem_says_what_to_do_and_no_cause() {
        let problems = problems();
        let codes: BTreeSet<_> = problems.iter().map(Problem::code).collect();
        assert_eq!(codes.len(), Code::VARIANTS.len());
        let shown: Vec<_> = problems
            .iter()
            .map(|problem| {
                let Answer { status, headers, body } = problem.answer("8476a536-e9f4-11e8-9739-2dfe598c3fcd");
                let body: Value = serde_json::from_str(&body).unwrap();
                format!("{status} {headers:?}\n{body:#}\n")
            })
            .collect();
        insta::assert_snapshot!("problems", shown.join("\n"));
    }

    #[test]
    fn the_longest_list_of_faults_makes_an_answer_of_at_most_8_kib() {
        let calendar = Calendar::new(TimeZone::UTC, "2026-01-31T22:30:00Z".parse().unwrap());
        for name in ["x", "\u{1}", "\"", "ü"].map(|character| character.repeat(40)) {
            let members = (0..700).map(|n| (format!("{name}{n}"), Value::from(1)));
            let body = Value::Object(members.collect()).to_string();
            let Err(invalid) = CancelRequest::from_json(body.as_bytes(), &calendar) else {
                panic!("accepted")
            };
            let answer = Problem::from(invalid).answer("8476a536-e9f4-11e8-9739-2dfe598c3fcd");
            assert!(answer.body.len() <= 8 * 1024, "{}", answer.body.len());
        }
    }
}
