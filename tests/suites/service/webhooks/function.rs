//! `deliver-webhooks`: the messages of the queue, and a database or a queue that refuses or fails.

use std::slice::from_ref;

use chrono::TimeDelta;
use domain::webhook::{Backoff, Disabled, DisabledBy, FormerSecret, LIFETIME, Outcome, Webhook};
use harness::receiver::{Answer, Receiver};
use harness::{Fault, instant, webhook};
use serde_json::{Value, json};
use service::ids;
use uuid::Uuid;

use super::{Function, Limits, NOW, TYPE, demo, event, event_of, limits, webhooks_of};
use crate::faults::{TIMES, Times, all};

#[tokio::test]
async fn an_event_becomes_a_delivery_for_each_webhook_of_its_tenant_that_takes_its_type() {
    let function = Function::start().await;
    let all = function.webhook("http://127.0.0.1:9/all").await;
    let only = |kind: &str| Webhook { events: vec![kind.to_owned()], ..webhook("http://127.0.0.1:9/") };
    let updated = function.add(&demo(), only(TYPE)).await;
    function.add(&demo(), only("subscription.cancelled")).await;
    function.add(&"other".parse().unwrap(), webhook("http://127.0.0.1:9/")).await;

    let event_id = Uuid::new_v4();
    assert_eq!(function.give(&[event(event_id, TYPE)]).await, [0_usize; 0]);
    let sent = function.take_sent();
    let mut expected = [all.id, updated.id];
    expected.sort();
    assert_eq!(webhooks_of(&sent), expected);
    for sent in &sent {
        assert_eq!((sent.delivery.event_id, sent.delay), (event_id, 0));
        assert_eq!(sent.group, sent.delivery.webhook_id.to_string());
    }
    // A tenant without webhooks costs one read, and nothing is kept.
    function.database.forget();
    assert_eq!(function.give(&[event_of("third", Uuid::new_v4(), TYPE)]).await, [0_usize; 0]);
    assert_eq!(function.database.seen(), ["Query"]);
    assert!(function.take_sent().is_empty());
}

#[tokio::test]
async fn an_accepted_event_is_posted_as_the_bus_has_it_and_its_attempt_is_kept() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    let webhook = function.webhook(&receiver.url).await;
    let event_id = Uuid::new_v4();
    assert!(function.post(event_id).await.is_empty());
    assert_eq!(receiver.taken(1).await, [event(event_id, TYPE)["detail"].clone()]);
    let attempts = function.attempts(event_id).await;
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!((attempt.webhook_id, attempt.number, attempt.status), (webhook.id, 1, Some(204)));
    assert_eq!((attempt.outcome, attempt.at), (Outcome::Delivered, instant(NOW)));
}

#[tokio::test]
async fn a_failed_delivery_is_attempted_again_with_growing_pauses_and_given_up_after_a_day() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    receiver.always(Answer::Status(500));
    function.webhook(&receiver.url).await;
    let event_id = Uuid::new_v4();
    let begun = function.now();
    let mut sent = function.post(event_id).await;
    let mut pauses = Vec::new();
    while let [next] = &sent[..] {
        let pause = (next.delivery.not_before.unwrap() - function.now()).num_seconds();
        // The queue delays for 15 minutes at most.
        assert!(next.delay.abs_diff(pause.unsigned_abs().min(900)) <= 1, "{pause} {}", next.delay);
        pauses.push(pause);
        function.clock.set(next.delivery.not_before.unwrap());
        assert_eq!(function.give(from_ref(&next.body)).await, [0_usize; 0]);
        sent = function.take_sent();
    }
    assert_eq!(function.now(), begun + LIFETIME);
    for (number, pause) in pauses.iter().rev().skip(1).rev().enumerate() {
        let whole = (10_i64 << number.min(20)).min(3600);
        assert!((whole / 2 - 1..=whole).contains(pause), "{pauses:?}");
    }
    let attempts = function.attempts(event_id).await;
    assert_eq!(attempts.len(), pauses.len() + 1);
    let (last, before) = attempts.split_last().unwrap();
    assert!(before.iter().all(|attempt| attempt.outcome == Outcome::Retrying && attempt.next_at.is_some()));
    assert_eq!((last.outcome, last.next_at, last.status), (Outcome::GivenUp, None, Some(500)));
    assert!(attempts.iter().zip(1..).all(|(attempt, number)| attempt.number == number), "{attempts:?}");
}

#[tokio::test]
async fn a_delivery_that_comes_before_its_pause_is_over_waits_on() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    receiver.next([Answer::Later(503, 7200)]);
    function.webhook(&receiver.url).await;
    let event_id = Uuid::new_v4();
    let [first] = &function.post(event_id).await[..] else { panic!("no second attempt") };
    // The receiver asked for two hours, and gets them.
    assert_eq!((first.delivery.not_before, first.delay), (Some(function.now() + TimeDelta::hours(2)), 900));
    function.advance(TimeDelta::minutes(15));
    assert_eq!(function.give(from_ref(&first.body)).await, [0_usize; 0]);
    let [second] = &function.take_sent()[..] else { panic!("lost") };
    assert_eq!((&second.delivery, second.delay), (&first.delivery, 900));
    function.advance(TimeDelta::minutes(104));
    assert_eq!(function.give(from_ref(&second.body)).await, [0_usize; 0]);
    let [third] = &function.take_sent()[..] else { panic!("lost") };
    assert_eq!(third.delay, 60);
    assert_eq!(receiver.posted_at_all(1).await.len(), 1);
    function.advance(TimeDelta::minutes(1));
    assert_eq!(function.give(from_ref(&third.body)).await, [0_usize; 0]);
    assert_eq!(receiver.taken(1).await.len(), 1);
}

#[tokio::test]
async fn retry_after_counts_only_for_429_and_503() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    function.webhook(&receiver.url).await;
    for (status, expected) in [(429, 600..=600), (503, 600..=600), (500, 4..=10), (404, 4..=10)] {
        receiver.next([Answer::Later(status, 600)]);
        let [next] = &function.post(Uuid::new_v4()).await[..] else { panic!("{status}: no second attempt") };
        let pause = (next.delivery.not_before.unwrap() - function.now()).num_seconds();
        assert!(expected.contains(&pause), "{status}: {pause}");
        function.advance(TimeDelta::hours(1));
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_has_its_webhook_disabled_and_later_events_can_be_sent_again() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    receiver.next([Answer::Status(410)]);
    let webhook = function.webhook(&receiver.url).await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    // Both deliveries have begun when the receiver goes.
    assert_eq!(function.give(&[event(first, TYPE), event(second, TYPE)]).await, [0_usize; 0]);
    for sent in function.take_sent() {
        assert_eq!(function.give(&[sent.body]).await, [0_usize; 0]);
    }
    assert!(function.take_sent().is_empty());
    let disabled = function.service.store().webhook(&demo(), webhook.id).await.unwrap().unwrap().disabled;
    assert_eq!(disabled, Some(Disabled { by: DisabledBy::Gone, at: function.now() }));
    // An event that comes later is kept, too.
    let third = Uuid::new_v4();
    assert!(function.post(third).await.is_empty());
    let mut outcomes = Vec::new();
    for event_id in [first, second, third] {
        outcomes.extend(function.attempts(event_id).await.iter().map(|attempt| attempt.outcome));
    }
    outcomes.sort_by_key(|outcome| outcome.as_str());
    assert_eq!(outcomes, [Outcome::Disabled, Outcome::Disabled, Outcome::Gone]);
    assert_eq!(receiver.posted_at_all(1).await.len(), 1);
}

#[tokio::test]
async fn both_secrets_sign_during_a_rotation() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    let former = function.webhook(&receiver.url).await;
    let secret = ids::webhook_secret().unwrap();
    let until = FormerSecret { secret: former.secret.clone(), until: function.now() + TimeDelta::hours(1) };
    let rotated = function.service.admin().rotate_webhook_secret(&demo(), former.id, &until, &secret).await;
    assert!(rotated.unwrap());
    // The receiver compares timestamps with the system's clock, so the signature is read from the stored webhook here.
    let stored = function.service.store().webhook(&demo(), former.id).await.unwrap().unwrap();
    let signing = |now| stored.secrets(now).map(|secret| secret.reveal()).collect::<Vec<_>>();
    assert_eq!(signing(function.now()), [secret.reveal(), former.secret.reveal()]);
    assert_eq!(signing(function.now() + TimeDelta::hours(1)), [secret.reveal()]);
    // A rotation that began with another secret changes nothing.
    let again = function.service.admin().rotate_webhook_secret(&demo(), former.id, &until, &secret).await;
    assert!(!again.unwrap());
}

#[tokio::test]
async fn a_delivery_whose_webhook_or_event_is_removed_ends_without_a_post() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    let webhook = function.webhook(&receiver.url).await;
    assert_eq!(function.give(&[event(Uuid::new_v4(), TYPE)]).await, [0_usize; 0]);
    let [begun] = &function.take_sent()[..] else { panic!("no delivery") };
    let mut erased = begun.body.clone();
    erased["eventId"] = json!(Uuid::new_v4());
    assert_eq!(function.give(&[erased]).await, [0_usize; 0]);
    assert!(function.service.admin().remove_webhook(&demo(), webhook.id).await.unwrap());
    assert_eq!(function.give(from_ref(&begun.body)).await, [0_usize; 0]);
    assert!(function.take_sent().is_empty() && function.attempts(begun.delivery.event_id).await.is_empty());
}

#[tokio::test]
async fn a_malformed_message_is_given_again_and_delays_no_other() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    function.webhook(&receiver.url).await;
    let mut without_tenant = event(Uuid::new_v4(), TYPE);
    without_tenant["resources"] = json!(["subscription/1"]);
    let mut without_id = event(Uuid::new_v4(), TYPE);
    without_id["detail"].as_object_mut().unwrap().remove("eventId");
    let good = event(Uuid::new_v4(), TYPE);
    let malformed = [json!("x"), json!({}), without_tenant, without_id];
    assert_eq!(function.give(&[&malformed[..], &[good]].concat()).await, [0, 1, 2, 3]);
    assert_eq!(function.take_sent().len(), 1);
}

/// Whatever the database or the queue does, an event is not lost: the receiver has it, or the message is given again, or the delivery
/// is in the queue.
#[tokio::test]
async fn no_fault_of_the_database_or_the_queue_loses_an_event() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    function.webhook(&receiver.url).await;
    for (stage, operation) in [
        (Stage::Event, "Query"),
        (Stage::Event, "PutItem"),
        (Stage::Event, "SendMessageBatch"),
        (Stage::Delivery, "GetItem"),
        (Stage::Delivery, "SendMessageBatch"),
        (Stage::Delivery, "PutItem"),
    ] {
        for (name, fault, _) in all() {
            for times in TIMES {
                let event_id = Uuid::new_v4();
                let fails = || function.fail(operation, &fault, times);
                deliver_at_last(&function, &receiver, stage, event_id, fails).await;
                let posted = receiver.posted_at_all(0).await;
                let mut of_it = posted.iter().filter(|(event, _)| event["eventId"] == json!(event_id));
                let is_accepted = of_it.any(|(_, answer)| *answer == Answer::Status(204));
                assert!(is_accepted, "{stage:?}, {operation}, {name}, {times:?}: lost");
            }
        }
    }
}

/// The message that meets a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Event,
    Delivery,
}

impl Function {
    fn fail(&self, operation: &str, fault: &Fault, times: Times) {
        let wire = if operation == "SendMessageBatch" { &self.queue } else { &self.database };
        match times {
            Times::Once => wire.next(operation, [fault.clone()]),
            Times::Always => wire.always(operation, fault.clone()),
        }
    }

    fn recover(&self) {
        self.database.clear_faults();
        self.queue.clear_faults();
    }
}

/// Gives an event to the function, and its deliveries, the first of which is not accepted. The message of this stage meets a fault,
/// and is given again as a queue would when the fault has passed.
async fn deliver_at_last(
    function: &Function,
    receiver: &Receiver,
    stage: Stage,
    event_id: Uuid,
    fails: impl Fn(),
) {
    let mut waiting = vec![event(event_id, TYPE)];
    for round in 0.. {
        if round == usize::from(stage == Stage::Delivery) {
            fails();
        }
        if round == 1 {
            receiver.next([Answer::Status(500)]);
        }
        let again = function.give(&waiting).await;
        function.recover();
        let mut next: Vec<Value> = again.into_iter().map(|number| waiting[number].clone()).collect();
        // A message that SQS has taken although its sender does not know is in the queue, too.
        next.extend(function.take_sent().into_iter().map(|sent| sent.body));
        if next.is_empty() {
            return;
        }
        assert!(round < 9, "{waiting:?}");
        function.advance(TimeDelta::minutes(1));
        waiting = next;
    }
}

/// Only the last attempt says that the receiver does not have the event.
#[tokio::test]
async fn a_last_attempt_that_cannot_be_kept_is_made_again() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    receiver.always(Answer::Status(500));
    function.webhook(&receiver.url).await;
    let event_id = Uuid::new_v4();
    let [next] = &function.post(event_id).await[..] else { panic!("no second attempt") };
    function.advance(LIFETIME);
    function.database.always("PutItem", Fault::status(503));
    assert_eq!(function.give(from_ref(&next.body)).await, [0]);
    function.database.clear_faults();
    assert_eq!(function.give(from_ref(&next.body)).await, [0_usize; 0]);
    let outcomes: Vec<_> = function.attempts(event_id).await.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Outcome::Retrying, Outcome::GivenUp]);
}

#[tokio::test]
async fn a_receiver_in_peace_has_an_hour_more_for_the_last_attempt() {
    let peace = Backoff { first: TimeDelta::hours(48), longest: TimeDelta::hours(48) };
    let function = Function::start_with(Limits { peace, ..limits() }).await;
    let receiver = Receiver::start();
    receiver.always(Answer::Status(500));
    function.webhook(&receiver.url).await;
    let mut last = Vec::new();
    for _ in 0..4 {
        last = function.post(Uuid::new_v4()).await;
    }
    let [waiting] = &last[..] else { panic!("not in peace") };
    let event_id = waiting.delivery.event_id;
    function.advance(LIFETIME);
    assert_eq!(function.give(from_ref(&waiting.body)).await, [0_usize; 0]);
    let [again] = &function.take_sent()[..] else { panic!("not in peace") };
    function.clock.set(again.delivery.not_before.unwrap());
    assert_eq!(function.give(from_ref(&again.body)).await, [0_usize; 0]);
    assert!(function.take_sent().is_empty());
    // It was never posted, and says so.
    let attempts = function.attempts(event_id).await;
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!((attempt.outcome, attempt.number), (Outcome::GivenUp, 0));
    assert_eq!(receiver.posted_at_all(3).await.len(), 3);
}

#[tokio::test]
async fn a_receiver_that_fails_again_and_again_is_left_in_peace() {
    let function = Function::start_with(Limits { peace: Limits::default().peace, ..limits() }).await;
    let receiver = Receiver::start();
    receiver.always(Answer::Status(500));
    let ill = function.webhook(&receiver.url).await;
    let other = Receiver::start();
    function.webhook(&other.url).await;
    for _ in 0..5 {
        function.post(Uuid::new_v4()).await;
    }
    // After three failures, the deliveries go back into the queue without a post. The other receiver gets all.
    assert_eq!(receiver.posted_at_all(3).await.len(), 3);
    assert_eq!(other.taken(5).await.len(), 5);
    // The receiver is well again, and is asked after the pause.
    receiver.always(Answer::Status(204));
    function.advance(TimeDelta::seconds(6));
    function.post(Uuid::new_v4()).await;
    assert_eq!(receiver.taken(1).await.len(), 1);
    let since = instant(NOW);
    let page = function.service.admin().attempts(&demo(), ill.id, since, None, 100).await.unwrap();
    assert_eq!(page.found.len(), 4);
}

#[tokio::test]
async fn a_slow_receiver_waits_while_others_have_events() {
    let function = Function::start().await;
    let (receiver, other) = (Receiver::start(), Receiver::start());
    receiver.next([Answer::Never]);
    let slow = function.webhook(&receiver.url).await;
    function.post_slowly(&receiver, 1).await;
    function.webhook(&other.url).await;
    // Together with an event for another receiver, its event goes back. That is not a failure.
    let [waiting] = &function.post(Uuid::new_v4()).await[..] else { panic!("not slow") };
    assert_eq!((waiting.delivery.webhook_id, waiting.delivery.pauses), (slow.id, 0));
    assert!((10..60).contains(&waiting.delay), "{}", waiting.delay);
    assert_eq!(other.taken(1).await.len(), 1);
    assert_eq!(receiver.posted_at_all(1).await.len(), 1);
    // Alone, it is posted.
    let event_id = Uuid::new_v4();
    assert_eq!(function.give(&[event(event_id, TYPE)]).await, [0_usize; 0]);
    let begun = function.take_sent().into_iter().find(|sent| sent.delivery.webhook_id == slow.id);
    assert_eq!(function.give(&[begun.unwrap().body]).await, [0_usize; 0]);
    assert_eq!(receiver.taken(1).await.len(), 1);
}

/// At the end of its day, an event is posted to a receiver that is only slow, whoever else waits.
#[tokio::test]
async fn the_last_attempt_for_a_slow_receiver_does_not_wait_for_others() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    function.webhook(&receiver.url).await;
    receiver.next([Answer::Status(500), Answer::Never]);
    let [last] = &function.post(Uuid::new_v4()).await[..] else { panic!("no second attempt") };
    function.advance(LIFETIME);
    function.post_slowly(&receiver, 2).await;
    let next = event(Uuid::new_v4(), TYPE);
    assert_eq!(function.give(&[last.body.clone(), next]).await, [0_usize; 0]);
    assert_eq!(receiver.taken(1).await.len(), 1);
}

#[tokio::test]
async fn an_event_that_is_too_large_to_keep_is_given_again_and_so_reaches_the_queue_of_failures() {
    let function = Function::start().await;
    let receiver = Receiver::start();
    function.webhook(&receiver.url).await;
    function.database.always("PutItem", Fault::refusal("ValidationException"));
    assert_eq!(function.give(&[event(Uuid::new_v4(), TYPE)]).await, [0]);
    assert!(function.take_sent().is_empty());
}
