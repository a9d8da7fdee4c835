//! Cancelling a subscription, and withdrawing that.
//!
//! Authenticate and load in one round trip, decide without any, commit in one more. With an idempotency key, the answer is recorded
//! in the transaction that has the effect, so a repeated request finds either nothing or all of it. Two requests that meet are told
//! apart by the database: one commits, the other learns from the refusal what has changed, and decides again. So does a
//! withdrawal that meets the execution: one of the two is done, and the answer says which.

use domain::api_key::{Scope, Token};
use domain::calendar::Calendar;
use domain::cancel::{Asking, Decision, Refusal, decide_cancel};
use domain::cancellation::CancelRequest;
use domain::change::Changed;
use domain::identifiers::{SubscriptionName, TenantId};
use domain::stored::StoredSubscription;
use domain::withdraw::decide_withdrawal;
use idempotency::{Attempt, Commit, Fingerprint, Key, Verdict};
use metrics::counter;
use store::answer::Answer;
use store::commit::Committed;
use store::{Store, StoreError};

use crate::http::problem::{Problem, etag};
use crate::http::request::Precondition;
use crate::http::response::{Answered, subscription};
use crate::telemetry::{CANCELLATIONS_SCHEDULED, CANCELLATIONS_WITHDRAWN, REASON, log_found};
use crate::{Service, ids};

/// The most decisions of a request that meets others.
const MOST_DECISIONS: u32 = 8;

/// A request to change a subscription, as far as it is read before the caller is authenticated. Its faults wait until then.
pub struct Call<'r> {
    /// The API key.
    pub token: Token,
    /// The subscription.
    pub name: Result<SubscriptionName, Problem>,
    /// The idempotency key, if there is one.
    pub key: Result<Option<Key>, Problem>,
    /// The fingerprint, by which it is the same request as another.
    pub fingerprint: Fingerprint,
    /// The id under which it is found in the logs.
    pub request_id: &'r str,
    /// Whether it has parameters that nobody knows.
    pub parameters: Result<(), Problem>,
    /// The states of the subscription that it is to change.
    pub precondition: Precondition,
}

/// The wish of a caller.
pub enum Wish {
    /// To cancel, in the tenant's calendar.
    Cancel(CancelRequest, Calendar),
    /// To withdraw the cancellation that is pending.
    Withdraw,
}

/// Schedules the cancellation of a subscription. `body` reads the request in the tenant's calendar, once the caller is authenticated.
///
/// # Errors
/// The request is not done, for a reason that is not recorded under its idempotency key.
pub async fn cancel(
    service: &Service,
    call: Call<'_>,
    body: impl FnOnce(&Calendar) -> Result<CancelRequest, Problem>,
) -> Result<Answered, Problem> {
    change(service, call, Some(body)).await
}

/// Withdraws the cancellation of a subscription that is pending.
///
/// # Errors
/// The request is not done, for a reason that is not recorded under its idempotency key.
pub async fn withdraw(service: &Service, call: Call<'_>) -> Result<Answered, Problem> {
    type Body = fn(&Calendar) -> Result<CancelRequest, Problem>;
    change(service, call, None::<Body>).await
}

async fn change(
    service: &Service,
    call: Call<'_>,
    body: Option<impl FnOnce(&Calendar) -> Result<CancelRequest, Problem>>,
) -> Result<Answered, Problem> {
    let (store, now) = (&service.store, service.clock.now());
    let known_key = call.key.as_ref().ok().and_then(Option::as_ref);
    let sealed = store.load(&call.token, call.name.as_ref().ok(), known_key, body.is_some()).await?;
    let loaded = sealed.open(Scope::Cancel, now)?;

    // Who asks comes first; then whether it was asked before; only then what is asked.
    let Call { token, name, key, fingerprint, request_id, parameters, precondition } = call;
    let attempt = key?.map(|key| Attempt { key, fingerprint, request_id: request_id.to_owned(), now });
    if let (Some(attempt), Some(record)) = (&attempt, loaded.record) {
        match attempt.verdict(record) {
            Verdict::Expired => {}
            Verdict::Replay(answer) => return Ok(Answered::replay(answer)),
            Verdict::Mismatch => return Err(Problem::IdempotencyKeyMismatch),
        }
    }
    parameters?;
    let name = name?;
    let wish = match body {
        None => Wish::Withdraw,
        Some(body) => {
            let tenant = loaded.tenant.ok_or(Problem::ApiKeyInvalid)?;
            let calendar = Calendar::new(tenant.time_zone, now);
            Wish::Cancel(body(&calendar)?, calendar)
        }
    };
    let stored = store.follow(token.tenant(), &name, loaded.found).await?;
    if let Some(stored) = &stored {
        log_found(&name, stored);
    }
    let asking = Asking { ids: ids::new(), requested_by: token.key_id().clone(), now };
    let tenant = token.tenant().clone();
    let request = Request { tenant, attempt, request_id, precondition, wish, asking };
    request.settle(store, &name, stored).await
}

/// A request of a caller that is authenticated, and was not answered before.
pub struct Request<'r> {
    /// Whose subscription it is about.
    pub tenant: TenantId,
    /// Its idempotency, if it has a key.
    pub attempt: Option<Attempt>,
    /// The id under which it is found in the logs.
    pub request_id: &'r str,
    /// The states of the subscription that it is to change.
    pub precondition: Precondition,
    /// The wish of the caller.
    pub wish: Wish,
    /// The caller and the time.
    pub asking: Asking,
}

/// A decision, ready to be committed with its answer.
pub struct Prepared {
    /// The answer.
    pub answered: Answered,
    /// The writes.
    pub commit: Commit<Answer>,
    changed: Option<Box<Changed>>,
}

impl Request<'_> {
    /// Decides, and prepares what is to be written for that: the change if there is one, the answer, both to be committed.
    ///
    /// # Errors
    /// None that its types allow.
    pub fn prepare(&self, store: &Store, stored: Option<StoredSubscription>) -> Result<Prepared, Problem> {
        let (changed, answered) = match self.decide(stored) {
            Decision::Change(changed) => {
                let answer = subscription(&changed.after)?;
                (Some(changed), Answered::ok(answer))
            }
            Decision::NoChange(current) => (None, Answered::ok(subscription(&current)?)),
            Decision::Refuse(refusal) => (None, Answered::problem(&refusal.into(), self.request_id)),
        };
        let change =
            changed.as_ref().map(|changed| (changed.after.document.subscription_id, &changed.change));
        let commit = store.prepare(&self.tenant, change, self.attempt.clone(), answered.answer.clone())?;
        Ok(Prepared { answered, commit, changed })
    }

    fn decide(&self, stored: Option<StoredSubscription>) -> Decision {
        let current = stored.as_ref().map(|stored| stored.revision.clone());
        let decision = match &self.wish {
            Wish::Cancel(request, calendar) => decide_cancel(stored, request, calendar, &self.asking),
            Wish::Withdraw => decide_withdrawal(stored, &self.asking),
        };
        match (decision, current) {
            // What is refused anyway is refused for that (RFC 9110, section 13.2.1).
            (Decision::Change(_) | Decision::NoChange(_), Some(current))
                if !self.precondition.holds(&etag(&current)) =>
            {
                Decision::Refuse(Refusal::OtherRevision(current))
            }
            (decision, _) => decision,
        }
    }

    /// Decides and commits until both are about the same state, or the request has met too many others.
    async fn settle(
        &self,
        store: &Store,
        name: &SubscriptionName,
        mut stored: Option<StoredSubscription>,
    ) -> Result<Answered, Problem> {
        for _ in 0..MOST_DECISIONS {
            let Prepared { answered, commit, changed } = self.prepare(store, stored)?;
            match store.commit(commit).await {
                Ok(Committed::Done(answer)) => {
                    count(changed.as_deref());
                    return Ok(Answered { answer, ..answered });
                }
                Ok(Committed::Replayed(answer)) => return Ok(Answered::replay(answer)),
                Ok(Committed::Mismatch) => return Err(Problem::IdempotencyKeyMismatch),
                Ok(Committed::Changed(current)) => {
                    stored = self.still_named(store, name, current.map(|current| *current)).await?;
                }
                Err(StoreError::Conflict) => return Err(self.met_too_many()),
                Err(error) => return Err(error.into()),
            }
        }
        Err(self.met_too_many())
    }

    /// The subscription as it is meanwhile; if it has lost the reference id that it was named by, the one that has it now.
    async fn still_named(
        &self,
        store: &Store,
        name: &SubscriptionName,
        current: Option<StoredSubscription>,
    ) -> Result<Option<StoredSubscription>, StoreError> {
        let reference = current.as_ref().and_then(|current| current.document.reference_id.as_ref());
        match name {
            SubscriptionName::Reference(wanted) if reference != Some(wanted) => {
                store.named(&self.tenant, name).await
            }
            _ => Ok(current),
        }
    }

    fn met_too_many(&self) -> Problem {
        match &self.attempt {
            Some(_) => Problem::IdempotencyKeyLocked,
            None => StoreError::Conflict.into(),
        }
    }
}

/// Counts the cancellation that a commit has made pending or withdrawn, if it has.
fn count(changed: Option<&Changed>) {
    let Some(Changed { after, .. }) = changed else { return };
    match after.pending_cancellation().and_then(|pending| pending.reason) {
        Some(reason) => counter!(CANCELLATIONS_SCHEDULED, REASON => reason.to_string()).increment(1),
        None => counter!(CANCELLATIONS_WITHDRAWN).increment(1),
    }
}
