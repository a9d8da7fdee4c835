//! The health of receivers, so that one that is slow or does not answer takes little time from the deliveries to others.
//!
//! A receiver that accepted its last event may get any number at once. One that is not known yet, or failed, gets two at once. After
//! three failures in a row it is left in peace for a while, and then gets one event as a test.
//!
//! Lambda waits for the slowest delivery of a batch. So one that took more than a second is followed by nineteen times its length
//! without this receiver: it costs the others at most a twentieth of their time. A batch that is only for this receiver holds up
//! nobody, and is posted.
//!
//! Each instance of the function learns this by itself, and forgets it when it ends. So it costs no request, and a receiver that is
//! well again is found out within two minutes.

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
/// Most events at once for a receiver that is slow: those of one batch.
const BATCH: u32 = 10;
/// The part of its time for which an instance waits for one slow receiver, as its reciprocal.
const PART: i32 = 20;
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
    /// Longest time of an attempt that is not slow.
    quick: TimeDelta,
    /// Told of each attempt that ends.
    changed: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Receiver {
    is_well: bool,
    /// Events that are under way.
    under_way: u32,
    /// Failures in a row. Those that were under way together count as one.
    failures: u32,
    /// The end of the last failure that counts.
    failed_at: Option<Instant>,
    /// Time until which it is left in peace.
    until: Option<DateTime<Utc>>,
    /// Time until which a batch that has events for others too has none for this one, as it is slow.
    slow_until: Option<DateTime<Utc>>,
}

/// The reason why an attempt does not begin now, and the time to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The receiver has failed, and is left in peace.
    Failing(DateTime<Utc>),
    /// The receiver has enough to do, or is slow.
    Busy(DateTime<Utc>),
}

impl Receiver {
    /// Returns the most events that it may get at once. `alone` tells that the batch has no event for another receiver.
    fn most(&self, alone: bool, now: DateTime<Utc>) -> u32 {
        let healthy = match self.until {
            _ if self.is_well => u32::MAX,
            Some(until) if now < until => 0,
            Some(_) => 1,
            None => CAUTIOUS,
        };
        match self.slow_until {
            Some(until) if now < until && alone => healthy.min(BATCH),
            Some(until) if now < until => 0,
            _ => healthy,
        }
    }

    /// Tells why it may not get another event now. `later` is a time soon.
    fn refuses(&self, alone: bool, now: DateTime<Utc>, later: DateTime<Utc>) -> Refused {
        let coming = |until: Option<DateTime<Utc>>| until.filter(|until| *until > now);
        match (coming(self.until), coming(self.slow_until).filter(|_| !alone)) {
            (Some(until), slow) => Refused::Failing(until.max(slow.unwrap_or(until))),
            (None, slow) => Refused::Busy(slow.unwrap_or(later)),
        }
    }
}

/// The turn of one attempt, which counts as under way until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'h> {
    health: &'h Health,
    webhook: WebhookId,
    begun: Instant,
}

impl Turn<'_> {
    /// Ends an attempt that lasted from `now` until `ended`.
    pub(super) fn end(self, response: &Response, now: DateTime<Utc>, ended: DateTime<Utc>) {
        self.health.note(self.webhook, response, self.begun, now, ended - now);
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
    pub(super) fn new(peace: Backoff, quick: TimeDelta) -> Self {
        Self { receivers: Mutex::default(), peace, quick, changed: watch::Sender::default() }
    }

    /// Begins an attempt. Waits a moment if others are under way for a receiver that is not known yet. `alone` tells that the batch
    /// has no event for another receiver.
    ///
    /// # Errors
    /// The receiver gets no event now.
    pub(super) async fn begin(
        &self,
        webhook: WebhookId,
        alone: bool,
        now: DateTime<Utc>,
    ) -> Result<Turn<'_>, Refused> {
        let (mut changed, deadline) = (self.changed.subscribe(), Instant::now() + LONGEST_WAIT);
        loop {
            let is_unknown = self.is_unknown(webhook);
            match self.try_begin(webhook, alone, now) {
                Ok(turn) => return Ok(turn),
                Err(_) if is_unknown && timeout_at(deadline, changed.changed()).await.is_ok() => {}
                Err(refused) => return Err(refused),
            }
        }
    }

    fn is_unknown(&self, webhook: WebhookId) -> bool {
        self.receivers().get(&webhook).is_none_or(|receiver| !receiver.is_well && receiver.failures == 0)
    }

    /// Begins an attempt if it may begin now.
    fn try_begin(&self, webhook: WebhookId, alone: bool, now: DateTime<Utc>) -> Result<Turn<'_>, Refused> {
        let mut receivers = self.receivers();
        let receiver = receivers.entry(webhook).or_default();
        if receiver.under_way >= receiver.most(alone, now) {
            return Err(receiver.refuses(alone, now, now + self.peace.first));
        }
        receiver.under_way += 1;
        Ok(self.turn(webhook))
    }

    /// Begins an attempt, whatever the health of the receiver.
    pub(super) fn begin_anyway(&self, webhook: WebhookId) -> Turn<'_> {
        self.receivers().entry(webhook).or_default().under_way += 1;
        self.turn(webhook)
    }

    fn turn(&self, webhook: WebhookId) -> Turn<'_> {
        Turn { health: self, webhook, begun: Instant::now() }
    }

    /// Notes the response to an attempt that began at this time, and took this long.
    fn note(
        &self,
        webhook: WebhookId,
        response: &Response,
        begun: Instant,
        now: DateTime<Utc>,
        took: TimeDelta,
    ) {
        let has_failed = match response {
            Response::Status { status, .. } => matches!(status, 429 | 500..),
            Response::Nothing => true,
        };
        let slow_until = (took > self.quick).then(|| now + took * PART);
        let mut receivers = self.receivers();
        let receiver = receivers.entry(webhook).or_default();
        let under_way = receiver.under_way;
        *receiver = if has_failed {
            let counts = receiver.failed_at.is_none_or(|last| last <= begun);
            let failures = receiver.failures.saturating_add(u32::from(counts));
            let failed_at = if counts { Some(Instant::now()) } else { receiver.failed_at };
            let peace = failures.checked_sub(FAILURES).map(|more| self.peace.pause(more, 0));
            let asked = response.retry_after().map(|asked| asked.min(LONGEST_ASKED));
            let until = peace.max(asked).map(|peace| now + peace).max(receiver.until);
            let slow_until = slow_until.max(receiver.slow_until);
            Receiver { is_well: false, under_way, failures, failed_at, until, slow_until }
        } else {
            Receiver { is_well: true, under_way, failures: 0, failed_at: None, until: None, slow_until }
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
        let peace = Backoff { first: TimeDelta::seconds(5), longest: TimeDelta::minutes(1) };
        Health::new(peace, TimeDelta::seconds(1))
    }

    fn status(status: u16, retry_after: Option<i64>) -> Response {
        Response::Status { status, retry_after: retry_after.map(TimeDelta::seconds) }
    }

    /// Returns the health after these responses, one after the other.
    fn after(responses: &[Response]) -> Health {
        let health = health();
        for response in responses {
            health.begin_anyway(webhook()).end(response, now(), now());
        }
        health
    }

    /// Returns the seconds for which a receiver is left in peace after these responses.
    fn peace(responses: &[Response]) -> i64 {
        let health = after(responses);
        let until = health.receivers()[&webhook()].until.unwrap_or(now());
        (until - now()).num_seconds()
    }

    /// Returns the number of attempts that can begin at once, together with those for other receivers.
    fn at_once(health: &Health, at: DateTime<Utc>) -> usize {
        begun(health, false, at)
    }

    fn begun(health: &Health, alone: bool, at: DateTime<Utc>) -> usize {
        let turns: Vec<_> = (0..12).map_while(|_| health.try_begin(webhook(), alone, at).ok()).collect();
        turns.len()
    }

    /// Returns the health after a response that took this many milliseconds.
    fn after_milliseconds(milliseconds: i64, response: Response) -> Health {
        let health = health();
        let ended = now() + TimeDelta::milliseconds(milliseconds);
        health.begin_anyway(webhook()).end(&response, now(), ended);
        health
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
            assert_eq!(at_once(&after(&responses), now()), 12, "{well}");
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

    #[test]
    fn failures_that_were_under_way_together_count_as_one() {
        let health = health();
        let together: Vec<_> = (0..10).map(|_| health.begin_anyway(webhook())).collect();
        for turn in together {
            turn.end(&Response::Nothing, now(), now());
        }
        assert_eq!(health.receivers()[&webhook()].failures, 1);
    }

    #[test]
    fn a_slow_receiver_takes_a_twentieth_of_the_time_from_others_and_a_batch_that_is_only_for_it() {
        let (quick, slow) = (1000, 4000);
        assert_eq!(at_once(&after_milliseconds(quick, status(204, None)), now()), 12);
        let health = after_milliseconds(slow, status(204, None));
        let after = |seconds| now() + TimeDelta::seconds(seconds);
        for (seconds, together, alone) in [(4, 0, 10), (79, 0, 10), (80, 12, 12)] {
            assert_eq!(begun(&health, false, after(seconds)), together, "{seconds}");
            assert_eq!(begun(&health, true, after(seconds)), alone, "{seconds}");
        }
        let refused = health.try_begin(webhook(), false, after(4)).unwrap_err();
        assert_eq!(refused, Refused::Busy(after(80)));

        let failed = after_milliseconds(slow, Response::Nothing);
        assert_eq!((begun(&failed, false, after(79)), begun(&failed, true, after(79))), (0, 2));
        assert_eq!(begun(&failed, false, after(80)), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_in_peace_refuses_as_failing_and_any_other_as_busy() {
        let after_peace = now() + TimeDelta::seconds(5);
        let refused = |health: &Health| health.try_begin(webhook(), true, now()).unwrap_err();
        assert_eq!(refused(&after(&vec![Response::Nothing; 3])), Refused::Failing(after_peace));
        let health = after(&[Response::Nothing]);
        let _turns = [health.begin_anyway(webhook()), health.begin_anyway(webhook())];
        assert_eq!(refused(&health), Refused::Busy(after_peace));
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_attempt_waits_a_moment_for_the_answer_to_another() {
        let health = health();
        let begin = || health.begin(webhook(), false, now());
        let first = begin().await.unwrap();
        let _second = begin().await.unwrap();
        // Nobody answers.
        assert_eq!(begin().await.unwrap_err(), Refused::Busy(now() + TimeDelta::seconds(5)));
        // Somebody answers meanwhile.
        let (begun, ()) = tokio::join!(begin(), async {
            tokio::task::yield_now().await;
            first.end(&status(204, None), now(), now());
        });
        assert!(begun.is_ok());
    }
}
