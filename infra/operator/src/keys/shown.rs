//! A key as it is printed. Its token is printed once, when it is made; nobody can show it again.

use chrono::{DateTime, Utc};
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
    /// Only of a key that is made now.
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
            token: None,
        }
    }

    /// A row of the table of keys.
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

/// Says which key is being made, before it is: should its token get lost on the way, it can be revoked.
pub(super) fn announce(session: &mut Session<'_>, key_id: &KeyId, key: &ApiKey) {
    let scopes: Vec<_> = key.all_scopes().collect();
    let expires =
        key.expires_at.map_or_else(|| "never expires".to_owned(), |at| format!("expires {}", instant(at)));
    session.note(&format!(
        "The key {key_id} may {} and {expires}. Its token is shown this once.",
        scopes.join(" and ").replace("subscriptions:", "")
    ));
}

/// Shows a token, the one time that there is.
pub(super) fn reveal(
    session: &mut Session<'_>,
    token: &Token,
    key: ApiKey,
    now: DateTime<Utc>,
) -> Result<(), CommandError> {
    let shown = ShownKey { token: Some(token.reveal()), ..ShownKey::new(token.key_id().clone(), key, now) };
    session.print(&shown, || token.reveal())
}
