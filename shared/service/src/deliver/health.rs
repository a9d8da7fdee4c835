//! The health of receivers, so that one that does not answer takes little time from the deliveries to others.
//!
//! A receiver that accepted its last event may get any number at once. One that is not known yet, or failed, gets two at once. After
//! three failures in a row it is left in peace for a while, and then gets one event as a test.
//!
//! Each instance of the function learns this by itself, and forgets it when it ends. So it costs no request, and a receiver that is
//! well again is found out within a minute.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::identifiers::WebhookId;
use domain::webhook::{Backoff, Response};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Number of failures in a row after which a receiver is left in peace.
const FAILURES: u32 = 3;
/// Most events at once for a receiver that is not known to be well.
const CAUTIOUS: u32 = 2;
/// Longest time that a receiver can ask for all of its events. Each delivery keeps the time that was asked for itself.
const LONGEST_ASKED: TimeDelta = TimeDelta::minutes(15);
/// Longest wait for the answer to another event, which may show that the receiver is well.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// The receivers that were tried.
#[derive(Debug)]
pub(super) struct Health {
    receivers: Mutex<HashMap<WebhookId, Receiver>>,
    /// The times for which a receiver is left in peace, unless it asks for more.
    peace: Backoff,
    /// Told of each attempt that ends.
    changed: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Receiver {
    is_well: bool,
    /// Events that are under way.
    under_way: u32,
    /// Failures in a row.
    failures: u32,
    /// Time until which it is left in peace.
    until: Option<DateTime<Utc>>,
}

impl Receiver {
    /// Returns the most events that it may get at once.
    fn most(&self, now: DateTime<Utc>) -> u32 {
        match self.until {
            _ if self.is_well => u32::MAX,
            Some(until) if now < until => 0,
            Some(_) => 1,
            None => CAUTIOUS,
        }
    }
}

/// The turn of one attempt, which counts as under way until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'h> {
    health: &'h Health,
    webhook: WebhookId,
}

impl Turn<'_> {
    /// Ends an attempt that began at this time.
    pub(super) fn end(self, response: &Response, now: DateTime<Utc>) {
        self.health.note(self.webhook, response, now);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut receivers = self.health.receivers();
        let receiver = receivers.entry(self.webhook).or_default();
        receiver.under_way = receiver.under_way.saturating_sub(1);
        self.health.changed.send_replace(());
    }
}

impl Health {
    pub(super) fn new(peace: Backoff) -> Self {
        Self { receivers: Mutex::default(), peace, changed: watch::Sender::default() }
    }

    /// Begins an attempt. Waits a moment if others are under way for a receiver that is not known yet.
    ///
    /// # Errors
    /// The receiver is to be left in peace until this time.
    pub(super) async fn begin(
        &self,
        webhook: WebhookId,
        now: DateTime<Utc>,
    ) -> Result<Turn<'_>, DateTime<Utc>> {
        let (mut changed, deadline) = (self.changed.subscribe(), Instant::now() + LONGEST_WAIT);
        loop {
            match self.try_begin(webhook, now) {
                Err(until) if until > now => return Err(until),
                Err(_) if self.has_failed(webhook) => return Err(now + self.peace.first),
                Err(_) if timeout_at(deadline, changed.changed()).await.is_err() => {
                    return Err(now + self.peace.first);
                }
                Err(_) => {}
                Ok(turn) => return Ok(turn),
            }
        }
    }

    fn has_failed(&self, webhook: WebhookId) -> bool {
        self.receivers().get(&webhook).is_some_and(|receiver| receiver.failures > 0)
    }

    /// Begins an attempt if it may begin now. Returns the time until which the receiver is left in peace, which may be past.
    fn try_begin(&self, webhook: WebhookId, now: DateTime<Utc>) -> Result<Turn<'_>, DateTime<Utc>> {
        let mut receivers = self.receivers();
        let receiver = receivers.entry(webhook).or_default();
        if receiver.under_way >= receiver.most(now) {
            return Err(receiver.until.unwrap_or(now));
        }
        receiver.under_way += 1;
        Ok(Turn { health: self, webhook })
    }

    /// Begins an attempt, whatever the health of the receiver.
    pub(super) fn begin_anyway(&self, webhook: WebhookId) -> Turn<'_> {
        self.receivers().entry(webhook).or_default().under_way += 1;
        Turn { health: self, webhook }
    }

    /// Notes the response to an attempt that began at this time.
    fn note(&self, webhook: WebhookId, response: &Response, now: DateTime<Utc>) {
        let has_failed = match response {
            Response::Status { status, .. } => matches!(status, 429 | 500..),
            Response::Nothing => true,
        };
        let mut receivers = self.receivers();
        let receiver = receivers.entry(webhook).or_default();
        let under_way = receiver.under_way;
        *receiver = if has_failed {
            let failures = receiver.failures.saturating_add(1);
            let peace = failures.checked_sub(FAILURES).map(|more| self.peace.pause(more, 0));
            let asked = response.retry_after().map(|asked| asked.min(LONGEST_ASKED));
            let until = peace.max(asked).map(|peace| now + peace).max(receiver.until);
            Receiver { is_well: false, under_way, failures, until }
        } else {
            Receiver { is_well: true, under_way, failures: 0, until: None }
        };
    }

    fn receivers(&self) -> MutexGuard<'_, HashMap<WebhookId, Receiver>> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-01-31T22:00:00Z".parse().unwrap()
    }

    fn webhook() -> WebhookId {
        Uuid::nil().into()
    }

    fn health() -> Health {
        Health::new(Backoff { first: TimeDelta::seconds(5), longest: TimeDelta::minutes(1) })
    }

    fn status(status: u16, retry_after: Option<i64>) -> Response {
        Response::Status { status, retry_after: retry_after.map(TimeDelta::seconds) }
    }

    /// Returns the health after these responses, one after the other.
    fn after(responses: &[Response]) -> Health {
        let health = health();
        for response in responses {
            health.begin_anyway(webhook()).end(response, now());
        }
        health
    }

    /// Returns the seconds for which a receiver is left in peace after these responses.
    fn peace(responses: &[Response]) -> i64 {
        let health = after(responses);
        let until = health.receivers()[&webhook()].until.unwrap_or(now());
        (until - now()).num_seconds()
    }

    /// Returns the number of attempts that can begin at once.
    fn at_once(health: &Health, at: DateTime<Utc>) -> usize {
        let turns: Vec<_> = (0..10).map_while(|_| health.try_begin(webhook(), at).ok()).collect();
        turns.len()
    }

    #[test]
    fn a_receiver_that_fails_three_times_in_a_row_is_left_in_peace_for_longer_and_longer() {
        let times: Vec<_> = (1..10).map(|failures| peace(&vec![Response::Nothing; failures])).collect();
        assert_eq!(times, [0, 0, 5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(peace(&[status(500, None), Response::Nothing, status(429, None)]), 5);
    }

    #[test]
    fn a_receiver_that_answers_is_well_and_may_get_any_number_at_once() {
        for well in [204, 302, 400, 404, 410] {
            let mut responses = vec![Response::Nothing; 5];
            responses.push(status(well, None));
            assert_eq!(peace(&responses), 0, "{well}");
            assert_eq!(at_once(&after(&responses), now()), 10, "{well}");
        }
    }

    #[test]
    fn a_receiver_that_is_unknown_or_failed_gets_two_at_once_and_after_its_peace_one() {
        assert_eq!(at_once(&health(), now()), 2);
        assert_eq!(at_once(&after(&[status(204, None), Response::Nothing]), now()), 2);
        let ill = after(&vec![Response::Nothing; 3]);
        assert_eq!(at_once(&ill, now() + TimeDelta::milliseconds(4999)), 0);
        assert_eq!(at_once(&ill, now() + TimeDelta::seconds(5)), 1);
    }

    #[test]
    fn a_receiver_is_left_in_peace_for_as_long_as_it_asks() {
        assert_eq!(peace(&[status(503, Some(600))]), 600);
        assert_eq!(peace(&[status(503, Some(86_400))]), 900);
        // Only these two statuses can ask.
        assert_eq!(peace(&[status(500, Some(600))]), 0);
        // A later failure does not shorten it.
        assert_eq!(peace(&[status(429, Some(600)), Response::Nothing, Response::Nothing]), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_attempt_waits_a_moment_for_the_answer_to_another() {
        let health = health();
        let first = health.begin(webhook(), now()).await.unwrap();
        let _second = health.begin(webhook(), now()).await.unwrap();
        // Nobody answers.
        assert_eq!(health.begin(webhook(), now()).await.unwrap_err(), now() + TimeDelta::seconds(5));
        // Somebody answers meanwhile.
        let (begun, ()) = tokio::join!(health.begin(webhook(), now()), async {
            tokio::task::yield_now().await;
            first.end(&status(204, None), now());
        });
        assert!(begun.is_ok());
    }
}
