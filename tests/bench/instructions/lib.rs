//! The functions' own work, without the clients of the database and of Lambda. The paths are a cancellation of a subscription
//! that was read, the publication of a change, for which two subscriptions are read, and the reading of a time zone's rules,
//! which a function does once after its start.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement must stop at a fault")]

use std::hint::black_box;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use domain::calendar::{Calendar, TimeZone};
use domain::cancel::Asking;
use domain::identifiers::NewIds;
use domain::stored::{Revision, StoredSubscription};
use idempotency::{Attempt, Commit};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::{Body, Context, LambdaEvent, Response, http};
use serde_dynamo::{AttributeValue, Item, to_attribute_value, to_item};
use serde_json::{Map, Value, json};
use service::cancel::{Call, Request, Wish};
use service::endpoint::Endpoint;
use service::http::problem::Problem;
use service::http::response::respond;
use service::http::{event, request};
use store::Store;
use store::answer::Answer;
use store::compression::compress;
use store::stream::Write;
use store::tables::TableNames;
use tokio::runtime::{Builder, Runtime};

const EVENT: &str = include_str!("../../data/events/cancel-subscription/ok.json");
const ZONE: &str = "Europe/Stockholm";
const CANCELLATION: &str = "a0a4b6de-5b7e-4b53-93ff-3f4a3f6d3a11";
const ID: &str = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0001";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_769_000_000, 0).unwrap_or_default()
}

/// Returns a document of usual size.
fn document() -> Map<String, Value> {
    let documents = include_str!("../../../infra/local/src/demo.ndjson");
    let mut document: Map<String, Value> =
        documents.lines().next().map(serde_json::from_str).unwrap().unwrap();
    document.insert("subscriptionId".to_owned(), json!(ID));
    document.remove("referenceId");
    document
}

/// A subscription, and a request to cancel it.
pub struct Asked {
    runtime: Runtime,
    store: Store,
    stored: StoredSubscription,
    event: &'static str,
}

/// Returns the first demo subscription, as it was read, and an event that cancels it. The time zone is read before, as in a
/// function after its first request.
pub fn asked() -> Asked {
    zone();
    Asked {
        runtime: Builder::new_current_thread().enable_time().build().unwrap(),
        store: Store::new(
            &Endpoint::local("http://localhost:8000".to_owned()).sdk_config(),
            TableNames::default(),
        ),
        stored: StoredSubscription::new(
            serde_json::from_value(document().into()).unwrap(),
            Revision { version: 1, write_id: "4f0c6a1e9d0b".parse().ok() },
            None,
            None,
        ),
        event: EVENT,
    }
}

/// Reads the tenant's time zone from its name.
pub fn zone() -> TimeZone {
    black_box(ZONE).parse().unwrap()
}

/// Handles an event, as Lambda sends it, up to the answer and the transaction to be committed.
pub fn cancel(asked: Asked) -> (String, Commit<Answer>) {
    let Asked { runtime, store, stored, event } = black_box(asked);
    let commit = Mutex::new(None);
    let said = {
        let handle = async |request: http::Request<Body>| -> Response<Body> {
            let answer = async {
                let prepared = authenticated(&request)?.prepare(&store, Some(stored.clone()))?;
                *commit.lock().unwrap() = Some(prepared.commit);
                Ok(prepared.answered)
            };
            respond(&request, answer).await
        };
        let event: ApiGatewayV2httpRequest = serde_json::from_str(event).unwrap();
        let event = LambdaEvent::new(event, Context::default());
        let Ok(answer) = runtime.block_on(event::answer(event, &handle));
        serde_json::to_string(&answer).unwrap()
    };
    (said, commit.into_inner().unwrap().unwrap())
}

/// Returns the request, as it is once its API key is known to be valid.
fn authenticated(request: &http::Request<Body>) -> Result<Request<'_>, Problem> {
    let Call { token, key, fingerprint, request_id, precondition, .. } = request::call(request)?;
    let calendar = Calendar::new(zone(), now());
    let ids = NewIds { cancellation: CANCELLATION.parse().unwrap(), write: "0f3a9c2e71d4".parse().unwrap() };
    Ok(Request {
        tenant: token.tenant().clone(),
        attempt: key?.map(|key| Attempt { key, fingerprint, request_id: request_id.to_owned(), now: now() }),
        request_id,
        precondition,
        wish: Wish::Cancel(request::cancel_request(request, &calendar)?, calendar),
        asking: Asking { ids, requested_by: token.key_id().clone(), now: now() },
    })
}

/// Returns a write, as the stream of the table has it.
pub fn written() -> Write {
    let item = |version: u64, changing: Value, beside: Value| {
        let mut rest = document();
        let mut attributes: Map<String, Value> = changing.as_object().unwrap().clone();
        for name in ["status", "updatedAt"] {
            attributes.insert(name.to_owned(), rest.remove(name).unwrap());
        }
        let compressed = compress(Value::Object(rest).to_string().as_bytes()).unwrap();
        let mut item: Item = to_item(beside).unwrap();
        item.insert("version".to_owned(), AttributeValue::N(version.to_string()));
        item.insert("document".to_owned(), to_attribute_value(attributes).unwrap());
        let Some(AttributeValue::M(document)) = item.get_mut("document") else { panic!("no map") };
        document.insert("compressed".to_owned(), AttributeValue::B(compressed));
        item
    };
    let pending = json!({"pendingStatus": {"status": "CANCELLED", "scheduledAt": "2026-02-01"}});
    let cancellation = json!({
        "cancellationId": CANCELLATION,
        "scheduledAt": "2026-02-01",
        "effectiveAt": "2026-01-31T23:00:00Z",
        "reason": "NO_NEED",
        "requestedAt": now(),
        "requestedBy": "0123456789ab",
    });
    let due = json!({
        "writeId": "0f3a9c2e71d4",
        "cancellationId": CANCELLATION,
        "cancellation": cancellation,
        "dueShard": 3,
        "dueAt": "2026-01-31T23:00:00Z",
    });
    Write {
        keys: to_item(json!({"pk": format!("demo#{ID}")})).unwrap(),
        before: item(1, json!({}), json!({"writeId": "4f0c6a1e9d0b"})),
        after: item(2, pending, due),
        at: now(),
    }
}

/// Makes the published event of a write, for which two subscriptions are read.
pub fn publish(write: Write) -> String {
    let event = black_box(write).event().unwrap().unwrap();
    serde_json::to_string(&event.event).unwrap()
}
