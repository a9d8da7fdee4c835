//! Receives events with axum: verifies each signature, drops duplicates, and keeps the latest state of each subscription. Prints each
//! event that changes that state, as one line of JSON. Needs TLS in front of it.
//!
//! ```sh
//! WEBHOOK_SECRET=whsec_… PORT=4000 cargo run --example receive
//! ```
//!
//! The ids and the versions are only in memory here. Keep them in the database that the events change, for 30 days, and write both in
//! one transaction.

use std::collections::{HashMap, HashSet};
use std::env;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

struct Receiver {
    webhook: Webhook,
    state: Mutex<Received>,
}

#[derive(Default)]
struct Received {
    seen: HashSet<String>,
    versions: HashMap<String, u64>,
}

impl Received {
    /// Processes an event once. One that was overtaken by a later one changes nothing. `None` if it lacks a member.
    #[expect(clippy::print_stdout, reason = "the output of the example")]
    fn process(&mut self, event: &Value) -> Option<()> {
        let id = event.get("eventId")?.as_str()?;
        if self.seen.contains(id) {
            return Some(());
        }
        if event.get("type")?.as_str()?.starts_with("subscription.") {
            let subscription = event.pointer("/data/subscriptionId")?.as_str()?;
            let version = event.get("version")?.as_u64()?;
            if self.versions.get(subscription).is_none_or(|latest| *latest < version) {
                self.versions.insert(subscription.to_owned(), version);
                println!("{event}");
            }
        }
        self.seen.insert(id.to_owned());
        Some(())
    }
}

/// Answers a request. The signature is that of the body as it came.
async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if receiver.webhook.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    let mut state = receiver.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.process(&event).map_or(StatusCode::BAD_REQUEST, |()| StatusCode::NO_CONTENT)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let webhook = Webhook::new(&env::var("WEBHOOK_SECRET")?)?;
    let receiver = Arc::new(Receiver { webhook, state: Mutex::default() });
    let routes = Router::new().fallback(post(receive)).with_state(receiver);
    let listener = TcpListener::bind(("127.0.0.1", env::var("PORT")?.parse()?)).await?;
    Ok(axum::serve(listener, routes).await?)
}
