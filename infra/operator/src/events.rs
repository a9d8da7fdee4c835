//! `events`: shows events as they happen, from the stream of the table, and their schemas.

mod schema;

use std::time::Duration;

use clap::Subcommand;
use domain::event::{Event, EventType};
use domain::identifiers::TenantId;
use domain::subscription::Status;
use store::stream::TenantEvent;
use streams::{Start, Stream, StreamError, as_write};

use crate::arguments::parse_tenant;
use crate::format::instant;
use crate::{CommandError, Session};

/// Pause before the next read of the stream.
const PAUSE: Duration = Duration::from_millis(500);
/// Additional pause after a failed read.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Commands on events.
#[derive(Clone, Debug, Subcommand)]
pub enum Events {
    /// Show events as they happen, until Ctrl-C
    ///
    /// Reads the stream of the table. The service makes every event from this stream, so events are shown even while they can't
    /// be published or delivered. With --json, each event is one line, in the form in which it is published. On AWS, a stream is
    /// meant for at most two readers, and publish-events is one of them.
    Tail {
        /// Only events of this tenant [default: all tenants]
        #[arg(long, value_parser = parse_tenant)]
        tenant: Option<TenantId>,
        /// Begin with the oldest events in the stream, which keeps them for 24 hours
        #[arg(long)]
        from_beginning: bool,
    },
    /// Print the JSON Schema of each type of events, for receivers
    Schema {
        /// Type of events, such as subscription.cancelled [default: all, by their types]
        #[arg(value_name = "TYPE")]
        r#type: Option<String>,
    },
}

pub(crate) async fn run(command: Events, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        Events::Tail { tenant, from_beginning } => tail(session, tenant, from_beginning).await,
        Events::Schema { r#type } => schema::run(session, r#type.as_deref()),
    }
}

async fn tail(
    session: &mut Session<'_>,
    tenant: Option<TenantId>,
    from_beginning: bool,
) -> Result<(), CommandError> {
    let arn = session.store().stream_arn().await?.ok_or(CommandError::NoStream)?;
    let start = if from_beginning { Start::Oldest } else { Start::Now };
    let mut stream = Stream::new(session.endpoint.clone(), arn, start);
    let mut pages = stream.read().await?;
    session.note("waiting for events; Ctrl-C ends it");
    let mut is_failing = false;
    loop {
        for record in pages.into_iter().flat_map(|page| page.records) {
            match as_write(record).change().event {
                Ok(Some(event)) if tenant.as_ref().is_none_or(|tenant| event.tenant == *tenant) => {
                    print(session, &event)?;
                }
                Ok(_) => {}
                Err(unreadable) => session.note(&unreadable.to_string()),
            }
        }
        tokio::time::sleep(PAUSE).await;
        pages = match stream.read().await {
            Ok(pages) => {
                is_failing = false;
                pages
            }
            Err(cause @ StreamError::Refused(_)) => return Err(cause.into()),
            Err(cause) => {
                // Noted once only, because the failure may last.
                if !is_failing {
                    session.note(&format!("{cause}; trying again"));
                }
                is_failing = true;
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                Vec::new()
            }
        };
    }
}

fn print(session: &mut Session<'_>, of_tenant: &TenantEvent) -> Result<(), CommandError> {
    session.print(&of_tenant.event, || text(of_tenant))?;
    Ok(session.out.flush()?)
}

fn text(TenantEvent { tenant, event }: &TenantEvent) -> String {
    let Event { r#type, occurred_at, data, .. } = event;
    let pending = data.pending_status.as_ref().filter(|pending| pending.status == Status::Cancelled);
    let what = match (r#type, pending) {
        (EventType::Cancelled, _) => "is CANCELLED".to_owned(),
        (EventType::Updated, Some(pending)) => format!("will be CANCELLED on {}", pending.scheduled_at),
        (EventType::Updated, None) => {
            format!("is {}, no cancellation pending", serde_json::json!(data.status).as_str().unwrap_or("-"))
        }
    };
    format!("{}  {:<22}  {tenant}  {}  {what}", instant(*occurred_at), r#type.as_str(), data.subscription_id)
}
