//! `POST /subscriptions/{subscriptionId}/cancel` schedules the cancellation of a subscription; `DELETE` withdraws it.
//!
//! Authenticate and load in one round trip, decide without any, commit in one more. With an
//! idempotency key, the answer is recorded in the transaction that has the effect, so a repeated
//! request finds either nothing or all of it. Two requests that meet are told apart by the database:
//! one commits, the other learns from the refusal what has changed, and decides again. So does a withdrawal that
//! meets the execution: one of the two is done, and the answer says which.

use chrono::{DateTime, Utc};
use domain::api_key::Scope;
use domain::calendar::Calendar;
use domain::cancellation::{
    Asking, CancelRequest, Decision, Refusal, StoredSubscription, decide_cancel, decide_withdrawal,
};
use domain::identifiers::{SubscriptionName, TenantId};
use idempotency::{Fingerprint, IdempotencyKey, Record, Verdict};
use lambda_http::http::Method;
use lambda_http::{Body, Request, Response};
use metrics::counter;
use service::Service;
use service::http::problem::{Problem, etag};
use service::http::request;
use service::http::response::{self, Answered};
use service::ids;
use service::telemetry::{CANCELLATIONS_SCHEDULED, CANCELLATIONS_WITHDRAWN, REASON};
use store::commit::{Committed, NewRecord};
use store::{Store, StoreError};

/// How often a request that meets others decides again.
const MOST_DECISIONS: u32 = 8;

/// Answers a request.
pub async fn handle(service: &Service, request: Request) -> Response<Body> {
    response::respond(&request, answer(service, &request)).await
}

/// What is asked for.
enum Asked {
    Cancel(CancelRequest, Calendar),
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
    request::no_parameters(request)?;
    let name = name?;
    let asked = if withdraws {
        Asked::Withdraw
    } else {
        let tenant = loaded.tenant.ok_or(Problem::ApiKeyInvalid)?;
        let calendar = Calendar::new(tenant.time_zone, now);
        let body = CancelRequest::from_json(request::json_body(request)?, &calendar);
        Asked::Cancel(body.map_err(|invalid| request::invalid_body(request, invalid))?, calendar)
    };
    let stored = service.store.follow(token.tenant(), &name, loaded.found).await?;
    if let Some(stored) = &stored {
        response::log_found(&name, stored);
    }

    let asking = Asking {
        cancellation_id: ids::cancellation_id(),
        write_id: ids::write_id(),
        requested_by: token.key_id().clone(),
        now,
    };
    let precondition = request::precondition(request);
    let decide = |stored: Option<StoredSubscription>| {
        let current = stored.as_ref().map(|stored| stored.revision.clone());
        let decision = match &asked {
            Asked::Cancel(body, calendar) => decide_cancel(stored, body, calendar, &asking),
            Asked::Withdraw => decide_withdrawal(stored, &asking),
        };
        match (decision, current) {
            // What is refused anyway is refused for that (RFC 9110, section 13.2.1).
            (Decision::Change(_) | Decision::NoChange(_), Some(current))
                if !precondition.holds(&etag(&current)) =>
            {
                Decision::Refuse(Refusal::OtherRevision(current))
            }
            (decision, _) => decision,
        }
    };
    let caller = Caller { store: &service.store, tenant: token.tenant(), name: &name, once, request_id };
    caller.settle(stored, decide).await
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

/// Who asks, and for which subscription.
struct Caller<'r> {
    store: &'r Store,
    tenant: &'r TenantId,
    name: &'r SubscriptionName,
    once: Option<Once<'r>>,
    request_id: &'r str,
}

impl Caller<'_> {
    /// Decides and commits until both are about the same state, or the request has met too many others.
    async fn settle(
        &self,
        mut stored: Option<StoredSubscription>,
        decide: impl Fn(Option<StoredSubscription>) -> Decision,
    ) -> Result<Answered, Problem> {
        for _ in 0..MOST_DECISIONS {
            let (change, answered) = match decide(stored) {
                Decision::Change(after) => {
                    let answer = response::subscription(&after)?;
                    (Some(after), Answered::ok(answer))
                }
                Decision::NoChange(current) => (None, Answered::ok(response::subscription(&current)?)),
                Decision::Refuse(refusal) => (None, Answered::problem(&refusal.into(), self.request_id)),
            };
            match self.commit(change.as_ref(), &answered).await {
                Ok(Committed::Done) => {
                    count(change.as_ref());
                    return Ok(answered);
                }
                Ok(Committed::Recorded(record)) => {
                    let Some(once) = &self.once else { return Err(self.met_too_many()) };
                    if once.wrote(&record) {
                        // It is our own write that we meet: its acknowledgement was lost, and it was tried again.
                        count(change.as_ref());
                        return Ok(Answered { answer: record.answer, ..answered });
                    }
                    return once.answer_from(&record).unwrap_or_else(|| Err(self.met_too_many()));
                }
                Ok(Committed::Changed(current)) => {
                    stored = self.still_named(current.map(|current| *current)).await?;
                }
                Err(StoreError::Conflict) => return Err(self.met_too_many()),
                Err(error) => return Err(error.into()),
            }
        }
        Err(self.met_too_many())
    }

    /// Writes a change with the record of its answer, or that record alone; what needs neither is done.
    async fn commit(
        &self,
        change: Option<&StoredSubscription>,
        answered: &Answered,
    ) -> Result<Committed, StoreError> {
        let record = self.once.as_ref().map(|once| once.record(answered));
        match (change, record) {
            (Some(change), record) => {
                self.store.commit(&self.store.prepare(self.tenant, change, record)?).await
            }
            (None, Some(record)) => self.store.record(self.tenant, &record).await,
            (None, None) => Ok(Committed::Done),
        }
    }

    /// What has changed meanwhile, unless it has lost the reference id that it was named by.
    async fn still_named(
        &self,
        current: Option<StoredSubscription>,
    ) -> Result<Option<StoredSubscription>, StoreError> {
        let reference = current.as_ref().and_then(|current| current.document.reference_id.as_ref());
        match self.name {
            SubscriptionName::Reference(name) if reference != Some(name) => {
                self.store.named(self.tenant, self.name).await
            }
            _ => Ok(current),
        }
    }

    fn met_too_many(&self) -> Problem {
        match &self.once {
            Some(_) => Problem::IdempotencyKeyLocked,
            None => StoreError::Conflict.into(),
        }
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
