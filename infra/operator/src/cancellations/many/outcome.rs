//! The outcome of one line: the answer that a caller would get.

use domain::cancellation::CancellationState;
use domain::stored::StoredSubscription;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use service::http::problem::{Problem, etag};
use service::http::response::Answered;

/// The outcome of one line.
pub(super) enum LineOutcome {
    /// Done, or only previewed. The text is the answer.
    Done(Box<RawValue>),
    /// Done before, so that nothing was done now. The state is that of the cancellation now, if it is known.
    DoneBefore(Option<CancellationState>),
    /// Refused.
    Refused(Refusal),
}

/// The reason why a line is refused.
#[derive(Clone)]
pub(super) struct Refusal {
    /// The code of the problem.
    pub(super) code: String,
    /// The text about the problem, for people.
    pub(super) detail: String,
}

/// The members of a problem that are shown.
#[derive(Deserialize)]
struct ProblemBody {
    code: String,
    detail: String,
    #[serde(default)]
    errors: Vec<Value>,
}

impl LineOutcome {
    /// Reads an answer. `before` is the subscription before the request.
    pub(super) fn of(answered: &Answered, before: Option<&StoredSubscription>) -> Self {
        let Answered { answer, replayed, .. } = answered;
        if answer.status >= 400 {
            return Self::Refused(Refusal::read(&answer.body));
        }
        let same = before.map(|before| etag(&before.revision));
        let is_unchanged = *replayed || same.is_some() && answer.headers.get("etag") == same.as_ref();
        // An answer of this service is JSON.
        let body = RawValue::from_string(answer.body.clone()).unwrap_or_default();
        // An answer that is replayed does not tell the state now.
        let state = || state_of(before.filter(|_| !replayed));
        if is_unchanged { Self::DoneBefore(state()) } else { Self::Done(body) }
    }

    /// The outcome of a line that the batch has done before.
    pub(super) fn before(stored: Option<&StoredSubscription>) -> Self {
        Self::DoneBefore(state_of(stored))
    }

    /// Returns true if nothing was done because it was done before.
    pub(super) fn is_before(&self) -> bool {
        matches!(self, Self::DoneBefore(_))
    }

    /// Returns true if the request was refused with one of these codes.
    pub(super) fn is_refused_with(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Refused(refusal) if codes.contains(&refusal.code.as_str()))
    }

    /// A problem that no answer has.
    pub(super) fn problem(problem: &Problem) -> Self {
        Self::Refused(Refusal::read(&problem.answer("").body))
    }
}

fn state_of(stored: Option<&StoredSubscription>) -> Option<CancellationState> {
    stored.and_then(StoredSubscription::cancellation_state)
}

impl Refusal {
    pub(super) fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into() }
    }

    fn read(body: &str) -> Self {
        let Ok(ProblemBody { code, detail, errors }) = serde_json::from_str(body) else {
            return Self { code: "unknown".to_owned(), detail: String::new() };
        };
        // The fault says more than the reference to it.
        let fault = errors.first().and_then(|fault| {
            let text = |name: &str| fault.get(name).and_then(Value::as_str);
            Some(format!("{}: {}", text("pointer")?, text("detail")?))
        });
        Self { code, detail: fault.unwrap_or(detail) }
    }
}
