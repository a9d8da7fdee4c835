//! Subscriptions, and the events that read and cancel them.

use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::api_key::Token;
use domain::calendar::Calendar;
use domain::import::NewSubscription;
use local::demo;
use serde_json::{Value, json};
use service::ids;
use uuid::Uuid;

use crate::engine::{TENANT, ZONE};

/// Earliest date in the bodies of requests.
const FIRST_DATE: NaiveDate = NaiveDate::from_ymd_opt(2100, 1, 1).unwrap();

/// Returns the id of the subscription with this number.
pub fn id(number: u64) -> Uuid {
    // Spread like random ids, but the same each time.
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes())
}

/// Returns the document of the subscription with this number, as an operator's system has it.
pub fn document(number: u64) -> Value {
    let mut document: Value = serde_json::from_str(demo::SUBSCRIPTIONS.lines().next().unwrap()).unwrap();
    document["subscriptionId"] = json!(id(number));
    document.as_object_mut().unwrap().remove("referenceId");
    document
}

/// Returns the same document with a cancellation pending for a date.
pub fn pending(number: u64, date: NaiveDate) -> Value {
    let mut document = document(number);
    document["pendingStatus"] = json!({"status": "CANCELLED", "scheduledAt": date});
    document
}

/// Prepares a document for an import.
pub fn new(document: Value, now: DateTime<Utc>) -> NewSubscription {
    let calendar = Calendar::new(ZONE.parse().unwrap(), now);
    NewSubscription::from_json(document, &calendar, now, ids::new()).unwrap()
}

/// Returns the event that reads the subscription with this number.
pub fn get(token: &Token, number: u64) -> Value {
    about(event(include_str!("../data/events/get-subscription/ok.json")), "", token, number)
}

/// Returns the event that cancels one of `subscriptions` subscriptions. Each operation has a key of its own. When all
/// subscriptions have had their turn, the date is another one, so that each operation changes something.
pub fn cancel(token: &Token, subscriptions: u64, operation: u64) -> Value {
    let number = operation % subscriptions;
    let mut event =
        about(event(include_str!("../data/events/cancel-subscription/ok.json")), "/cancel", token, number);
    let date = FIRST_DATE + Days::new(operation / subscriptions);
    let body = json!({"schedule": {"type": "CancelAtDate", "date": date}, "reason": "OTHER", "comment": "Moves abroad"});
    event["body"] = json!(body.to_string());
    event["headers"]["x-idempotency-key"] =
        json!(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{operation}").as_bytes()));
    event
}

/// Returns the event that withdraws the cancellation of the subscription with this number.
pub fn withdraw(token: &Token, number: u64) -> Value {
    let mut event = about(
        event(include_str!("../data/events/cancel-subscription/ok_withdrawn.json")),
        "/cancel",
        token,
        number,
    );
    event["headers"]["x-idempotency-key"] = json!(Uuid::new_v4());
    event
}

/// Returns the event with so many changes that the table's stream delivers at once.
pub fn changes(count: u32) -> Value {
    let mut event = event(include_str!("../data/events/publish-events/ok.json"));
    let record = event["Records"][0].clone();
    let records = (0..count).map(|number| {
        let (mut record, key) = (record.clone(), json!({"S": key(number.into())}));
        record["dynamodb"]["SequenceNumber"] = json!(number.to_string());
        for place in ["Keys", "OldImage", "NewImage"] {
            record["dynamodb"][place]["pk"] = key.clone();
        }
        record
    });
    event["Records"] = records.collect();
    event
}

/// Returns the event that executes the due cancellations.
pub fn execute() -> Value {
    event(include_str!("../data/events/execute-cancellations/ok.json"))
}

fn event(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn about(mut event: Value, suffix: &str, token: &Token, number: u64) -> Value {
    let path = json!(format!("/subscriptions/{}{suffix}", id(number)));
    event["rawPath"] = path.clone();
    event["requestContext"]["http"]["path"] = path;
    event["pathParameters"]["subscriptionId"] = json!(id(number));
    event["headers"]["x-api-key"] = json!(token.reveal());
    event
}

/// Returns the key of the item of the subscription with this number.
pub fn key(number: u64) -> String {
    format!("{TENANT}#{}", id(number))
}
