//! What an API destination of EventBridge does: posts each event to a webhook, and again, later and later, for 24 hours, until the
//! receiver has it.
//!
//! What is about one subscription is delivered in its order. A receiver has an event when it answers with a status of 2xx in
//! time. After one of 429, of 5xx, or none, the event comes again; any other is the receiver's word that it does not want it.

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::bus::{Bus, Progress};

/// How many events are sent at once, each about another subscription.
const LANES: usize = 8;
/// How long an event is sent again.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it is waited before it is sent again, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where events are posted to.
    pub url: Url,
    /// How long the receiver has for an answer.
    pub timeout: Duration,
    /// How long it is waited before an event is sent for the second time; from then on, twice as long each time.
    pub first_pause: Duration,
}

impl Webhook {
    /// One at this URL, whose receiver has as long as with EventBridge.
    #[must_use]
    pub fn at(url: Url) -> Self {
        Self { url, timeout: Duration::from_secs(5), first_pause: Duration::from_millis(500) }
    }
}

impl FromStr for Webhook {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.map(Self::at).ok_or("write a URL, such as http://127.0.0.1:4000/events")
    }
}

/// An event to be delivered.
pub struct Delivery {
    /// Its number on the bus.
    pub number: u64,
    /// What it is about: events about the same are delivered one after the other.
    pub about: String,
    /// The event.
    pub body: String,
}

/// The ways to the receiver, in each of which events go one after the other.
pub struct Lanes(Vec<UnboundedSender<Delivery>>);

/// The other ends of these.
pub struct Exits(Vec<UnboundedReceiver<Delivery>>);

/// Both ends.
#[must_use]
pub fn lanes() -> (Lanes, Exits) {
    let (entrances, exits) = (0..LANES).map(|_| unbounded_channel()).unzip();
    (Lanes(entrances), Exits(exits))
}

impl Lanes {
    /// Sends an event on its way.
    pub fn send(&self, delivery: Delivery) {
        let mut hash = DefaultHasher::new();
        delivery.about.hash(&mut hash);
        let lane = hash.finish().checked_rem(self.0.len().try_into().unwrap_or(u64::MAX));
        let lane = lane.and_then(|lane| self.0.get(usize::try_from(lane).ok()?));
        // Nobody is at the other end when the service stops: it is told again when it starts.
        let _ = lane.map(|lane| lane.send(delivery));
    }
}

impl Exits {
    /// Delivers what comes, until `stop` is cancelled.
    pub async fn deliver(self, webhook: Webhook, bus: Arc<Bus>, stop: CancellationToken) {
        let client = Client::builder().redirect(Policy::none()).timeout(webhook.timeout).build();
        let client = match client {
            Ok(client) => client,
            Err(cause) => return error!(%cause, "no events can be delivered"),
        };
        let mut lanes = JoinSet::new();
        for mut lane in self.0 {
            let receiver =
                Receiver { client: client.clone(), webhook: webhook.clone(), bus: Arc::clone(&bus) };
            lanes.spawn(async move {
                while let Some(delivery) = lane.recv().await {
                    receiver.deliver(delivery).await;
                }
            });
        }
        stop.cancelled().await;
    }
}

struct Receiver {
    client: Client,
    webhook: Webhook,
    bus: Arc<Bus>,
}

/// What came of one attempt.
enum Answer {
    Taken,
    Unwanted(StatusCode),
    Later(String),
}

impl Receiver {
    /// Delivers an event, however long that takes.
    async fn deliver(&self, delivery: Delivery) {
        let begun = Instant::now();
        let mut pause = self.webhook.first_pause;
        loop {
            match self.send(&delivery.body).await {
                Answer::Taken => {
                    self.bus.progress(delivery.number, Progress::Delivered);
                    return;
                }
                Answer::Unwanted(status) => {
                    error!(%status, about = delivery.about, "the receiver does not want an event");
                    self.bus.progress(delivery.number, Progress::Dropped);
                    return;
                }
                Answer::Later(cause) if begun.elapsed() >= LIFETIME => {
                    error!(cause, about = delivery.about, "the receiver has not taken an event for a day");
                    self.bus.progress(delivery.number, Progress::Dropped);
                    return;
                }
                Answer::Later(cause) => {
                    let seconds = pause.as_secs_f32();
                    warn!(cause, about = delivery.about, seconds, "an event is sent again");
                    self.bus.progress(delivery.number, Progress::Waiting);
                }
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    async fn send(&self, body: &str) -> Answer {
        let request = self.client.post(self.webhook.url.clone()).header(CONTENT_TYPE, "application/json");
        match request.body(body.to_owned()).send().await {
            Ok(answer) if answer.status().is_success() => Answer::Taken,
            Ok(answer) => match answer.status() {
                status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                    Answer::Later(format!("the receiver answered {status}"))
                }
                status => Answer::Unwanted(status),
            },
            Err(error) => {
                // The URL may hold a secret.
                let error = error.without_url();
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(error) = cause {
                    text += &format!(": {error}");
                    cause = error.source();
                }
                Answer::Later(text)
            }
        }
    }
}
