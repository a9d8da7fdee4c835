//! `POST /subscriptions/{subscriptionId}/cancel` schedules the cancellation of a subscription; `DELETE` withdraws it.
//!
//! Authenticate and load in one round trip, decide without any, commit in one more. With an
//! idempotency key, the answer is recorded in the transaction that has the effect, so a repeated
//! request finds either nothing or all of it. Two requests that meet are told apart by the database:
//! one commits, the other learns from the refusal what has changed, and decides again. So does a withdrawal that
//! meets the execution: one of the two is done, and the answer says which.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lambda_http::http::Method;
use lambda_http::{Body, Request, Response};
use metrics::counter;
use subscriptions::api_key::Scope;
use subscriptions::calendar::Calendar;
use subscriptions::cancellation::{
    Asking, CancelRequest, Decision, StoredSubscription, decide_cancel, decide_withdrawal,
};
use subscriptions::http::problem::Problem;
use subscriptions::http::request;
use subscriptions::http::response::{self, Answered};
use subscriptions::idempotency::{Fingerprint, IdempotencyKey, Record, Verdict};
use subscriptions::identifiers::{CancellationId, TenantId};
use subscriptions::service::Service;
use subscriptions::store::commit::{Committed, NewRecord};
use subscriptions::store::{Store, StoreError};
use subscriptions::telemetry::{CANCELLATIONS_SCHEDULED, CANCELLATIONS_WITHDRAWN, REASON};
use tokio::time::Instant;

/// How often a request that meets others commits again, and for how long. With that, the four operations
/// of the store that it can come to (load, follow, and two commits) end before API Gateway gives up at 30
/// seconds, even if each takes all of its 6.
const MOST_ATTEMPTS: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(4);

/// Answers a request.
pub async fn handle(service: &Service, request: Request) -> Response<Body> {
    response::respond(&request, answer(service, &request)).await
}

/// What is asked for.
enum Asked {
    Cancel(CancelRequest),
    Withdraw,
}

async fn answer(service: &Service, request: &Request) -> Result<Answered, Problem> {
    let now = service.clock.now();
    let token = request::token(request)?;
    response::log_caller(&token);
    let name = request::subscription_name(request);
    response::log_name(name.as_ref().ok());
    let key = request::idempotency_key(request);

    let known_key = key.as_ref().ok().and_then(Option::as_ref);
    let withdraws = request.method() == Method::DELETE;
    let sealed = service.store.load(&token, name.as_ref().ok(), known_key, !withdraws).await?;
    let loaded = sealed.open(Scope::Cancel, now)?;

    // Who asks comes first; then whether it was asked before; only then what is asked.
    let request_id = response::request_id(request);
    let once = key?.map(|key| Once { key, fingerprint: request::fingerprint(request), request_id, now });
    if let (Some(once), Some(record)) = (&once, &loaded.record)
        && let Some(answered) = once.answer_from(record)
    {
        return answered;
    }
    let name = name?;
    let asked = if withdraws {
        Asked::Withdraw
    } else {
        let tenant = loaded.tenant.ok_or(Problem::ApiKeyInvalid)?;
        let calendar = Calendar::new(tenant.time_zone, now);
        Asked::Cancel(CancelRequest::from_json(request::json_body(request)?, &calendar)?)
    };
    let stored = service.store.follow(token.tenant(), loaded.found).await?;
    if let Some(stored) = &stored {
        response::log_found(&name, stored);
    }

    let asking =
        Asking { cancellation_id: CancellationId::random(), requested_by: token.key_id().clone(), now };
    let decide = |stored| match &asked {
        Asked::Cancel(body) => decide_cancel(stored, body, &asking),
        Asked::Withdraw => decide_withdrawal(stored, &asking),
    };
    settle(&service.store, token.tenant(), once.as_ref(), request_id, stored, decide).await
}

/// The idempotency of a request that has a key for it.
struct Once<'r> {
    key: IdempotencyKey,
    fingerprint: Fingerprint,
    request_id: &'r str,
    now: DateTime<Utc>,
}

impl Once<'_> {
    /// The answer that a record of the key gives to this request; none if the record has expired.
    fn answer_from(&self, record: &Record) -> Option<Result<Answered, Problem>> {
        match record.verdict(self.fingerprint, self.now) {
            Verdict::Expired => None,
            Verdict::Replay(answer) => Some(Ok(Answered::replay(answer))),
            Verdict::Mismatch => Some(Err(Problem::IdempotencyKeyMismatch)),
        }
    }

    /// Whether a record is the one that this request wrote.
    fn wrote(&self, record: &Record) -> bool {
        record.request_id == self.request_id && record.fingerprint == self.fingerprint
    }

    fn record(&self, answered: &Answered) -> NewRecord<'_> {
        let (answer, request_id) = (answered.answer.clone(), self.request_id.to_owned());
        let record = Record::new(self.fingerprint, answer, request_id, self.now);
        NewRecord { key: &self.key, record, now: self.now }
    }
}

/// Decides and commits until both are about the same state, or the request has met too many others.
async fn settle(
    store: &Store,
    tenant: &TenantId,
    once: Option<&Once<'_>>,
    request_id: &str,
    mut stored: Option<StoredSubscription>,
    decide: impl Fn(Option<StoredSubscription>) -> Decision,
) -> Result<Answered, Problem> {
    let begun = Instant::now();
    let mut attempt = 0;
    loop {
        let (change, answered) = match decide(stored.take()) {
            Decision::Change(after) => {
                let answer = response::subscription(&after)?;
                (Some(after), Answered::ok(answer))
            }
            Decision::NoChange(current) => (None, Answered::ok(response::subscription(&current)?)),
            Decision::Refuse(refusal) => (None, Answered::problem(&refusal.into(), request_id)),
        };
        // A decision that meets another write is committed again as it is: an earlier attempt may have
        // succeeded unheard.
        let commit = match &change {
            Some(change) => Some(store.prepare(tenant, change, once.map(|once| once.record(&answered)))?),
            None => None,
        };
        stored = loop {
            attempt += 1;
            let committed = match (&commit, once) {
                (Some(commit), _) => store.commit(commit).await,
                (None, Some(once)) => store.record(tenant, once.record(&answered)).await,
                (None, None) => Ok(Committed::Done),
            };
            let changed = match committed {
                Ok(Committed::Done) => {
                    count(change.as_ref());
                    return Ok(answered);
                }
                Ok(Committed::Recorded(record)) if once.is_some_and(|once| once.wrote(&record)) => {
                    // It is our own write that we meet: its acknowledgement was lost, and it was tried again.
                    count(change.as_ref());
                    return Ok(Answered { answer: record.answer, ..answered });
                }
                Ok(Committed::Recorded(record)) => {
                    if let Some(answered) = once.and_then(|once| once.answer_from(&record)) {
                        return answered;
                    }
                    None
                }
                Ok(Committed::Changed(current)) => Some(current.map(|current| *current)),
                Err(StoreError::Conflict) => None,
                Err(error) => return Err(error.into()),
            };
            if attempt == MOST_ATTEMPTS || begun.elapsed() > PATIENCE {
                return Err(match once {
                    Some(_) => Problem::IdempotencyKeyLocked,
                    None => StoreError::Conflict.into(),
                });
            }
            if let Some(current) = changed {
                break current;
            }
            // 20, 40, 60 ms …, each plus or minus half, so that those who met don't meet again.
            let pause = Duration::from_millis(20 * u64::from(attempt)).mul_f64(0.5 + fastrand::f64());
            tokio::time::sleep(pause).await;
        };
    }
}

/// Counts the cancellation that a commit has made pending or withdrawn, if it has.
fn count(change: Option<&StoredSubscription>) {
    let Some(after) = change else { return };
    match after.pending_cancellation().and_then(|pending| pending.reason) {
        Some(reason) => counter!(CANCELLATIONS_SCHEDULED, REASON => reason.to_string()).increment(1),
        None => counter!(CANCELLATIONS_WITHDRAWN).increment(1),
    }
}
