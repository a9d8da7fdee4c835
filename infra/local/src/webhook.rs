//! A stand-in for an API destination of EventBridge: posts each event to a webhook, and retries for 24 hours with growing pauses,
//! until the receiver has it. Unlike EventBridge, it keeps the order: an event about a subscription waits for the earlier ones.
//!
//! The receiver has an event if it answers with a status of 2xx in time. After 401, 407, 409, 429, 5xx or no answer, the event is
//! posted again. Any other answer refuses it.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use rustls::crypto::ring;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};
use url::Url;

use crate::bus::{Bus, Progress};

/// Number of events that are posted at once.
const AT_ONCE: usize = 8;
/// Time for which an event is posted again.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest pause before an event is posted again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A webhook: the receiver of events, and its time limits.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The URL that events are posted to.
    pub url: Url,
    /// Time limit of the receiver's answer.
    pub timeout: Duration,
    /// Pause before an event is posted for the second time. It doubles with each further time, up to a minute.
    pub first_pause: Duration,
}

impl Webhook {
    /// Creates a webhook at this URL, with the time limit of EventBridge.
    #[must_use]
    pub fn at(url: Url) -> Self {
        Self { url, timeout: Duration::from_secs(5), first_pause: Duration::from_millis(500) }
    }

    /// Returns the origin of the URL. Its other parts may be secret.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Creates the request that posts this event. User and password in the URL become its `Authorization` header.
    fn request(&self, body: String) -> Result<Request<Body>, axum::http::Error> {
        let mut url = self.url.clone();
        url.set_fragment(None);
        let user = url.username().to_owned();
        let password = url.password().map(str::to_owned);
        let mut request = Request::builder().method(Method::POST).header(CONTENT_TYPE, "application/json");
        if !user.is_empty() || password.is_some() {
            let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
            let both = [decoded(&user), b":".to_vec(), decoded(&password.unwrap_or_default())].concat();
            let mut basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(both)))?;
            basic.set_sensitive(true);
            request = request.header(AUTHORIZATION, basic);
            // A URL with a host can always lose its user and password.
            let _ = url.set_username("").and_then(|()| url.set_password(None));
        }
        request.uri(url.as_str()).body(Body::from(body))
    }
}

impl FromStr for Webhook {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        // Without this check, a URL that no request can be sent to would be tried for a day.
        let url = url.filter(|url| Uri::try_from(url.as_str()).is_ok());
        url.map(Self::at).ok_or("write a URL, such as http://127.0.0.1:4000/events")
    }
}

/// An event to be delivered.
#[derive(Clone)]
pub struct Delivery {
    /// The number of the event on the bus.
    pub number: u64,
    /// The subscription id in the event. Events with the same one are delivered one after the other.
    pub about: String,
    /// The event.
    pub body: String,
    /// Time at which the bus accepted the event.
    pub since: Instant,
}

/// Delivers events to a webhook.
pub struct Deliveries {
    webhook: Webhook,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    /// The events that wait, by subscription. For each subscription with events, one task delivers them.
    waiting: Mutex<HashMap<String, VecDeque<Delivery>>>,
    free: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The outcome of one attempt.
enum Answer {
    Taken,
    Refused(StatusCode),
    Later(String),
}

impl Deliveries {
    /// Prepares deliveries to this webhook. They end when `stop` is cancelled.
    ///
    /// # Errors
    /// The certificates that this machine trusts can't be read.
    pub fn new(webhook: Webhook, stop: CancellationToken) -> io::Result<Self> {
        let tls = HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider())?;
        let client = Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().build());
        let (free, tasks) = (Semaphore::new(AT_ONCE), TaskTracker::new());
        Ok(Self { webhook, client, waiting: Mutex::default(), free, tasks, stop })
    }

    /// Adds an event of this bus to the deliveries.
    pub fn deliver(&self, bus: &Arc<Bus>, delivery: Delivery) {
        let about = delivery.about.clone();
        let mut waiting = self.waiting();
        let queue = waiting.entry(about.clone()).or_default();
        queue.push_back(delivery);
        if queue.len() == 1 {
            self.tasks.spawn(deliver_all(Arc::clone(bus), about));
        }
    }

    /// Waits until the posts in progress are answered.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Delivery>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next event to deliver about a subscription.
    fn next(&self, about: &str) -> Option<Delivery> {
        self.waiting().get(about)?.front().cloned()
    }

    /// Removes the event that has been delivered or dropped.
    fn done(&self, about: &str) {
        let mut waiting = self.waiting();
        let queue = waiting.get_mut(about);
        if queue.is_some_and(|queue| queue.pop_front().is_some() && queue.is_empty()) {
            waiting.remove(about);
        }
    }

    /// Posts one event until it is delivered or dropped. Returns false if `stop` was cancelled before.
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
                    warn!(cause, about, seconds = pause.as_secs_f32(), "an event will be posted again");
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

    /// Posts an event once. Redirects are not followed.
    async fn post(&self, body: String) -> Answer {
        let _permit = self.free.acquire().await;
        let request = match self.webhook.request(body) {
            Ok(request) => request,
            Err(error) => return Answer::Later(error.to_string()),
        };
        match timeout(self.webhook.timeout, self.client.request(request)).await {
            Ok(Ok(answer)) => match answer.status() {
                status if status.is_success() => Answer::Taken,
                status if status.is_server_error() || matches!(status.as_u16(), 401 | 407 | 409 | 429) => {
                    Answer::Later(format!("the receiver answered {status}"))
                }
                status => Answer::Refused(status),
            },
            Ok(Err(error)) => {
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(error) = cause {
                    text += &format!(": {error}");
                    cause = error.source();
                }
                Answer::Later(text)
            }
            Err(_) => Answer::Later(format!("no answer within {} s", self.webhook.timeout.as_secs_f32())),
        }
    }
}

/// Delivers the waiting events about one subscription, until there are no more.
async fn deliver_all(bus: Arc<Bus>, about: String) {
    let Some(deliveries) = bus.webhook() else { return };
    while let Some(next) = deliveries.next(&about) {
        if !deliveries.deliver_one(&bus, next).await {
            return;
        }
        deliveries.done(&about);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request<Body> {
        url.parse::<Webhook>().unwrap().request("{}".to_owned()).unwrap()
    }

    #[test]
    fn user_and_password_of_a_url_are_sent_only_as_authorization() {
        let request = request("http://anna:s%40fe:x@127.0.0.1:4000/events?a=1#b");
        assert_eq!(request.uri(), "http://127.0.0.1:4000/events?a=1");
        let authorization = request.headers().get(AUTHORIZATION).unwrap();
        // anna:s@fe:x
        assert_eq!(authorization, "Basic YW5uYTpzQGZlOng=");
        assert!(authorization.is_sensitive());
    }

    #[test]
    fn a_url_without_user_and_password_sends_no_authorization() {
        let request = request("https://example.com");
        assert_eq!(request.uri(), "https://example.com/");
        assert_eq!(request.headers().get(AUTHORIZATION), None);
    }

    #[test]
    fn an_unusable_webhook_url_is_refused() {
        let long = format!("http://127.0.0.1/{}", "a".repeat(70_000));
        for url in ["127.0.0.1:4000", "ftp://127.0.0.1/", "file:///events", &long] {
            assert!(url.parse::<Webhook>().is_err(), "{}", url.get(..30).unwrap_or(url));
        }
    }
}
