//! Deliveries to a hundred webhooks on one machine: how many a second, and how a receiver that is slow or never answers changes those
//! of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use harness::{Service, event, options, webhook};
use local::up::Options;
use serde_json::{Value, json};
use service::deliver::Limits;
use tempfile::tempdir;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::report::{Section, Table};

/// Number of webhooks. The last one is never counted.
const WEBHOOKS: usize = 100;
/// Number of events, each for all webhooks.
const EVENTS: usize = 100;
/// Number of runs of each kind, in turns.
const RUNS: usize = 5;
/// Longest run.
const LONGEST: Duration = Duration::from_secs(600);

/// The time that a slow receiver takes, just in time to be accepted.
const SLOW: Duration = Duration::from_secs(4);

/// The last receiver.
#[derive(Clone, Copy)]
enum Last {
    Well,
    Slow,
    Silent,
}

/// The receivers: one server, with a path for each.
struct Receivers {
    last: Last,
    accepted: AtomicUsize,
    all: Notify,
}

async fn receive(State(receivers): State<Arc<Receivers>>, Path(number): Path<usize>) -> StatusCode {
    if number == WEBHOOKS - 1 {
        match receivers.last {
            Last::Well => {}
            Last::Slow => sleep(SLOW).await,
            Last::Silent => std::future::pending().await,
        }
    } else if receivers.accepted.fetch_add(1, Ordering::SeqCst) + 1 >= (WEBHOOKS - 1) * EVENTS {
        receivers.all.notify_one();
    }
    StatusCode::NO_CONTENT
}

/// Measures all kinds of runs.
pub async fn measure() -> Vec<Section> {
    let (mut well, mut slow, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        well.push(run(Last::Well).await);
        slow.push(run(Last::Slow).await);
        silent.push(run(Last::Silent).await);
    }
    let per_second = |times: &mut Vec<Duration>| {
        times.sort();
        let deliveries = f64::from(u32::try_from((WEBHOOKS - 1) * EVENTS).unwrap());
        deliveries / times[times.len() / 2].as_secs_f64()
    };
    let [well, slow, silent] = [&mut well, &mut slow, &mut silent].map(per_second);
    let mut table =
        Table::new(&["webhooks", "deliveries a second to the first 99", "of those with all answering"]);
    for (name, rate) in [
        ("100, all answer", well),
        ("100, of which one takes 4 s", slow),
        ("100, of which one never answers", silent),
    ] {
        table.row(&[name.to_owned(), format!("{rate:.0}"), format!("{:.1} %", rate / well * 100.0)]);
    }
    vec![Section::new("webhooks", table)]
}

/// Returns the time until all events have reached all webhooks but the last.
async fn run(last: Last) -> Duration {
    let folder = tempdir().unwrap();
    let data = folder.path().to_owned();
    let kept = Options { memory: false, data, publishes: true, limits: Limits::default(), ..options() };
    let service = Service::start_with(kept).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let receivers = Arc::new(Receivers { last, accepted: AtomicUsize::new(0), all: Notify::new() });
    let routes = Router::new().route("/{number}", post(receive)).with_state(Arc::clone(&receivers));
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    for number in 0..WEBHOOKS {
        service.add_webhook(&webhook(&format!("{url}/{number}"))).await;
    }
    let begun = Instant::now();
    let client = reqwest::Client::new();
    let entries: Vec<_> = (0..EVENTS).map(|_| entry()).collect();
    for entries in entries.chunks(10) {
        let request = client.post(service.bus_url()).header("x-amz-target", "AWSEvents.PutEvents");
        let answer = request.json(&json!({"Entries": entries})).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap()["FailedEntryCount"], 0);
    }
    timeout(LONGEST, receivers.all.notified()).await.expect("not all events were delivered");
    let elapsed = begun.elapsed();
    service.stop().await;
    server.abort();
    elapsed
}

/// Returns a new event of the demo tenant, as it is put onto the bus.
fn entry() -> Value {
    let body = event("deliver-webhooks/ok")["Records"][0]["body"].take();
    let mut envelope: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
    envelope["detail"]["eventId"] = json!(Uuid::new_v4());
    json!({
        "Source": envelope["source"],
        "DetailType": envelope["detail-type"],
        "Resources": envelope["resources"],
        "Detail": envelope["detail"].to_string(),
    })
}
