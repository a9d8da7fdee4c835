//! New ids and secrets: the one place that draws random numbers for them.

use domain::api_key::Token;
use domain::identifiers::{CancellationId, KeyId, NewIds, TenantId, WebhookId, WriteId};
use domain::webhook::Secret;
use uuid::Uuid;

/// The operating system can't give random numbers.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gives no random numbers: {0}")]
pub struct NoEntropy(getrandom::Error);

/// Makes the id of a cancellation.
#[must_use]
pub fn cancellation_id() -> CancellationId {
    Uuid::new_v4().into()
}

/// Makes the id of a write.
#[must_use]
pub fn write_id() -> WriteId {
    Uuid::new_v4().into()
}

/// Makes the ids that a change needs.
#[must_use]
pub fn new() -> NewIds {
    NewIds { cancellation: cancellation_id(), write: write_id() }
}

/// Makes the id of an API key.
#[must_use]
pub fn key_id() -> KeyId {
    Uuid::new_v4().into()
}

/// Makes an API key with a new secret.
///
/// # Errors
/// The operating system can't give random numbers.
pub fn token(tenant: TenantId, key_id: KeyId) -> Result<Token, NoEntropy> {
    Ok(Token::new(tenant, key_id, random()?))
}

/// Makes the id of a webhook.
#[must_use]
pub fn webhook_id() -> WebhookId {
    Uuid::new_v4().into()
}

/// Makes the secret of a webhook: 256 random bits.
///
/// # Errors
/// The operating system can't give random numbers.
pub fn webhook_secret() -> Result<Secret, NoEntropy> {
    random().map(Secret::new)
}

fn random() -> Result<[u8; 32], NoEntropy> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(NoEntropy)?;
    Ok(random)
}
