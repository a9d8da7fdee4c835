//! `webhooks rotate`: replaces the secret of a webhook. Both secrets sign for a while, or the former one is dropped at once.

use domain::webhook::{FormerSecret, Webhook};
use service::ids;
use store::Admin;

use super::shown::reveal;
use super::{Named, find};
use crate::format::instant;
use crate::{CommandError, Session, When};

pub(super) async fn run(
    session: &mut Session<'_>,
    store: &Admin,
    named: &Named,
    until: When,
    at_once: bool,
) -> Result<(), CommandError> {
    let now = session.now();
    let webhook = find(store, named).await?;
    let until = if at_once { Some(now) } else { until.from(now) };
    let until = until.ok_or(CommandError::Usage("the end of the former secret is too late to be stored"))?;
    if let Some(former) = webhook.former.as_ref().filter(|former| now < former.until) {
        let end = instant(former.until);
        session
            .note(&format!("The secret before the last one, which was valid until {end}, is dropped now."));
    }
    let (former, secret) = (FormerSecret { secret: webhook.secret.clone(), until }, ids::webhook_secret()?);
    let rotated = store.rotate_webhook_secret(&named.tenant, named.id, &former, &secret).await?;
    // After a lost acknowledgement, the secret is the new one already.
    if !rotated && find(store, named).await?.secret != secret {
        return Err(CommandError::WebhookChanged(named.id));
    }
    session.note(&match now < until {
        true => format!("Events are signed with both secrets until {}.", instant(until)),
        false => "The former secret signs no more.".to_owned(),
    });
    reveal(session, &Webhook { secret, former: Some(former), ..webhook })
}
