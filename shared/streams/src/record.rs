//! A record of a stream: its place, and its shape as a write and as an event of Lambda.

use aws_sdk_dynamodbstreams::types::{Record, StreamRecord};
use chrono::DateTime;
use serde_dynamo::{AttributeValue, Item};
use serde_json::{Value, json};
use store::stream::Write;

/// Returns the place of a record in its shard.
#[must_use]
pub fn sequence_number(record: &Record) -> Option<&str> {
    record.dynamodb.as_ref()?.sequence_number.as_deref()
}

/// Converts a record into a write.
#[must_use]
pub fn as_write(record: Record) -> Write {
    let change = record.dynamodb.unwrap_or_else(|| StreamRecord::builder().build());
    let item = |image: Option<_>| image.map(Item::from).unwrap_or_default();
    let at = change.approximate_creation_date_time.and_then(|at| DateTime::from_timestamp(at.secs(), 0));
    Write {
        keys: item(change.keys),
        before: item(change.old_image),
        after: item(change.new_image),
        at: at.unwrap_or_default(),
    }
}

/// Converts a record into the form in which Lambda hands it to a function.
#[must_use]
pub fn as_in_an_event(record: Record, stream_arn: &str) -> Value {
    let change = record.dynamodb.unwrap_or_else(|| StreamRecord::builder().build());
    let item = |image: Option<_>| -> Value {
        let image: Item = image.map(Item::from).unwrap_or_default();
        let attributes = image.into_inner().into_iter();
        attributes.map(|(name, value): (String, AttributeValue)| (name, json!(value))).collect()
    };
    let mut dynamodb = json!({
        "ApproximateCreationDateTime": change.approximate_creation_date_time.map(|at| at.as_secs_f64()),
        "Keys": item(change.keys),
        "SequenceNumber": change.sequence_number,
        "SizeBytes": change.size_bytes.unwrap_or_default(),
        "StreamViewType": change.stream_view_type.map(|kind| kind.as_str().to_owned()),
    });
    // A missing item is left out, as Lambda does.
    for (name, image) in [("NewImage", change.new_image), ("OldImage", change.old_image)] {
        if let (Some(image), Value::Object(members)) = (image, &mut dynamodb) {
            members.insert(name.to_owned(), item(Some(image)));
        }
    }
    json!({
        "eventID": record.event_id,
        "eventName": record.event_name.map(|name| name.as_str().to_owned()),
        "eventVersion": record.event_version,
        "eventSource": record.event_source,
        "awsRegion": record.aws_region,
        "dynamodb": dynamodb,
        "eventSourceARN": stream_arn,
    })
}
