//! A key as it is printed. Its token is printed once, when the key is created. It can't be shown again.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::api_key::{ApiKey, KeyState, Token};
use domain::identifiers::KeyId;
use serde::Serialize;

use crate::format::{NOTHING, instant, or_nothing};
use crate::{CommandError, Session};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownKey {
    key_id: KeyId,
    name: Option<String>,
    last_four: Option<String>,
    scopes: Vec<String>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    state: KeyState,
    /// The day of the last change that the key has requested, if that was asked for and there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<NaiveDate>,
    /// The token, only when the key is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl ShownKey {
    pub(super) fn new(key_id: KeyId, key: ApiKey, now: DateTime<Utc>) -> Self {
        Self {
            key_id,
            state: key.state(now),
            scopes: key.all_scopes().collect(),
            name: key.name,
            last_four: key.last_four,
            created_at: instant(key.created_at),
            expires_at: key.expires_at.map(instant),
            revoked_at: key.revoked_at.map(instant),
            last_used: None,
            token: None,
        }
    }

    /// Says what the key may do.
    pub(super) fn granted(&self) -> String {
        format!("the key {} has the scopes {}", self.key_id, self.scopes.join(", "))
    }

    /// Notes the day of its last change.
    pub(super) fn note_use(&mut self, last: &BTreeMap<KeyId, NaiveDate>) {
        self.last_used = last.get(&self.key_id).copied();
    }

    /// Formats the key as a row of the table of keys, with the day of its last change.
    pub(super) fn row_with_use(&self) -> [String; 8] {
        let [key, name, token, scopes, created, expires, state] = self.row();
        [key, name, token, scopes, created, expires, state, or_nothing(self.last_used)]
    }

    /// Formats the key as a row of the table of keys.
    pub(super) fn row(&self) -> [String; 7] {
        let state = match self.state {
            KeyState::Valid => "valid",
            KeyState::Expired => "expired",
            KeyState::Revoked => "revoked",
        };
        [
            self.key_id.to_string(),
            or_nothing(self.name.as_ref()),
            self.last_four.as_ref().map_or_else(|| NOTHING.to_owned(), |four| format!("…{four}")),
            self.scopes.join(" "),
            self.created_at.clone(),
            or_nothing(self.expires_at.as_ref()),
            state.to_owned(),
        ]
    }
}

/// Notes the id of a key before the key is created. So the key can be revoked if its token gets lost on the way.
pub(super) fn announce(session: &mut Session<'_>, key_id: &KeyId, key: &ApiKey) {
    let scopes: Vec<_> = key.all_scopes().collect();
    let expires =
        key.expires_at.map_or_else(|| "never expires".to_owned(), |at| format!("expires {}", instant(at)));
    session.note(&format!(
        "The key {key_id} {expires}, and has the scopes {}. Its token is shown only once.",
        scopes.join(", ")
    ));
}

/// Prints a new key with its token. This is the only time that the token is shown.
pub(super) fn reveal(
    session: &mut Session<'_>,
    token: &Token,
    key: ApiKey,
    now: DateTime<Utc>,
) -> Result<(), CommandError> {
    let shown = ShownKey { token: Some(token.reveal()), ..ShownKey::new(token.key_id().clone(), key, now) };
    session.print(&shown, || token.reveal())
}
