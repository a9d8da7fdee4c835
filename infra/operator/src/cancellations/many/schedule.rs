//! `cancellations schedule`: cancels the subscriptions of a file, or those with a product.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Instant;

use chrono::NaiveDate;
use clap::Args;
use domain::calendar::Calendar;
use domain::cancel::Asking;
use domain::cancellation::{CancelRequest, Reason, Schedule};
use domain::identifiers::{BatchId, NewIds, SubscriptionName, TenantId};
use domain::origin::{Actor, Author, Requester};
use domain::stored::StoredSubscription;
use futures::{StreamExt, TryStreamExt, stream};
use idempotency::{Attempt, Fingerprint};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use service::cancel::{Request, Wish};
use service::clock::Clock;
use service::http::problem::Problem;
use service::http::request::Precondition;
use service::ids;
use store::{Admin, Patience, StoreError, try_again};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lines::{BatchLine, Members, Reader, Source, member};
use super::outcome::{LineOutcome, Refusal};
use super::results::{LineResult, Results};
use super::tally::BatchTally;
use super::{AT_ONCE, parse_batch};
use crate::arguments::{Operator, TENANT_VARIABLE, find_tenant, one_of, parse_date, parse_tenant};
use crate::format::counted;
use crate::{CommandError, Session, private};

/// Arguments of `cancellations schedule`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["from", "product"]))]
pub struct ScheduleMany {
    /// Tenant of the subscriptions
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
    /// File with a subscription on each line: its UUID, or rid_ and its reference id; or JSON with subscriptionId or referenceId, and
    /// members of the request (schedule, reason, comment, metadata) that count in place of the options
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// All subscriptions with this product offering that are not cancelled
    #[arg(long, value_name = "ID")]
    product: Option<String>,
    #[command(flatten)]
    when: ScheduleWhen,
    /// Reason, as in the API, such as TEST_OR_MARKETING
    #[arg(long, value_parser = one_of::<Reason>)]
    reason: Option<Reason>,
    /// Reason in your words
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Name of the batch; the name of one that was interrupted continues it, within 24 hours. A corrected batch needs another
    /// name [default: a new UUID]
    #[arg(long, value_name = "NAME", value_parser = parse_batch)]
    batch: Option<BatchId>,
    /// File for the results, one line of JSON for each subscription [default: BATCH.results.ndjson; for
    /// --dry-run, BATCH.preview.ndjson]
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Ask if there are more lines than this part of the tenant's subscriptions that are not cancelled, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    ask_above: u8,
    /// Only tell what would be done, as a preview does; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operator: Operator,
}

/// The date of the cancellations.
#[derive(Clone, Debug, Args)]
#[group(multiple = false)]
pub struct ScheduleWhen {
    /// Cancel on this date, in the tenant's time zone
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    date: Option<NaiveDate>,
    /// Cancel on the next day
    #[arg(long)]
    next_day: bool,
    /// Cancel at the beginning of the next month
    #[arg(long)]
    next_month: bool,
}

impl ScheduleWhen {
    /// Returns the date that the options mean, if they name one that exists.
    fn date_in(&self, calendar: &Calendar) -> Option<NaiveDate> {
        let relative = || {
            let schedule = if self.next_day { Schedule::NextDay } else { Schedule::BeginningOfNextMonth };
            let effective = (self.next_day || self.next_month).then(|| schedule.effective(calendar).ok());
            effective.flatten().map(|effective| effective.date())
        };
        self.date.or_else(relative)
    }

    fn schedule(&self) -> Option<Value> {
        if let Some(date) = self.date {
            return Some(json!({"type": "CancelAtDate", "date": date}));
        }
        let kind = if self.next_day { "CancelNextDay" } else { "CancelAtBeginningOfNextMonth" };
        (self.next_day || self.next_month).then(|| json!({"type": kind}))
    }
}

impl ScheduleMany {
    /// Returns the members of the request that the options give.
    fn members(&self) -> Members {
        let parts = [
            ("schedule", self.when.schedule()),
            ("reason", self.reason.map(|reason| json!(reason))),
            ("comment", self.comment.as_ref().map(|comment| json!(comment))),
        ];
        let given = parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), member(&value?))));
        given.collect()
    }
}

/// The words for a line that is scheduled, and for one that was before.
const WORDS: [&str; 2] = ["scheduled", "scheduled before"];
const DRY_WORDS: [&str; 2] = ["would be scheduled", "scheduled before"];

pub(in super::super) async fn schedule(
    session: &mut Session<'_>,
    arguments: ScheduleMany,
) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, arguments.tenant.clone()).await?;
    let source = match (&arguments.from, &arguments.product) {
        (Some(path), _) => Source::File(path.clone()),
        (None, Some(product)) => Source::Product(product.clone()),
        (None, None) => return Err(CommandError::Usage("name a file or a product")),
    };
    // A file that can't be read is told before the question.
    let reader = source.read()?;
    let batch = arguments.batch.clone().unwrap_or_else(|| Uuid::new_v4().into());
    let (words, kind) = if arguments.dry_run { (DRY_WORDS, "preview") } else { (WORDS, "results") };
    let path = arguments.results.clone().unwrap_or_else(|| format!("{batch}.{kind}.ndjson").into());
    if arguments.from.as_ref().is_some_and(|from| private::is_same(from, &path)) {
        return Err(CommandError::Usage(
            "the file of the results is that of --from; name another with --results",
        ));
    }
    if !arguments.dry_run && !arguments.yes {
        let (lines, all) = source.count(&store, &tenant.id).await?;
        if u128::from(lines) * 100 > u128::from(all) * u128::from(arguments.ask_above) {
            let percent = lines.saturating_mul(100) / all.max(1);
            let what = format!(
                "This cancels {} of {}: {percent} % of {all} that are not cancelled",
                counted(lines, "subscription"),
                tenant.id
            );
            session.confirm(false, what).await?;
        }
    }
    let results = Results::open(path)?;
    let begun_at = session.now();
    let scheduler = Scheduler {
        store,
        clock: session.clock.clone(),
        calendar: Calendar::new(tenant.time_zone, begun_at),
        tenant: tenant.id,
        source,
        members: arguments.members(),
        actor: arguments.operator.name()?,
        batch: batch.clone(),
        dry_run: arguments.dry_run,
        halt: session.stop.child_token(),
    };
    let date = arguments.when.date_in(&scheduler.calendar);
    let on = date.map(|date| format!(", on {date}")).unwrap_or_default();
    session.note(&format!("batch {batch}{on}"));
    let tally = BatchTally::new(Some(batch.clone()), arguments.dry_run, words, results.path.clone());
    let mut run = Run { tally, results };
    let begun = Instant::now();
    let outcome = run.all(&scheduler, reader).await;
    let Run { mut tally, .. } = run;
    tally.stop(begun.elapsed());
    tally.interrupted = session.stop.is_cancelled();
    // On another day, the next day is another one.
    let date = date.map(|date| format!(" --date {date}")).unwrap_or_default();
    let relative = if arguments.when.date.is_none() { " in place of the relative date" } else { "" };
    let again =
        format!("to continue within 24 hours, run the same command with --batch {batch}{date}{relative}");
    let outcome = tally.judge(outcome, &again);
    session.conclude(&tally, || tally.text(), outcome)
}

/// A batch in progress.
struct Run {
    tally: BatchTally,
    results: Results,
}

impl Run {
    /// Schedules line after line, several at once, until the end, a failure or a signal. What is done is always in the results, in
    /// the order of the lines.
    async fn all(&mut self, scheduler: &Scheduler, reader: Reader) -> Result<(), CommandError> {
        let progress = ProgressBar::new_spinner();
        // The template is valid, so the style is always used.
        let progress = ProgressStyle::with_template("{spinner} {msg}")
            .map_or(progress.clone(), |style| progress.with_style(style));
        let begun = Instant::now();
        let some = stream::try_unfold(reader, |mut reader| async {
            let lines = reader.next(&scheduler.store, &scheduler.tenant).await?;
            let lines = scheduler.read(lines).await?;
            Ok::<_, CommandError>((!lines.is_empty()).then_some((lines, reader)))
        });
        let lines = some.take_until(scheduler.halt.cancelled());
        let lines = lines.map_ok(|some| stream::iter(some.into_iter().map(Ok))).try_flatten();
        let settled = lines.map_ok(|line| async {
            let outcome = scheduler.line_unless_halted(&line).await;
            Ok((line, outcome))
        });
        let mut settled = pin!(settled.try_buffered(AT_ONCE));
        let mut failed = Ok(());
        while let Some(next) = settled.next().await {
            let done = match next {
                Ok((_, Ok(None))) => Ok(()),
                Ok((line, Ok(Some(outcome)))) => self.add(&line, &outcome),
                Ok((_, Err(cause))) => Err(cause.into()),
                Err(cause) => Err(cause),
            };
            if failed.is_ok() && done.is_err() {
                failed = done;
                scheduler.halt.cancel();
            }
            let lines = HumanCount(self.tally.lines);
            progress.set_message(format!("{lines} lines in {:.0} s", begun.elapsed().as_secs_f32()));
            progress.tick();
        }
        progress.finish_and_clear();
        failed
    }

    fn add(&mut self, line: &BatchLine, outcome: &LineOutcome) -> Result<(), CommandError> {
        self.tally.count(outcome);
        let id = line.stored.as_ref().map(|stored| stored.document.subscription_id);
        self.results.add(&LineResult::new(line.number, &line.text, id, outcome, self.tally.words))
    }
}

/// Schedules the lines of a batch.
struct Scheduler {
    store: Admin,
    clock: Clock,
    tenant: TenantId,
    /// The calendar of the tenant when the batch began: the next day stays the same, also after midnight.
    calendar: Calendar,
    source: Source,
    /// The members of each request, unless its line has its own.
    members: Members,
    actor: Actor,
    batch: BatchId,
    dry_run: bool,
    /// Cancelled when no more lines are to be begun.
    halt: CancellationToken,
}

impl Scheduler {
    /// Reads the subscriptions of lines.
    async fn read(&self, mut lines: Vec<BatchLine>) -> Result<Vec<BatchLine>, CommandError> {
        let named = lines.iter().filter_map(|line| line.asked.as_ref().ok()).map(|(name, _)| name.clone());
        let names: Vec<_> = named.collect();
        let read = try_again(Patience::OfCommand, || self.store.named_together(&self.tenant, &names)).await?;
        for (line, stored) in lines.iter_mut().filter(|line| line.asked.is_ok()).zip(read) {
            match stored {
                Ok(Some(stored)) if !self.source.has(&stored.document) => {
                    let detail = "the subscription has another product now";
                    line.asked = Err(Refusal::new("other_product", detail));
                }
                Ok(stored) => line.stored = stored,
                Err(cause) => {
                    line.asked = Err(Refusal::new("unreadable_subscription", cause.to_string()));
                }
            }
        }
        Ok(lines)
    }

    /// Schedules one line, or previews it; `None` if no more lines are to be begun.
    async fn line_unless_halted(&self, line: &BatchLine) -> Result<Option<LineOutcome>, StoreError> {
        if self.halt.is_cancelled() {
            return Ok(None);
        }
        self.line(line).await.map(Some)
    }

    async fn line(&self, line: &BatchLine) -> Result<LineOutcome, StoreError> {
        let (name, own) = match &line.asked {
            Ok((name, own)) => (name, own),
            Err(refusal) => return Ok(LineOutcome::Refused(refusal.clone())),
        };
        // However long ago, and whatever happened to it since.
        let kept = line.stored.as_ref().and_then(|stored| stored.cancellation.as_ref());
        if kept.is_some_and(|kept| kept.requested_in.as_ref() == Some(&self.batch)) {
            return Ok(LineOutcome::before(line.stored.as_ref()));
        }
        let mut members = self.members.clone();
        members.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        // Members that are JSON always have a JSON text.
        let body = serde_json::to_string(&members).unwrap_or_default();
        let cancel = match CancelRequest::from_json(body.as_bytes(), &self.calendar) {
            Ok(cancel) => cancel,
            Err(invalid) => return Ok(LineOutcome::problem(&invalid.into())),
        };
        let date = cancel.schedule.effective(&self.calendar).ok().map(|effective| effective.date());
        let cancel = CancelRequest { schedule: date.map_or(cancel.schedule, Schedule::AtDate), ..cancel };
        let asked = Asked {
            name,
            stored: line.stored.as_ref(),
            fingerprint: fingerprint(&cancel, date),
            cancel,
            run: Uuid::new_v4().to_string(),
            ids: ids::new(),
        };
        match try_again(Patience::OfCommand, || self.settle(&asked)).await? {
            Ok(outcome) => Ok(outcome),
            Err(problem) => Ok(LineOutcome::problem(&problem)),
        }
    }

    /// Decides and commits, as for the request of a caller. The inner error is a problem that repeating does not solve.
    async fn settle(&self, asked: &Asked<'_>) -> Result<Result<LineOutcome, Problem>, StoreError> {
        let Asked { name, stored, fingerprint, cancel, run, ids } = asked;
        let now = self.clock.now();
        // A subscription that does not exist has nothing to record.
        let id = stored.map(|stored| stored.document.subscription_id);
        let key = id.and_then(|id| format!("batch-{}-{id}", self.batch).parse().ok());
        let attempt = key.map(|key| Attempt { key, fingerprint: *fingerprint, request_id: run.clone(), now });
        let requested_by = Requester {
            actor: Some(self.actor.clone()),
            batch: Some(self.batch.clone()),
            ..Requester::default()
        };
        let author = Author::batch(Some(self.actor.clone()), &self.batch);
        let request = Request {
            tenant: self.tenant.clone(),
            attempt: attempt.filter(|_| !self.dry_run),
            request_id: run,
            precondition: Precondition::NONE,
            wish: Wish::Cancel(cancel.clone(), Calendar::new(self.calendar.zone().clone(), now)),
            asking: Asking { ids: ids.clone(), requested_by, author, now },
        };
        let answered = if self.dry_run {
            // A preview does not tell whether something would change.
            let prepared = request.prepare(&self.store, stored.cloned());
            match prepared.map(|prepared| LineOutcome::of(&prepared.answered, *stored)) {
                Ok(outcome) if outcome.is_before() => return Ok(Ok(outcome)),
                Ok(_) => request.preview(stored.cloned()),
                Err(problem) => Err(problem),
            }
        } else {
            request.settle(&self.store, name, stored.cloned()).await
        };
        match answered {
            Ok(answered) => Ok(Ok(LineOutcome::of(&answered, *stored))),
            Err(Problem::TemporarilyUnavailable(cause)) => Err(StoreError::Unavailable(cause)),
            Err(Problem::IdempotencyKeyLocked) => Err(StoreError::Conflict),
            Err(problem) => Ok(Err(problem)),
        }
    }
}

/// The request of one line.
struct Asked<'l> {
    name: &'l SubscriptionName,
    stored: Option<&'l StoredSubscription>,
    fingerprint: Fingerprint,
    cancel: CancelRequest,
    /// The id of the attempt: the same if it is tried again, so that it recognises its own record.
    run: String,
    ids: NewIds,
}

/// Returns the fingerprint of a request by its meaning: the next day and the date of the next day are the same.
fn fingerprint(cancel: &CancelRequest, date: Option<NaiveDate>) -> Fingerprint {
    let date = date.map(|date| date.to_string()).unwrap_or_default();
    let reason = cancel.reason.to_string();
    let [comment, metadata] =
        [&cancel.comment, &cancel.metadata].map(|text| text.as_deref().unwrap_or_default());
    Fingerprint::of(["batch", &date, &reason, comment, metadata].map(str::as_bytes))
}
