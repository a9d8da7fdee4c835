//! `cancellations withdraw`: withdraws the pending cancellations of a batch, or of an API key.

use std::path::PathBuf;
use std::time::Instant;

use chrono::{DateTime, Utc};
use clap::Args;
use domain::cancel::Asking;
use domain::cancellation::Cancellation;
use domain::identifiers::{BatchId, KeyId, NewIds, SubscriptionId, SubscriptionName, TenantId};
use domain::origin::{Actor, Author, Requester};
use domain::stored::StoredSubscription;
use futures::{StreamExt, stream};
use service::cancel::{Request, Wish};
use service::clock::Clock;
use service::http::problem::Problem;
use service::http::request::Precondition;
use service::http::response::{Answered, subscription};
use service::ids;
use store::answer::Answer;
use store::{Admin, Patience, StoreError, try_again};

use super::super::index::Index;
use super::outcome::LineOutcome;
use super::results::{LineResult, Results};
use super::tally::BatchTally;
use super::{AT_ONCE, TOGETHER, parse_batch};
use crate::arguments::{Operator, TENANT_VARIABLE, find_tenant, parse_tenant};
use crate::format::counted;
use crate::{CommandError, Session, When};

/// Arguments of `cancellations withdraw`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["batch", "requested_by"]))]
pub struct WithdrawMany {
    /// Tenant of the subscriptions
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
    /// The pending cancellations of this batch
    #[arg(long, value_name = "NAME", value_parser = parse_batch)]
    batch: Option<BatchId>,
    /// The pending cancellations that this API key has requested; needs --since
    #[arg(long, value_name = "KEY", value_parser = parse_key, requires = "since")]
    requested_by: Option<KeyId>,
    /// Only those that were requested since then: an instant (RFC 3339), or a duration before now
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// File for the results, one line of JSON for each subscription [default: the batch or the key with
    /// .withdrawn.ndjson; for --dry-run, .to-withdraw.ndjson]
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Only list them in the file of results; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operator: Operator,
}

fn parse_key(text: &str) -> Result<KeyId, &'static str> {
    text.parse().map_err(|_| "write the id of an API key")
}

/// The cancellations to withdraw.
struct Wanted {
    batch: Option<BatchId>,
    key: Option<KeyId>,
    since: Option<DateTime<Utc>>,
}

impl Wanted {
    /// The name of the batch or the key.
    fn name(&self) -> String {
        let batch = self.batch.as_ref().map(ToString::to_string);
        batch.or_else(|| self.key.as_ref().map(ToString::to_string)).unwrap_or_default()
    }

    fn has(&self, stored: &StoredSubscription) -> bool {
        stored.pending_cancellation().is_some_and(|pending| self.is(pending))
    }

    fn is(&self, pending: &Cancellation) -> bool {
        let is_wanted = match (&self.batch, &self.key) {
            (Some(batch), _) => pending.requested_in.as_ref() == Some(batch),
            (None, key) => key.is_some() && pending.requested_by == *key,
        };
        is_wanted && self.since.is_none_or(|since| pending.requested_at >= since)
    }
}

const WORDS: [&str; 2] = ["withdrawn", "withdrawn before"];
const DRY_WORDS: [&str; 2] = ["would be withdrawn", "withdrawn before"];

pub(in super::super) async fn withdraw(
    session: &mut Session<'_>,
    arguments: WithdrawMany,
) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, arguments.tenant).await?.id;
    if let Some(key) = &arguments.requested_by
        && store.api_key(&tenant, key).await?.is_none()
    {
        return Err(CommandError::NoKey { tenant, key: key.clone() });
    }
    let wanted = Wanted {
        batch: arguments.batch,
        key: arguments.requested_by,
        since: arguments.since.map(|since| since.ago(session.now())),
    };
    let withdrawer = Withdrawer {
        store,
        clock: session.clock.clone(),
        tenant,
        actor: arguments.operator.name()?,
        wanted,
        dry_run: arguments.dry_run,
    };
    let (found, unreadable) = withdrawer.find(session).await?;
    if !arguments.dry_run {
        let what = format!(
            "This withdraws {} of {}",
            counted(found.len(), "pending cancellation"),
            withdrawer.tenant
        );
        session.confirm(arguments.yes || found.is_empty(), what).await?;
    }
    let (words, kind) = if arguments.dry_run { (DRY_WORDS, "to-withdraw") } else { (WORDS, "withdrawn") };
    let name = withdrawer.wanted.name();
    let mut results =
        Results::open(arguments.results.unwrap_or_else(|| format!("{name}.{kind}.ndjson").into()))?;
    let batch = withdrawer.wanted.batch.clone();
    let mut tally = BatchTally::new(batch, arguments.dry_run, words, results.path.clone());
    tally.unreadable = u64::try_from(unreadable.len()).unwrap_or(u64::MAX);
    // The tally tells it once more.
    let _ = session.complain(&unreadable);
    let begun = Instant::now();
    let outcome = all(&withdrawer, &found, &mut tally, &mut results, session).await;
    tally.stop(begun.elapsed());
    let outcome = tally.judge(outcome, "run the same command again to continue");
    session.conclude(&tally, || tally.text(), outcome)
}

/// Withdraws these, until the end, a failure or a signal. What is done is always in the results.
async fn all(
    withdrawer: &Withdrawer,
    found: &[SubscriptionId],
    tally: &mut BatchTally,
    results: &mut Results,
    session: &Session<'_>,
) -> Result<(), CommandError> {
    for some in found.chunks(TOGETHER) {
        if session.stop.is_cancelled() {
            tally.interrupted = true;
            return Ok(());
        }
        let read = withdrawer.read(some).await?;
        let done = stream::iter(read).map(|stored| withdrawer.one(stored.ok().flatten())).buffered(AT_ONCE);
        let mut failed: Result<(), CommandError> = Ok(());
        for (id, outcome) in some.iter().zip(done.collect::<Vec<_>>().await) {
            match outcome {
                Ok(Some(outcome)) => {
                    tally.count(&outcome);
                    let text = id.to_string();
                    results.add(&LineResult::new(None, &text, Some(*id), &outcome, tally.words))?;
                }
                // Another request has withdrawn or replaced it, or its date has arrived.
                Ok(None) => {}
                Err(cause) if failed.is_ok() => failed = Err(cause.into()),
                Err(_) => {}
            }
        }
        failed?;
    }
    Ok(())
}

struct Withdrawer {
    store: Admin,
    clock: Clock,
    tenant: TenantId,
    actor: Actor,
    wanted: Wanted,
    dry_run: bool,
}

impl Withdrawer {
    /// Returns the subscriptions whose pending cancellation is wanted, and the keys of the items that can't be read.
    async fn find(&self, session: &Session<'_>) -> Result<(Vec<SubscriptionId>, Vec<String>), CommandError> {
        let Index { entries, mut unreadable } = Index::read_all(&self.store, Some(&self.tenant)).await?;
        let pending: Vec<_> = entries.iter().map(|entry| entry.due.subscription_id).collect();
        let mut found = Vec::new();
        for some in pending.chunks(TOGETHER) {
            if session.stop.is_cancelled() {
                return Err(CommandError::Incomplete("interrupted; nothing was done".to_owned()));
            }
            for (id, stored) in some.iter().zip(self.read(some).await?) {
                match stored {
                    Ok(stored) => found.extend(stored.filter(|stored| self.wanted.has(stored)).map(|_| *id)),
                    Err(_) => unreadable.push(format!("{}#{id}", self.tenant)),
                }
            }
        }
        found.sort();
        Ok((found, unreadable))
    }

    /// Reads subscriptions as they are now.
    async fn read(
        &self,
        ids: &[SubscriptionId],
    ) -> Result<Vec<Result<Option<StoredSubscription>, StoreError>>, CommandError> {
        let names: Vec<_> = ids.iter().copied().map(SubscriptionName::Id).collect();
        Ok(try_again(Patience::OfCommand, || self.store.named_together(&self.tenant, &names)).await?)
    }

    /// Withdraws the cancellation of one subscription; `None` if it has no wanted one any more.
    async fn one(&self, stored: Option<StoredSubscription>) -> Result<Option<LineOutcome>, StoreError> {
        let Some(mut stored) = stored.filter(|stored| self.wanted.has(stored)) else { return Ok(None) };
        let ids = ids::new();
        loop {
            let settled = try_again(Patience::OfCommand, || self.settle(stored.clone(), &ids)).await?;
            let outcome = settled.unwrap_or_else(|problem| LineOutcome::problem(&problem));
            if !outcome.is_refused_with(&CHANGED) {
                return Ok(Some(outcome));
            }
            // Something has changed. It may still have the same cancellation; or this request has changed it, and its
            // acknowledgement was lost.
            let id = stored.document.subscription_id;
            match self.store.subscription(&self.tenant, id).await? {
                Some(current) if current.revision.write_id.as_ref() == Some(&ids.write) => {
                    return Ok(Some(LineOutcome::of(&Answered::ok(subscription_answer(&current)?), None)));
                }
                Some(current) if self.wanted.has(&current) => stored = current,
                _ => return Ok(None),
            }
        }
    }

    /// Decides and commits, on the condition that the subscription has not changed since it was read.
    async fn settle(
        &self,
        stored: StoredSubscription,
        ids: &NewIds,
    ) -> Result<Result<LineOutcome, Problem>, StoreError> {
        let now = self.clock.now();
        let requested_by = Requester { actor: Some(self.actor.clone()), ..Requester::default() };
        let author = Author::operator(Some(self.actor.clone()));
        let request = Request {
            tenant: self.tenant.clone(),
            attempt: None,
            request_id: "",
            precondition: Precondition::only(&stored.revision),
            wish: Wish::Withdraw,
            asking: Asking { ids: ids.clone(), requested_by, author, now },
        };
        let name = SubscriptionName::Id(stored.document.subscription_id);
        let before = stored.clone();
        let answered = if self.dry_run {
            request.prepare(&self.store, Some(stored)).map(|prepared| prepared.answered)
        } else {
            request.settle(&self.store, &name, Some(stored)).await
        };
        match answered {
            Ok(answered) => Ok(Ok(LineOutcome::of(&answered, Some(&before)))),
            Err(Problem::TemporarilyUnavailable(cause)) => Err(StoreError::Unavailable(cause)),
            Err(problem) => Ok(Err(problem)),
        }
    }
}

/// The codes of the refusals that another change of the subscription explains.
const CHANGED: [&str; 3] =
    ["precondition_failed", "no_pending_cancellation", "subscription_already_cancelled"];

/// Returns the answer to the request that made this state.
fn subscription_answer(stored: &StoredSubscription) -> Result<Answer, StoreError> {
    subscription(stored).map_err(|problem| StoreError::Defect(problem.code().to_owned()))
}
