//! Cancelling a subscription, previewing that, and withdrawing the cancellation.
//!
//! A request is authenticated and loaded in one round trip, decided without any, and committed in one more. With an idempotency
//! key, the answer is recorded in the transaction that has the effect. So a repeated request finds both effect and answer, or
//! neither.
//!
//! If two requests meet, the database lets one commit. The other gets the changed subscription with the refusal, and decides again.
//! The same holds for a withdrawal that meets the execution: one of the two is done, and the answer says which.

use chrono::{DateTime, Utc};
use domain::api_key::Scope;
use domain::calendar::Calendar;
use domain::cancel::{Asking, Decision, Refusal, decide_cancel};
use domain::cancellation::CancelRequest;
use domain::change::Changed;
use domain::identifiers::{SubscriptionName, TenantId};
use domain::origin::{Actor, Author, Requester};
use domain::preview::Preview;
use domain::stored::StoredSubscription;
use domain::withdraw::decide_withdrawal;
use idempotency::{Attempt, Commit, Fingerprint, Key, Verdict};
use metrics::counter;
use store::answer::Answer;
use store::commit::Committed;
use store::load::Loaded;
use store::{Store, StoreError};

use crate::http::problem::{Problem, etag};
use crate::http::request::{Named, Precondition};
use crate::http::response::{Answered, json, subscription};
use crate::telemetry::{CANCELLATIONS_SCHEDULED, CANCELLATIONS_WITHDRAWN, REASON, log_found};
use crate::{Service, ids};

/// Most decisions on one request, if other requests keep changing the subscription.
const MOST_DECISIONS: u32 = 8;

/// A request to change a subscription, as far as it is read before the caller is authenticated. Problems with its parts are
/// answered only after that.
pub struct Call<'r> {
    /// The caller and the subscription.
    pub named: Named,
    /// The idempotency key, if there is one.
    pub key: Result<Option<Key>, Problem>,
    /// The fingerprint. Requests with equal fingerprints are the same request.
    pub fingerprint: Fingerprint,
    /// The id of the request in the logs.
    pub request_id: &'r str,
    /// A problem if the query has parameters, as the operation knows none.
    pub parameters: Result<(), Problem>,
    /// The person or system on whose behalf the caller acts, if the caller says so.
    pub actor: Result<Option<Actor>, Problem>,
    /// The states of the subscription that the request may change.
    pub precondition: Precondition,
}

/// The change that a caller asks for.
pub enum Wish {
    /// A cancellation, by the tenant's calendar.
    Cancel(CancelRequest, Calendar),
    /// The withdrawal of the pending cancellation.
    Withdraw,
}

/// Schedules the cancellation of a subscription. `body` reads the request in the tenant's calendar, after the caller is
/// authenticated.
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

/// Withdraws the pending cancellation of a subscription.
///
/// # Errors
/// The request is not done, for a reason that is not recorded under its idempotency key.
pub async fn withdraw(service: &Service, call: Call<'_>) -> Result<Answered, Problem> {
    type Body = fn(&Calendar) -> Result<CancelRequest, Problem>;
    change(service, call, None::<Body>).await
}

/// Tells the effect that the same request to [`cancel`] would have now, or its problem. Writes nothing. An idempotency key does not
/// count.
///
/// # Errors
/// The request is not valid, or the database can't be reached or refuses.
pub async fn preview(
    service: &Service,
    call: Call<'_>,
    body: impl FnOnce(&Calendar) -> Result<CancelRequest, Problem>,
) -> Result<Answered, Problem> {
    let (store, now) = (&service.store, service.clock.now());
    let call = Call { key: Ok(None), ..call };
    let sealed = store.load(&call.named.token, call.named.name.as_ref().ok(), None, true).await?;
    let loaded = sealed.open(Scope::Cancel, now)?;
    match read(store, call, loaded, Some(body), now).await? {
        Read::Answered(answered) => Ok(answered),
        Read::Asked(asked) => asked.request.preview(asked.stored),
    }
}

async fn change(
    service: &Service,
    call: Call<'_>,
    body: Option<impl FnOnce(&Calendar) -> Result<CancelRequest, Problem>>,
) -> Result<Answered, Problem> {
    let (store, now) = (&service.store, service.clock.now());
    let (Named { token, name }, key) = (&call.named, call.key.as_ref().ok().and_then(Option::as_ref));
    let sealed = store.load(token, name.as_ref().ok(), key, body.is_some()).await?;
    // Authentication comes first, then the record of an earlier answer, and then the request itself.
    let loaded = sealed.open(Scope::Cancel, now)?;
    match read(store, call, loaded, body, now).await? {
        Read::Answered(answered) => Ok(answered),
        Read::Asked(asked) => asked.request.settle(store, &asked.name, asked.stored).await,
    }
}

/// A request of an authenticated caller.
pub enum Read<'r> {
    /// A request that was answered before.
    Answered(Answered),
    /// A request for a change.
    Asked(Box<Asked<'r>>),
}

/// A request for a change of a subscription.
pub struct Asked<'r> {
    /// The request.
    pub request: Request<'r>,
    /// The name of the subscription.
    pub name: SubscriptionName,
    /// The subscription as it is now, if it exists.
    pub stored: Option<StoredSubscription>,
}

/// Reads a request with what was loaded for it. If it names the subscription by its reference id, one more round trip reads the
/// subscription.
///
/// # Errors
/// The request is not valid, or the database can't be reached or refuses.
pub async fn read<'r>(
    store: &Store,
    call: Call<'r>,
    loaded: Loaded,
    body: Option<impl FnOnce(&Calendar) -> Result<CancelRequest, Problem>>,
    now: DateTime<Utc>,
) -> Result<Read<'r>, Problem> {
    let Call { named, key, fingerprint, request_id, parameters, actor, precondition } = call;
    let Named { token, name } = named;
    let (key, actor) = (key?, actor?);
    let attempt = key.map(|key| Attempt { key, fingerprint, request_id: request_id.to_owned(), now });
    if let (Some(attempt), Some(record)) = (&attempt, loaded.record) {
        match attempt.verdict(record) {
            Verdict::Expired => {}
            Verdict::Replay(answer) => return Ok(Read::Answered(Answered::replay(answer))),
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
    let key_id = Some(token.key_id().clone());
    let requested_by = Requester { key_id, key_name: loaded.key_name, actor, batch: None };
    let asking = Asking { ids: ids::new(), requested_by, author: Author::request(request_id), now };
    let tenant = token.tenant().clone();
    let request = Request { tenant, attempt, request_id, precondition, wish, asking };
    Ok(Read::Asked(Box::new(Asked { request, name, stored })))
}

/// A request of an authenticated caller that was not answered before, or of an operator.
pub struct Request<'r> {
    /// The tenant of the subscription.
    pub tenant: TenantId,
    /// The attempt, if the request has an idempotency key.
    pub attempt: Option<Attempt>,
    /// The id of the request in the logs.
    pub request_id: &'r str,
    /// The states of the subscription that the request may change.
    pub precondition: Precondition,
    /// The change that the caller asks for.
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
    /// Decides, and prepares the writes: the change if there is one, and the record of the answer if there is an idempotency key.
    ///
    /// # Errors
    /// A part can't be stored. The types rule that out, so this would be a defect of the service.
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

    /// Decides, and answers with the effect that the decision would have.
    ///
    /// # Errors
    /// The request is a withdrawal, or the answer has no JSON form.
    pub fn preview(&self, stored: Option<StoredSubscription>) -> Result<Answered, Problem> {
        let Wish::Cancel(_, calendar) = &self.wish else {
            return Err(Problem::InternalError("a withdrawal has no preview".to_owned()));
        };
        let after = match self.decide(stored.clone()) {
            Decision::Change(changed) => changed.after,
            Decision::NoChange(same) => *same,
            Decision::Refuse(refusal) => return Ok(Answered::problem(&refusal.into(), self.request_id)),
        };
        let preview = stored.and_then(|before| Preview::new(&before, &after, calendar));
        let preview = preview.ok_or_else(|| Problem::InternalError("nothing would be pending".to_owned()))?;
        Ok(Answered::ok(json(&preview, None)?))
    }

    fn decide(&self, stored: Option<StoredSubscription>) -> Decision {
        let current = stored.as_ref().map(|stored| stored.revision.clone());
        let decision = match &self.wish {
            Wish::Cancel(request, calendar) => decide_cancel(stored, request, calendar, &self.asking),
            Wish::Withdraw => decide_withdrawal(stored, &self.asking),
        };
        match (decision, current) {
            // A refusal for another reason takes precedence over the precondition (RFC 9110, section 13.2.1).
            (Decision::Change(_) | Decision::NoChange(_), Some(current))
                if !self.precondition.holds(&etag(&current)) =>
            {
                Decision::Refuse(Refusal::OtherRevision(current))
            }
            (decision, _) => decision,
        }
    }

    /// Decides and commits. Repeats both if the subscription has changed in between, a limited number of times.
    ///
    /// # Errors
    /// The request is not done, for a reason that is not recorded under its idempotency key.
    pub async fn settle(
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

    /// Returns the subscription as it is now. If it no longer has the reference id that the request names, returns the subscription
    /// that has it now.
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

/// Counts the cancellation that a commit has scheduled or withdrawn, if any.
fn count(changed: Option<&Changed>) {
    let Some(Changed { after, .. }) = changed else { return };
    match after.pending_cancellation().and_then(|pending| pending.reason) {
        Some(reason) => counter!(CANCELLATIONS_SCHEDULED, REASON => reason.to_string()).increment(1),
        None => counter!(CANCELLATIONS_WITHDRAWN).increment(1),
    }
}
