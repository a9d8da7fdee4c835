//! `webhooks`: the URLs that a tenant's events are posted to, the attempts, and sending events again.

mod attempts;
mod resend;
mod rotate;
mod shown;

use clap::{ArgGroup, Args, Subcommand};
use domain::event::EventType;
use domain::identifiers::{TenantId, WebhookId};
use domain::webhook::{Addresses, Disabled, DisabledBy, Webhook};
use service::deliver::{DeliveryQueue, target};
use service::ids;
use store::Admin;
use strum::VariantArray;
use uuid::Uuid;

use self::shown::{ShownWebhook, reveal};
use crate::arguments::{TENANT_VARIABLE, find_tenant, parse_tenant};
use crate::format::table;
use crate::{CommandError, Session, When};

/// Commands on webhooks.
#[derive(Clone, Debug, Subcommand)]
pub enum Webhooks {
    /// Add a webhook, and print its secret, which is shown only once
    ///
    /// Each event of the tenant is posted to the URL, signed with the secret (Standard Webhooks), until the receiver answers with a
    /// status of 2xx within 5 seconds, for 24 hours. Redirects are not followed.
    Add {
        /// URL to post events to
        #[arg(value_name = "URL")]
        url: String,
        /// Tenant of the webhook
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
        /// Type of events to post: subscription.updated or subscription.cancelled; may be repeated [default: all]
        #[arg(long = "event", value_name = "TYPE", value_parser = parse_type)]
        events: Vec<EventType>,
        /// Also allow http, and addresses that are not of the public internet
        #[arg(long)]
        any_address: bool,
    },
    /// List a tenant's webhooks
    List {
        /// Tenant of the webhooks
        #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
        tenant: TenantId,
    },
    /// Show a webhook, without its secret
    Show(Named),
    /// Post events to a webhook again, from now on
    ///
    /// Events that were not posted while it was disabled can be sent with `webhooks resend --failed`.
    Enable(Named),
    /// Post no more events to a webhook, until it is enabled again
    ///
    /// Events are kept for 30 days meanwhile. `webhooks resend --failed` sends them.
    Disable(Named),
    /// Replace the secret of a webhook, and print the new one, which is shown only once
    ///
    /// Until the time that --until gives, each event is signed with both secrets. With --now, the former secret is dropped at once.
    Rotate {
        /// The webhook
        #[command(flatten)]
        named: Named,
        /// Time until which the former secret also signs: an instant (RFC 3339), or a duration from now
        #[arg(long, value_name = "WHEN", default_value = "24h", conflicts_with = "now")]
        until: When,
        /// Drop the former secret at once, for example because it has leaked
        #[arg(long)]
        now: bool,
    },
    /// Remove a webhook and its secrets: events that wait for it are not posted any more
    Remove {
        /// The webhook
        #[command(flatten)]
        named: Named,
        /// Don't ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Post a test event to a webhook, and show the answer
    ///
    /// The event is posted once, by the function that delivers events.
    Ping(Named),
    /// List attempts to post events, the latest first
    Attempts(Attempts),
    /// Post events again: one, or all that a webhook did not accept
    Resend(Resend),
}

/// A webhook by its id.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// The webhook: its id, as `webhooks list` shows it
    #[arg(value_name = "WEBHOOK", value_parser = parse_webhook)]
    id: WebhookId,
    /// Tenant of the webhook
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
}

/// Arguments of `webhooks attempts`.
#[derive(Clone, Debug, Args)]
pub struct Attempts {
    /// Tenant of the webhooks
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
    /// Only attempts of this webhook [default: all of the tenant]
    #[arg(long, value_name = "WEBHOOK", value_parser = parse_webhook)]
    webhook: Option<WebhookId>,
    /// Only attempts to post this event, by its eventId
    #[arg(long, value_name = "ID", conflicts_with = "since")]
    event: Option<Uuid>,
    /// Only attempts that the receiver did not accept, also those that are followed by others
    #[arg(long)]
    failed: bool,
    /// Begin of the time to list: an instant (RFC 3339), or a duration before now; attempts are kept for 30 days
    #[arg(long, value_name = "WHEN", default_value = "24h")]
    since: When,
    /// Most attempts to list
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: usize,
}

/// Arguments of `webhooks resend`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["event", "failed"]))]
pub struct Resend {
    /// Tenant of the webhooks
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
    /// Only to this webhook [default: all of the tenant that take the event]
    #[arg(long, value_name = "WEBHOOK", value_parser = parse_webhook)]
    webhook: Option<WebhookId>,
    /// Event to post again, by its eventId, whether or not it was accepted; events are kept for 30 days
    #[arg(long, value_name = "ID")]
    event: Option<Uuid>,
    /// All events that a webhook did not get and will not get by itself, with --since: given up after 24 hours, answered with 410, or
    /// not posted because the webhook was disabled
    #[arg(long, requires = "since")]
    failed: bool,
    /// Begin of the time of these attempts: an instant (RFC 3339), or a duration before now
    #[arg(long, value_name = "WHEN", conflicts_with = "event")]
    since: Option<When>,
}

fn parse_webhook(text: &str) -> Result<WebhookId, &'static str> {
    text.parse().map_err(|_| "write the id of a webhook, which is a UUID")
}

fn parse_type(text: &str) -> Result<EventType, String> {
    let known = || EventType::VARIANTS.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(" or ");
    let named = EventType::VARIANTS.iter().find(|known| known.as_str() == text);
    named.copied().ok_or_else(|| format!("a type is {}", known()))
}

impl Webhooks {
    /// Returns true if the command changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show(_) | Self::Attempts(_))
    }
}

pub(crate) async fn run(command: Webhooks, session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    match command {
        Webhooks::Add { url, tenant, events, any_address } => {
            add(session, &store, tenant, url, &events, any_address).await
        }
        Webhooks::List { tenant } => list(session, &store, tenant).await,
        Webhooks::Show(named) => {
            let webhook = find(&store, &named).await?;
            show(session, &webhook)
        }
        Webhooks::Enable(named) => {
            find(&store, &named).await?;
            store.enable_webhook(&named.tenant, named.id).await?;
            show(session, &find(&store, &named).await?)
        }
        Webhooks::Disable(named) => {
            find(&store, &named).await?;
            let disabled = Disabled { by: DisabledBy::Operator, at: session.now() };
            store.disable_webhook(&named.tenant, named.id, disabled).await?;
            show(session, &find(&store, &named).await?)
        }
        Webhooks::Rotate { named, until, now } => rotate::run(session, &store, &named, until, now).await,
        Webhooks::Remove { named, yes } => remove(session, &store, &named, yes).await,
        Webhooks::Ping(named) => resend::ping(session, &store, &named).await,
        Webhooks::Attempts(arguments) => attempts::run(session, &store, arguments).await,
        Webhooks::Resend(arguments) => resend::run(session, &store, arguments).await,
    }
}

async fn add(
    session: &mut Session<'_>,
    store: &Admin,
    tenant: TenantId,
    url: String,
    events: &[EventType],
    any_address: bool,
) -> Result<(), CommandError> {
    let addresses = if any_address { Addresses::Any } else { Addresses::Public };
    let url = target(&url, addresses)?.to_string();
    let tenant = find_tenant(store, tenant).await?.id;
    let webhook = Webhook {
        id: ids::webhook_id(),
        url,
        events: events.iter().map(|event| event.as_str().to_owned()).collect(),
        addresses,
        secret: ids::webhook_secret()?,
        former: None,
        disabled: None,
        created_at: session.now(),
    };
    store.add_webhook(&tenant, &webhook).await?;
    session.note(&format!("The webhook {} is added. Its secret is shown only once.", webhook.id));
    reveal(session, &webhook)
}

async fn list(session: &mut Session<'_>, store: &Admin, tenant: TenantId) -> Result<(), CommandError> {
    let tenant = find_tenant(store, tenant).await?;
    let page = store.webhooks(&tenant.id).await?;
    let webhooks: Vec<_> = page.found.iter().map(ShownWebhook::new).collect();
    let outcome = session.complain(&page.unreadable);
    let heading = ["WEBHOOK", "URL", "EVENTS", "CREATED", "STATE"];
    session.conclude(&webhooks, || table(heading, webhooks.iter().map(ShownWebhook::row)), outcome)
}

fn show(session: &mut Session<'_>, webhook: &Webhook) -> Result<(), CommandError> {
    let shown = ShownWebhook::new(webhook);
    session.print(&shown, || shown.text())
}

async fn remove(
    session: &mut Session<'_>,
    store: &Admin,
    named: &Named,
    yes: bool,
) -> Result<(), CommandError> {
    let webhook = find(store, named).await?;
    let shown = ShownWebhook::new(&webhook);
    session.confirm(yes, format!("This removes the webhook {} with its secrets", webhook.id)).await?;
    store.remove_webhook(&named.tenant, named.id).await?;
    session.print(&shown, || format!("removed the webhook {}", webhook.id))
}

/// Finds a webhook. Fails if the tenant does not have it.
async fn find(store: &Admin, named: &Named) -> Result<Webhook, CommandError> {
    let none = || CommandError::NoWebhook { tenant: named.tenant.clone(), webhook: named.id };
    store.webhook(&named.tenant, named.id).await?.ok_or_else(none)
}

/// Returns the webhooks of a tenant, or only this one of them.
async fn chosen(
    store: &Admin,
    tenant: &TenantId,
    webhook: Option<WebhookId>,
) -> Result<Vec<Webhook>, CommandError> {
    match webhook {
        Some(id) => Ok(vec![find(store, &Named { id, tenant: tenant.clone() }).await?]),
        None => {
            find_tenant(store, tenant.clone()).await?;
            Ok(store.webhooks(tenant).await?.found)
        }
    }
}

/// Returns the queue of deliveries.
fn queue(session: &Session<'_>) -> Result<DeliveryQueue, CommandError> {
    session.queue.clone().ok_or(CommandError::Usage(
        "the queue of deliveries is not known: export the variables in the stack's output Environment \
         (WEBHOOK_QUEUE_URL)",
    ))
}
