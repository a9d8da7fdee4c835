//! Origins: what made a change of a subscription, and for whom. Each change carries its origin, and the origin is stored with the
//! subscription.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::VariantArray;

use crate::identifiers::{BatchId, InvalidIdentifier, KeyId};

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Cause {
    /// A cancellation was scheduled, where none was pending.
    Scheduled,
    /// A cancellation was scheduled in place of the one that was pending; or the pending one got a new instant for the same date,
    /// after the time zone or its rules changed.
    Replaced,
    /// The pending cancellation was withdrawn.
    Withdrawn,
    /// The date arrived.
    Executed,
    /// An import, or another system that writes into the table; or the repair of a write that scheduled and withdrew nothing.
    Imported,
    /// Everything personal was erased.
    Erased,
}

/// The part of the service, or of its surroundings, that made a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Source {
    /// A request of a caller.
    Api,
    /// The arrival of a date.
    Schedule,
    /// An import, or another system that writes into the table.
    Import,
    /// Another command of an operator.
    Operator,
}

/// The person or the system on whose behalf a change is made, in the words of whoever makes it: 1–128 printable ASCII characters.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Actor(String);

impl FromStr for Actor {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let is_printable = |byte: u8| matches!(byte, b' '..=b'~');
        if (1..=128).contains(&text.len()) && text.bytes().all(is_printable) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdentifier)
        }
    }
}

impl TryFrom<String> for Actor {
    type Error = InvalidIdentifier;

    fn try_from(text: String) -> Result<Self, InvalidIdentifier> {
        text.parse()
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Omits the text, which may name a person.
impl fmt::Debug for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Actor(…)")
    }
}

/// The maker of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The source of the changes.
    pub source: Source,
    /// The user of an import or an operator's command. For a request, the cancellation has it.
    pub actor: Option<Actor>,
    /// The id of the request in the logs, or the batch.
    pub request_id: Option<String>,
}

impl Author {
    /// The schedule, for the executions of due cancellations.
    pub const SCHEDULE: Self = Self { source: Source::Schedule, actor: None, request_id: None };

    /// A request of a caller.
    #[must_use]
    pub fn request(id: &str) -> Self {
        // Events without the context of Lambda have no id.
        let request_id = Some(id.to_owned()).filter(|id| !id.is_empty());
        Self { source: Source::Api, actor: None, request_id }
    }

    /// An import by this user.
    #[must_use]
    pub fn import(actor: Option<Actor>) -> Self {
        Self { source: Source::Import, actor, request_id: None }
    }

    /// A command of this operator.
    #[must_use]
    pub fn operator(actor: Option<Actor>) -> Self {
        Self { source: Source::Operator, actor, request_id: None }
    }

    /// A batch of this operator.
    #[must_use]
    pub fn batch(actor: Option<Actor>, batch: &BatchId) -> Self {
        Self { source: Source::Operator, actor, request_id: Some(batch.to_string()) }
    }

    /// The origin of a change that this author makes.
    #[must_use]
    pub fn change(&self, cause: Cause) -> Origin {
        let Self { source, actor, request_id } = self.clone();
        Origin { cause, source, actor, request_id, at: None }
    }
}

/// The origin of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The kind of the change.
    pub cause: Cause,
    /// The source of the change.
    pub source: Source,
    /// The user of an import or an operator's command. For a request, the cancellation has it.
    pub actor: Option<Actor>,
    /// The id of the request in the logs, or the batch.
    pub request_id: Option<String>,
    /// The time of an import, whose document has a time of its own. Other changes note their time in the document.
    pub at: Option<DateTime<Utc>>,
}

/// The maker of a request, as callers see it.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requester {
    /// The API key of the request. Absent for an operator.
    pub key_id: Option<KeyId>,
    /// The name that the API key had then.
    pub key_name: Option<String>,
    /// The person or system on whose behalf the request was made: the request's `X-Actor`, or the operator.
    pub actor: Option<Actor>,
    /// The batch of the request, if an operator's command made many at once.
    pub batch: Option<BatchId>,
}

impl Requester {
    /// This requester, if anything is known.
    #[must_use]
    pub fn known(self) -> Option<Self> {
        Some(self).filter(|requester| *requester != Self::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_has_1_to_128_printable_ascii_characters() {
        for text in ["agent-17", " ", "~", "Lindqvist, Astrid", &"x".repeat(128)] {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
        for text in ["", "é", "a\tb", "a\u{7f}", "\u{1b}[31m", &"x".repeat(129)] {
            assert_eq!(text.parse::<Actor>(), Err(InvalidIdentifier), "{text:?}");
        }
    }

    #[test]
    fn an_actor_does_not_appear_in_debug_output() {
        let actor = "agent-17".parse().ok();
        let requester = Requester { key_id: "k1".parse().ok(), actor, ..Requester::default() };
        assert!(!format!("{requester:?} {:?}", Author::import(requester.actor.clone())).contains("17"));
    }
}
