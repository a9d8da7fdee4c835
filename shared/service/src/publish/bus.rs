//! The bus of events: Amazon EventBridge.

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::Builder;
use aws_sdk_eventbridge::config::retry::RetryPartition;
use aws_sdk_eventbridge::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use aws_types::SdkConfig;
use domain::event::SOURCE;
use store::stream::TenantEvent;
use uuid::Uuid;

use super::queue::FailedEvent;

/// EventBridge's limit for the number of events in one request.
pub(super) const MOST_ENTRIES: usize = 10;
/// EventBridge's limit for one request, and so for one event, in bytes as EventBridge counts them: 1 MB, less a reserve for its own
/// data around the events. In some places the limit may still be 256 KiB. There, events of a refused request are put one by one.
pub(super) const MOST_BYTES: usize = 1_000_000 - 10 * 1_024;

/// A client of one event bus.
#[derive(Clone, Debug)]
pub(crate) struct Bus {
    client: Client,
    name: String,
}

/// An event as it goes onto the bus, with its origin in the stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key of the item that changed.
    pub key: String,
    /// The place of the change in the stream.
    pub sequence_number: String,
    pub event_id: Uuid,
    pub event_type: &'static str,
    resources: [String; 2],
    detail: String,
}

impl Entry {
    pub(crate) fn new(key: String, sequence_number: String, of_tenant: TenantEvent) -> Self {
        let TenantEvent { tenant, event } = of_tenant;
        Self {
            key,
            sequence_number,
            event_id: event.event_id,
            event_type: event.r#type.as_str(),
            // Rules on the bus need the tenant here, because the event itself does not name it.
            resources: [format!("tenant/{tenant}"), format!("subscription/{}", event.data.subscription_id)],
            // An event always has a JSON form.
            detail: serde_json::to_string(&event).unwrap_or_default(),
        }
    }

    /// Returns the size in bytes, if that is more than the bus takes.
    pub(crate) fn excess(&self) -> Option<usize> {
        Some(self.bytes()).filter(|bytes| *bytes > MOST_BYTES)
    }

    /// Returns the message about this event, which can't be published for this reason.
    pub(crate) fn failed(&self, reason: String) -> FailedEvent {
        FailedEvent {
            key: self.key.clone(),
            sequence_number: self.sequence_number.clone(),
            event_id: Some(self.event_id),
            r#type: Some(self.event_type),
            reason,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let resources: usize = self.resources.iter().map(String::len).sum();
        SOURCE.len() + self.event_type.len() + resources + self.detail.len()
    }
}

/// Outcome of putting one event onto the bus.
#[derive(Clone)]
pub(crate) enum PutOutcome {
    Taken,
    /// The bus will never take the event, for this reason.
    Refused(String),
    /// The bus has not taken the event, for this reason. It may take it later.
    NotTaken(String),
}

impl Bus {
    pub(crate) fn new(eventbridge: &SdkConfig, name: String) -> Self {
        // The bus gets a retry limit of its own, as the database does.
        let retries = RetryPartition::custom("bus").build();
        Self { client: Client::from_conf(Builder::from(eventbridge).retry_partition(retries).build()), name }
    }

    /// Puts events onto the bus with one request. Returns the outcome of each, in their order.
    ///
    /// # Errors
    /// The bus refuses the request as a whole, for this reason: one of the events is at fault, or all of them together.
    pub(crate) async fn put(&self, entries: &[Entry]) -> Result<Vec<PutOutcome>, String> {
        let entry = |entry: &Entry| {
            PutEventsRequestEntry::builder()
                .event_bus_name(&self.name)
                .source(SOURCE)
                .detail_type(entry.event_type)
                .set_resources(Some(entry.resources.to_vec()))
                .detail(&entry.detail)
                .build()
        };
        let request = self.client.put_events().set_entries(Some(entries.iter().map(entry).collect()));
        match request.send().await {
            Ok(answer) => {
                let mut outcomes: Vec<_> = answer.entries().iter().map(outcome).collect();
                // The bus answers for each event. If an outcome is missing, the event is put again.
                outcomes.resize(entries.len(), PutOutcome::NotTaken("no answer".to_owned()));
                Ok(outcomes)
            }
            Err(error) => match error.code() {
                Some(code @ "ValidationException") => Err(code.to_owned()),
                Some(code) => Ok(vec![PutOutcome::NotTaken(code.to_owned()); entries.len()]),
                None => {
                    let cause = DisplayErrorContext(&error).to_string();
                    Ok(vec![PutOutcome::NotTaken(cause); entries.len()])
                }
            },
        }
    }
}

fn outcome(entry: &PutEventsResultEntry) -> PutOutcome {
    // Codes of faults in the event. All others concern the bus, the permissions or the moment.
    const ABOUT_THE_EVENT: [&str; 3] = ["InvalidArgument", "MalformedDetail", "RedactionFailure"];
    match entry.error_code() {
        None => PutOutcome::Taken,
        Some(code) if ABOUT_THE_EVENT.contains(&code) => PutOutcome::Refused(code.to_owned()),
        Some(code) => PutOutcome::NotTaken(code.to_owned()),
    }
}
