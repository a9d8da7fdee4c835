//! What an API destination of EventBridge does: posts each event to a webhook, and again, later and later, for 24 hours, until the
//! receiver has it. Unlike one, it keeps the order: an event about a subscription waits for those before it.
//!
//! A receiver has an event when it answers with a status of 2xx in time. After 401, 407, 409, 429, 5xx or no answer, the event
//! comes again; any other answer refuses it.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::bus::{Bus, Progress};

/// How many events are posted at once.
const AT_ONCE: usize = 8;
/// How long an event is posted again.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it is waited before it is posted again, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where events are posted to.
    pub url: Url,
    /// How long the receiver has for an answer.
    pub timeout: Duration,
    /// How long it is waited before an event is posted for the second time; from then on, twice as long each time.
    pub first_pause: Duration,
}

impl Webhook {
    /// One at this URL, whose receiver has as long as with EventBridge.
    #[must_use]
    pub fn at(url: Url) -> Self {
        Self { url, timeout: Duration::from_secs(5), first_pause: Duration::from_millis(500) }
    }

    /// Where it is, without what may be secret.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
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
#[derive(Clone)]
pub struct Delivery {
    /// Its number on the bus.
    pub number: u64,
    /// What it is about: events about the same are delivered one after the other.
    pub about: String,
    /// The event.
    pub body: String,
    /// When it came.
    pub since: Instant,
}

/// What delivers events to a webhook.
pub struct Deliveries {
    webhook: Webhook,
    client: Client,
    /// What waits, by what it is about. Where there is something, there is a task that delivers it.
    waiting: Mutex<HashMap<String, VecDeque<Delivery>>>,
    free: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What came of one attempt.
enum Answer {
    Taken,
    Refused(StatusCode),
    Later(String),
}

impl Deliveries {
    /// Those to this webhook, until `stop` is cancelled.
    ///
    /// # Errors
    /// There can't be an HTTP client.
    pub fn new(webhook: Webhook, stop: CancellationToken) -> Result<Self, reqwest::Error> {
        let client = Client::builder().redirect(Policy::none()).timeout(webhook.timeout).build()?;
        let (free, tasks) = (Semaphore::new(AT_ONCE), TaskTracker::new());
        Ok(Self { webhook, client, waiting: Mutex::default(), free, tasks, stop })
    }

    /// Delivers an event of this bus.
    pub fn deliver(&self, bus: &Arc<Bus>, delivery: Delivery) {
        let about = delivery.about.clone();
        let mut waiting = self.waiting();
        let queue = waiting.entry(about.clone()).or_default();
        queue.push_back(delivery);
        if queue.len() == 1 {
            self.tasks.spawn(deliver_all(Arc::clone(bus), about));
        }
    }

    /// Waits until what is being posted has been answered.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Delivery>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be delivered next.
    fn next(&self, about: &str) -> Option<Delivery> {
        self.waiting().get(about)?.front().cloned()
    }

    /// Takes out what has been delivered or dropped.
    fn done(&self, about: &str) {
        let mut waiting = self.waiting();
        let queue = waiting.get_mut(about);
        if queue.is_some_and(|queue| queue.pop_front().is_some() && queue.is_empty()) {
            waiting.remove(about);
        }
    }

    /// Delivers one event, however long that takes; whether it is over.
    async fn deliver_one(&self, bus: &Bus, delivery: Delivery) -> bool {
        let Delivery { number, about, body, since } = delivery;
        let mut pause = self.webhook.first_pause;
        while !self.stop.is_cancelled() {
            let progress = match self.post(body.clone()).await {
                Answer::Taken => Progress::Delivered,
                Answer::Refused(status) => {
                    error!(%status, about, "the receiver refuses an event");
                    Progress::Dropped
                }
                Answer::Later(cause) if since.elapsed() >= LIFETIME => {
                    error!(cause, about, "the receiver has not taken an event for a day");
                    Progress::Dropped
                }
                Answer::Later(cause) => {
                    warn!(cause, about, seconds = pause.as_secs_f32(), "an event is posted again");
                    Progress::Waiting
                }
            };
            bus.progress(number, progress);
            if progress != Progress::Waiting {
                return true;
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(pause) => {}
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        false
    }

    /// Posts an event once.
    async fn post(&self, body: String) -> Answer {
        let _permit = self.free.acquire().await;
        let request = self.client.post(self.webhook.url.clone()).header(CONTENT_TYPE, "application/json");
        match request.body(body).send().await {
            Ok(answer) => match answer.status() {
                status if status.is_success() => Answer::Taken,
                status if status.is_server_error() || matches!(status.as_u16(), 401 | 407 | 409 | 429) => {
                    Answer::Later(format!("the receiver answered {status}"))
                }
                status => Answer::Refused(status),
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

/// Delivers what waits about one subscription, as long as there is something.
async fn deliver_all(bus: Arc<Bus>, about: String) {
    let Some(deliveries) = bus.webhook() else { return };
    while let Some(next) = deliveries.next(&about) {
        if !deliveries.deliver_one(&bus, next).await {
            return;
        }
        deliveries.done(&about);
    }
}
