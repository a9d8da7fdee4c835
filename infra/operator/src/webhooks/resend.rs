//! `webhooks resend` and `webhooks ping`: posts events again, and a test event.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::identifiers::{TenantId, WebhookId};
use domain::webhook::{Attempt, Outcome, PING, Webhook};
use serde_json::json;
use service::deliver::{self, DeliveryQueue, NotSent};
use store::Admin;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::attempts::read;
use super::shown::ShownAttempt;
use super::{Named, Resend, chosen, find, queue};
use crate::format::{counted, table};
use crate::{CommandError, Session};

/// Longest wait for the answer to a test event: a few seconds more than the receiver has.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Pause before the next look for that answer.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(
    session: &mut Session<'_>,
    store: &Admin,
    arguments: Resend,
) -> Result<(), CommandError> {
    let Resend { tenant, webhook, event, failed: _, since } = arguments;
    let queue = queue(session)?;
    let webhooks = chosen(store, &tenant, webhook).await?;
    let sent = match (event, since) {
        (Some(event), _) => {
            note_disabled(session, &webhooks);
            resend(session, store, &queue, &tenant, event, &webhooks).await?
        }
        (None, Some(since)) => {
            let since = since.ago(session.now());
            resend_failed(session, store, &queue, &tenant, &webhooks, since).await?
        }
        (None, None) => Vec::new(),
    };
    let shown: Vec<_> =
        sent.iter().map(|(webhook, event)| json!({"webhookId": webhook, "eventId": event})).collect();
    session.print(&shown, || format!("{} sent again", counted(sent.len(), "event")))
}

async fn resend(
    session: &Session<'_>,
    store: &Admin,
    queue: &DeliveryQueue,
    tenant: &TenantId,
    event: Uuid,
    webhooks: &[Webhook],
) -> Result<Vec<(WebhookId, Uuid)>, CommandError> {
    let sent = deliver::resend(store, queue, tenant, event, webhooks, session.now()).await?;
    Ok(sent.into_iter().map(|webhook| (webhook, event)).collect())
}

/// Sends again what each enabled webhook did not get since this time, and will not get by itself.
async fn resend_failed(
    session: &mut Session<'_>,
    store: &Admin,
    queue: &DeliveryQueue,
    tenant: &TenantId,
    webhooks: &[Webhook],
    since: DateTime<Utc>,
) -> Result<Vec<(WebhookId, Uuid)>, CommandError> {
    let (mut sent, mut unreadable) = (Vec::new(), Vec::new());
    note_disabled(session, webhooks);
    for webhook in webhooks.iter().filter(|webhook| webhook.disabled.is_none()) {
        // The latest attempt comes first, and decides. A test event is not sent again.
        let mut concluded = HashSet::new();
        let mut is_failure = |attempt: &Attempt| {
            concluded.insert(attempt.event_id) && attempt.outcome.is_failure() && attempt.r#type != PING
        };
        let failed =
            read(store, tenant, webhook, since, usize::MAX, &mut is_failure, &mut unreadable).await?;
        for attempt in failed {
            let only = std::slice::from_ref(webhook);
            match resend(session, store, queue, tenant, attempt.event_id, only).await {
                Ok(again) => sent.extend(again),
                Err(CommandError::NotSent(NotSent::NotKept(event))) => {
                    session.note(&format!("The event {event} is not kept any more."));
                }
                Err(cause) => return Err(cause),
            }
        }
    }
    session.complain(&unreadable)?;
    Ok(sent)
}

fn note_disabled(session: &mut Session<'_>, webhooks: &[Webhook]) {
    for webhook in webhooks.iter().filter(|webhook| webhook.disabled.is_some()) {
        session.note(&format!("The webhook {} is disabled, so nothing is sent to it.", webhook.id));
    }
}

/// Posts a test event to a webhook, and shows the first attempt. Fails if the receiver did not accept it.
pub(super) async fn ping(
    session: &mut Session<'_>,
    store: &Admin,
    named: &Named,
) -> Result<(), CommandError> {
    let queue = queue(session)?;
    let webhook = find(store, named).await?;
    let event = deliver::ping(store, &queue, &named.tenant, webhook.id, session.now()).await?;
    let deadline = Instant::now() + LONGEST_WAIT;
    let attempt = loop {
        let attempts = store.attempts_of_event(&named.tenant, event).await?.found;
        match attempts.into_iter().next() {
            Some(attempt) => break attempt,
            None if Instant::now() < deadline => sleep(PAUSE).await,
            None => {
                return Err(CommandError::Incomplete(format!(
                    "the event {event} was not posted within {} s: check deliver-webhooks and its queue",
                    LONGEST_WAIT.as_secs()
                )));
            }
        }
    };
    let outcome = match attempt.outcome {
        Outcome::Delivered => Ok(()),
        Outcome::Disabled => {
            Err(CommandError::Incomplete("the webhook is disabled, so nothing was posted".to_owned()))
        }
        _ => Err(CommandError::Incomplete("the receiver did not accept the event".to_owned())),
    };
    let shown = ShownAttempt::new(attempt);
    session.conclude(&shown, || table(ShownAttempt::HEADING, [shown.row()]), outcome)
}
