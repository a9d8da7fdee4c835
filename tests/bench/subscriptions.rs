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

/// Returns the event that reads this part of the subscription with this number: its `cancellation` or its `history`.
pub fn read(token: &Token, part: &str, number: u64) -> Value {
    let route = json!(format!("GET /subscriptions/{{subscriptionId}}/{part}"));
    let mut event = about(
        event(include_str!("../data/events/get-subscription/ok_cancellation.json")),
        &format!("/{part}"),
        token,
        number,
    );
    event["routeKey"] = route.clone();
    event["requestContext"]["routeKey"] = route;
    event
}

/// Returns the event that previews a cancellation of the subscription with this number.
pub fn preview(token: &Token, number: u64) -> Value {
    let event = event(include_str!("../data/events/get-subscription/ok_preview.json"));
    about(event, "/cancel/preview", token, number)
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

/// Returns the event with the cancellations of so many subscriptions that the table's stream delivers at once. Each was withdrawn
/// before. `round` counts the cancellations of each subscription.
pub fn changes(count: u32, round: u64) -> Value {
    let mut event = event(include_str!("../data/events/publish-events/ok.json"));
    let record = event["Records"][0].clone();
    let records = (0..u64::from(count)).map(|number| {
        let mut record = record.clone();
        let change = &mut record["dynamodb"];
        change["SequenceNumber"] = json!(format!("{round}{number:03}"));
        let text = |text: String| json!({"S": text});
        for (place, version, cause) in
            [("OldImage", 2 * round + 2, "WITHDRAWN"), ("NewImage", 2 * round + 3, "SCHEDULED")]
        {
            let write = text(format!("{version:012}"));
            change[place]["version"] = json!({"N": version.to_string()});
            change[place]["writeId"] = write.clone();
            let request = text(Uuid::new_v5(&Uuid::NAMESPACE_OID, &version.to_be_bytes()).to_string());
            let (cause, source) = (text(cause.to_owned()), text("API".to_owned()));
            change[place]["changedBy"] =
                json!({"M": {"write": write, "cause": cause, "source": source, "requestId": request}});
            change[place]["document"]["M"]["subscriptionId"] = text(id(number).to_string());
        }
        let cancellation = &mut change["NewImage"]["cancellation"]["M"];
        cancellation["scheduledAt"] = text("2026-02-01".to_owned());
        cancellation["reason"] = text("OTHER".to_owned());
        cancellation["comment"] = text("Moves abroad".to_owned());
        for place in ["Keys", "OldImage", "NewImage"] {
            change[place]["pk"] = text(key(number));
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
