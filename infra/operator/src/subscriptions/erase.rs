//! `subscriptions erase`: removes everything personal from cancelled subscriptions, and from all that is stored about them.
//!
//! Each subscription is written first, with an entry in its history. Behind that entry, no earlier one is added to the history: then
//! its entries are written again without what is personal, and the events and attempts about it. Recorded answers come last, for all
//! subscriptions. Then they are noted as erased. The ids are printed at the beginning, because afterwards neither a customer nor a
//! reference id finds a subscription: with them, the command continues one that was interrupted.

use std::collections::BTreeSet;
use std::pin::pin;

use chrono::NaiveDate;
use clap::Args;
use domain::erase::{NotErasable, decide_erasure};
use domain::event::{EventType, event_id};
use domain::history::HistoryEntry;
use domain::identifiers::{SubscriptionId, SubscriptionName, TenantId};
use domain::origin::Author;
use domain::search::Search;
use domain::stored::{Revision, StoredSubscription};
use domain::subscription::Status;
use domain::tenant::Tenant;
use futures::{StreamExt, stream};
use serde::Serialize;
use service::clock::Clock;
use service::ids;
use store::commit::Changing;
use store::{Admin, Patience, repeat, try_again};

use super::find::find_all;
use super::parse_name;
use crate::arguments::{Operator, TENANT_VARIABLE, find_tenant, parse_date, parse_tenant};
use crate::format::{counted, table};
use crate::terminal::Text;
use crate::{CommandError, Session};

/// Number of subscriptions that are erased at once.
const AT_ONCE: usize = 8;
/// Most decisions about a subscription that others keep changing.
const MOST_DECISIONS: u32 = 5;

/// Arguments of `erase`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["names", "customer", "cancelled_before"]))]
pub struct Erase {
    /// Ids of the subscriptions, or rid_ followed by their reference ids
    #[arg(value_name = "ID|rid_REFERENCE", value_parser = parse_name)]
    names: Vec<SubscriptionName>,
    /// All subscriptions of this customer
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// All that were cancelled before this date, in the tenant's time zone, and are not erased yet
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    cancelled_before: Option<NaiveDate>,
    /// Tenant of the subscriptions
    #[arg(long, value_parser = parse_tenant, env = TENANT_VARIABLE, hide_env_values = true)]
    tenant: TenantId,
    /// Only list them; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operator: Operator,
}

/// A subscription that is not erased.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotErased {
    subscription_id: SubscriptionId,
    why: String,
}

/// The outcome of the command.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct EraseTally {
    erased: Vec<SubscriptionId>,
    refused: Vec<NotErased>,
    /// Entries of the history that were written again.
    history_entries: u64,
    /// Recorded answers that were written again.
    answers: u64,
    /// Attempts to post events that were removed. The events are too.
    deliveries: u64,
}

pub(super) async fn run(erase: Erase, session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    let tenant = find_tenant(&store, erase.tenant.clone()).await?;
    let (chosen, unreadable) = erase.choose(&store, &tenant).await?;
    let author = Author::operator(if erase.dry_run { None } else { Some(erase.operator.name()?) });
    let eraser = Eraser { store, tenant: tenant.id, author, clock: session.clock.clone() };
    let mut tally = EraseTally::default();
    let outcome = if erase.dry_run {
        chosen.iter().for_each(|stored| eraser.preview(stored, &mut tally));
        Ok(())
    } else {
        let what = format!(
            "This erases everything personal of {} of {}, which can't be undone",
            counted(chosen.len(), "subscription"),
            eraser.tenant
        );
        if !chosen.is_empty() {
            session.confirm(erase.yes, what).await?;
        }
        let ids: Vec<_> = chosen.iter().map(|stored| stored.document.subscription_id.to_string()).collect();
        // Those that were cancelled long ago are found again until everything is done.
        if erase.cancelled_before.is_none() && !ids.is_empty() {
            session.note(&format!("if this is interrupted, continue with these ids: {}", ids.join(" ")));
        }
        eraser.all(chosen, session, &mut tally).await
    };
    let outcome = outcome.and(session.complain(&unreadable));
    let outcome = outcome.and(match tally.refused.len() {
        0 => Ok(()),
        count => Err(CommandError::Incomplete(format!("{} not erased", counted(count, "subscription")))),
    });
    session.conclude(&tally, || tally.text(erase.dry_run), outcome)
}

impl Erase {
    /// Reads the subscriptions. Also returns the keys of those that can't be read.
    async fn choose(
        &self,
        store: &Admin,
        tenant: &Tenant,
    ) -> Result<(Vec<StoredSubscription>, Vec<String>), CommandError> {
        if let Some(customer) = &self.customer {
            let search = Search::customer_id(customer)
                .ok_or(CommandError::Usage("the id of a customer is not empty"))?;
            return find_all(store, &tenant.id, &search).await;
        }
        let (mut chosen, mut unreadable) = (Vec::new(), Vec::new());
        for name in &self.names {
            let stored = try_again(Patience::OfCommand, || store.named(&tenant.id, name)).await?;
            chosen.push(stored.ok_or_else(|| CommandError::NoSubscription(tenant.id.clone()))?);
        }
        let mut ids = BTreeSet::new();
        chosen.retain(|stored: &StoredSubscription| ids.insert(stored.document.subscription_id));
        if let Some(before) = self.cancelled_before {
            let is_before = |stored: &StoredSubscription| {
                let at = stored.document.cancelled_at.filter(|_| stored.document.status == Status::Cancelled);
                at.is_some_and(|at| tenant.time_zone.local_time(at).date_naive() < before)
            };
            let mut next = None;
            loop {
                let read = || store.not_erased(&tenant.id, next.clone());
                let page = try_again(Patience::OfCommand, read).await?;
                chosen.extend(page.found.into_iter().filter(is_before));
                unreadable.extend(page.unreadable);
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
        }
        Ok((chosen, unreadable))
    }
}

impl EraseTally {
    fn text(&self, dry_run: bool) -> Text {
        let Self { erased, refused, history_entries, answers, deliveries } = self;
        let done = if dry_run { "would be erased" } else { "erased" };
        let mut text = format!("{} {done}, {} refused", counted(erased.len(), "subscription"), refused.len());
        if !dry_run {
            text += &format!(
                "; {history_entries} entries of the history, {answers} recorded answers, {deliveries} attempts to post events"
            );
        }
        let why = |not: &NotErased| [not.subscription_id.to_string(), not.why.clone()];
        match (refused.is_empty(), dry_run) {
            (false, _) => {
                Text::from(text).and(table(["SUBSCRIPTION", "NOT ERASED"], refused.iter().map(why)))
            }
            (true, true) => Text::from(text).and(erased.iter().map(ToString::to_string).collect::<Text>()),
            (true, false) => text.into(),
        }
    }
}

/// Erases subscriptions of a tenant.
struct Eraser {
    store: Admin,
    tenant: TenantId,
    author: Author,
    clock: Clock,
}

impl Eraser {
    /// Notes what erasing would do.
    fn preview(&self, stored: &StoredSubscription, tally: &mut EraseTally) {
        let id = stored.document.subscription_id;
        match decide_erasure(stored, ids::write_id(), &self.author, self.clock.now()) {
            Ok(_) => tally.erased.push(id),
            Err(why) => tally.refused.push(NotErased { subscription_id: id, why: why.to_string() }),
        }
    }

    /// Erases subscriptions, several at once. After a signal, none is begun, and those that are begun are finished.
    async fn all(
        &self,
        chosen: Vec<StoredSubscription>,
        session: &Session<'_>,
        tally: &mut EraseTally,
    ) -> Result<(), CommandError> {
        let chosen = stream::iter(chosen).take_until(session.stop.cancelled());
        let written = chosen.map(|stored| async {
            let id = stored.document.subscription_id;
            let traces = match self.write(stored).await? {
                Ok(revision) => Ok((self.traces(id, &revision).await?, revision)),
                Err(why) => Err(why),
            };
            Ok::<_, CommandError>((id, traces))
        });
        let mut written = pin!(written.buffer_unordered(AT_ONCE));
        let (mut erased, mut failed) = (Vec::new(), Ok(()));
        while let Some(next) = written.next().await {
            match next {
                Ok((id, Ok(((entries, deliveries), revision)))) => {
                    tally.history_entries += entries;
                    tally.deliveries += deliveries;
                    erased.push((id, revision));
                }
                Ok((id, Err(why))) => {
                    tally.refused.push(NotErased { subscription_id: id, why: why.to_string() })
                }
                // The others go on.
                Err(error) if failed.is_ok() => failed = Err(error),
                Err(_) => {}
            }
        }
        let ids: BTreeSet<_> = erased.iter().map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            tally.answers = self.answers(&ids).await?;
        }
        let now = self.clock.now();
        for (id, Revision { version, .. }) in &erased {
            let note = || self.store.note_erased(&self.tenant, *id, *version, now);
            try_again(Patience::OfCommand, note).await?;
        }
        tally.erased = ids.into_iter().collect();
        failed?;
        match session.stop.is_cancelled() {
            true => Err(CommandError::Incomplete("interrupted".to_owned())),
            false => Ok(()),
        }
    }

    /// Writes the erasure of a subscription. Returns its revision then, or the reason for which it is not erased.
    async fn write(
        &self,
        mut stored: StoredSubscription,
    ) -> Result<Result<Revision, NotErasable>, CommandError> {
        let id = stored.document.subscription_id;
        for _ in 0..MOST_DECISIONS {
            let erasure = match decide_erasure(&stored, ids::write_id(), &self.author, self.clock.now()) {
                Ok(erasure) => erasure,
                Err(why) => return Ok(Err(why)),
            };
            match self.store.erase(&self.tenant, &erasure).await? {
                Changing::Done => return Ok(Ok(stored.revision.next(erasure.write_id))),
                Changing::Met(Some(current)) => stored = *current,
                Changing::Met(None) => return Err(CommandError::NoSubscription(self.tenant.clone())),
            }
        }
        let tenant = &self.tenant;
        Err(CommandError::Incomplete(format!(
            "{tenant}#{id} is being changed by others; run the command again"
        )))
    }

    /// Erases the traces of a subscription: the entries of its history, and the events and attempts about it. Returns their numbers.
    async fn traces(&self, id: SubscriptionId, revision: &Revision) -> Result<(u64, u64), CommandError> {
        let (store, tenant) = (&self.store, &self.tenant);
        let is_there = |entries: &Vec<HistoryEntry>| entries.iter().any(|entry| entry.revision == *revision);
        let read = |_| store.whole_history(tenant, id);
        let entries = repeat(Patience::OfCommand, Vec::new(), read, is_there).await?;
        if !is_there(&entries) {
            return Err(CommandError::Incomplete(format!(
                "the history of {tenant}#{id} lacks the last change; run the command again when events are not late"
            )));
        }
        let (mut written, mut removed, now) = (0, 0, self.clock.now());
        for entry in entries.iter().filter(|entry| entry.revision != *revision) {
            if entry.erased() != *entry {
                try_again(Patience::OfCommand, || store.erase_entry(tenant, id, entry)).await?;
                written += 1;
            }
            for kind in [EventType::Updated, EventType::Cancelled] {
                let event = event_id(tenant, id, &entry.revision, kind);
                removed += try_again(Patience::OfCommand, || store.erase_event(tenant, event, now)).await?;
            }
        }
        Ok((written, removed))
    }

    /// Erases the recorded answers that show these subscriptions. Returns their number.
    async fn answers(&self, ids: &BTreeSet<SubscriptionId>) -> Result<u64, CommandError> {
        let (mut erased, mut next) = (0, None);
        loop {
            let read = || self.store.erase_answers(&self.tenant, |id| ids.contains(&id), next.clone());
            let (count, page) = try_again(Patience::OfCommand, read).await?;
            erased += count;
            next = page;
            if next.is_none() {
                return Ok(erased);
            }
        }
    }
}
