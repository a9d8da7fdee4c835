//! The functions' own work: all that they do between an event and its answer, but for the client of the database. The paths are a
//! cancellation, from the event to the answer, with the items as they were read, the transaction to be committed, and the log; the
//! publication of a change, for which two subscriptions are read; and the reading of a time zone's rules, which a function does
//! once after its start.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement must stop at a fault")]

use std::hint::black_box;
use std::mem;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use domain::api_key::{Scope, Token};
use domain::calendar::{Calendar, TimeZone};
use idempotency::Commit;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::{Body, Context, LambdaEvent, Response, http};
use serde_dynamo::{AttributeValue, Item, to_attribute_value, to_item};
use serde_json::{Map, Value, json};
use service::cancel::{Prepared, Read, read};
use service::endpoint::Endpoint;
use service::http::request::Named;
use service::http::response::respond;
use service::http::{event, request};
use service::telemetry::Telemetry;
use store::Store;
use store::answer::Answer;
use store::compression::compress;
use store::load::{Items, Sealed};
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

/// Returns the item of a subscription: its document with these changing members, a version, and other attributes beside.
fn item(version: u64, changing: Value, beside: Value) -> Item {
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
}

/// An event that cancels a subscription, and the items that are read for it.
pub struct Asked {
    runtime: Runtime,
    telemetry: Telemetry,
    store: Store,
    items: Items,
    event: &'static str,
}

/// Returns an event that cancels the first demo subscription, and the items. One such event was answered before, as in a function
/// after its first request.
pub fn asked() -> Asked {
    let event: Value = serde_json::from_str(EVENT).unwrap();
    let token: Token = event["headers"]["x-api-key"].as_str().unwrap().parse().unwrap();
    let mut api_key: Item = to_item(json!({
        "pk": "demo#all",
        "scopes": Scope::ALL.map(|scope| scope.to_string()),
        "createdAt": now(),
    }))
    .unwrap();
    let hash = AttributeValue::B(token.secret_hash().as_bytes().to_vec());
    api_key.insert("secretHash".to_owned(), hash);
    let tenant: Item = to_item(json!({"pk": "demo", "name": "Demo", "timeZone": ZONE})).unwrap();
    let subscription = item(1, json!({}), json!({"pk": format!("demo#{ID}"), "writeId": "4f0c6a1e9d0b"}));
    let asked = Asked {
        runtime: Builder::new_current_thread().enable_time().build().unwrap(),
        telemetry: Telemetry::start().unwrap(),
        store: Store::new(
            &Endpoint::local("http://localhost:8000".to_owned()).sdk_config(),
            TableNames::default(),
        ),
        items: Items {
            tenant: Some(tenant.into()),
            api_key: Some(api_key.into()),
            subscription: Some(subscription.into()),
            ..Items::default()
        },
        event: EVENT,
    };
    answer(&asked, asked.items.clone());
    asked
}

/// Reads the tenant's time zone from its name.
pub fn zone() -> TimeZone {
    black_box(ZONE).parse().unwrap()
}

/// Handles an event, as Lambda sends it, up to the answer and the transaction to be committed.
pub fn cancel(mut asked: Asked) -> (String, Commit<Answer>) {
    let items = mem::take(&mut asked.items);
    answer(black_box(&asked), items)
}

fn answer(asked: &Asked, items: Items) -> (String, Commit<Answer>) {
    let Asked { runtime, telemetry, store, event, .. } = asked;
    let (items, commit) = (Mutex::new(items), Mutex::new(None));
    let answer = {
        let commit = &commit;
        let take = || mem::take(&mut *items.lock().unwrap());
        let handle = async |request: http::Request<Body>| -> Response<Body> {
            let operation = async |named: Named| {
                let call = request::call(&request, named);
                let loaded = Sealed::new(&call.named.token, take()).open(Scope::Cancel, now())?;
                let body = |calendar: &Calendar| request::cancel_request(&request, calendar);
                match read(store, call, loaded, Some(body), now()).await? {
                    Read::Answered(answered) => Ok(answered),
                    Read::Asked(asked) => {
                        let Prepared { answered, commit: prepared, .. } =
                            asked.request.prepare(store, asked.stored)?;
                        *commit.lock().unwrap() = Some(prepared);
                        Ok(answered)
                    }
                }
            };
            telemetry.invocation(respond(&request, operation)).await
        };
        let event: ApiGatewayV2httpRequest = serde_json::from_str(event).unwrap();
        let event = LambdaEvent::new(event, Context::default());
        let Ok(answer) = runtime.block_on(event::answer(event, &handle));
        serde_json::to_string(&answer).unwrap()
    };
    (answer, commit.into_inner().unwrap().expect("nothing would be committed"))
}

/// Returns a write, as the stream of the table has it.
pub fn written() -> Write {
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
        "changedBy": {
            "write": "0f3a9c2e71d4",
            "cause": "SCHEDULED",
            "source": "API",
            "requestId": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        },
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
    let event = black_box(write).change().event.unwrap().unwrap();
    serde_json::to_string(&event.event).unwrap()
}
