//! `cancellations report`: counts executed, pending and withdrawn cancellations by month and reason.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{Datelike, Months, NaiveDate};
use clap::Args;
use domain::calendar::TimeZone;
use domain::cancellation::{CancellationState, Reason};
use domain::identifiers::TenantId;
use serde::Serialize;
use store::{NextPage, Patience, try_again};

use crate::arguments::{find_tenant, parse_date, parse_tenant};
use crate::format::{counted, print_csv, table};
use crate::terminal::Text;
use crate::{CommandError, Session};

/// Width of the longest bar, in characters.
const WIDEST: usize = 40;

/// Arguments of `cancellations report`.
#[derive(Clone, Debug, Args)]
pub struct Report {
    /// The first date, in each tenant's calendar [default: the 1st of the month, eleven months ago]
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    from: Option<NaiveDate>,
    /// The last date, in each tenant's calendar [default: no limit]
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    to: Option<NaiveDate>,
    /// Only cancellations of this tenant [default: all tenants]
    #[arg(long, value_parser = parse_tenant)]
    tenant: Option<TenantId>,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// The number of cancellations in one month for one reason.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    /// The month, as `YYYY-MM`.
    month: String,
    /// The reason; `None` for imported cancellations.
    reason: Option<Reason>,
    /// Number of cancellations that took effect.
    executed: u64,
    /// Number of pending cancellations.
    pending: u64,
    /// Number of cancellations that were withdrawn.
    withdrawn: u64,
}

impl Count {
    /// Number of cancellations that have taken effect, or will.
    fn all(&self) -> u64 {
        self.executed + self.pending
    }

    /// Formats the counts.
    fn numbers(&self) -> [String; 3] {
        [self.executed, self.pending, self.withdrawn].map(|count| count.to_string())
    }

    fn reason(&self) -> String {
        self.reason.map_or_else(|| "(imported)".to_owned(), |reason| reason.to_string())
    }
}

pub(crate) async fn run(report: Report, session: &mut Session<'_>) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    let today = now.date_naive();
    let a_year = || first_of_month(today).checked_sub_months(Months::new(11)).unwrap_or(today);
    let from = report.from.unwrap_or_else(a_year);
    if report.to.is_some_and(|to| to < from) {
        return Err(CommandError::Usage("--from is later than --to"));
    }
    if let Some(tenant) = &report.tenant {
        find_tenant(&store, tenant.clone()).await?;
    }
    let tenants = store.tenants().await?;
    let zones: HashMap<TenantId, TimeZone> =
        tenants.found.into_iter().map(|tenant| (tenant.id, tenant.time_zone)).collect();

    let mut counts: BTreeMap<(String, String), Count> = BTreeMap::new();
    // For a tenant that can't be read, the months are those of UTC.
    let mut unreadable = tenants.unreadable;
    let mut next: Option<NextPage> = None;
    loop {
        let page =
            try_again(Patience::OfCommand, || store.cancellations(report.tenant.as_ref(), next.clone()))
                .await?;
        for cancellation in page.found {
            let zone = zones.get(&cancellation.tenant).cloned().unwrap_or(TimeZone::UTC);
            // The promised date counts, even if the tenant has another time zone now.
            let there = || zone.local_date(cancellation.effective_at);
            let date = cancellation.scheduled_at.unwrap_or_else(there);
            if date < from || report.to.is_some_and(|to| to < date) {
                continue;
            }
            let new = Count {
                month: date.format("%Y-%m").to_string(),
                reason: cancellation.reason,
                executed: 0,
                pending: 0,
                withdrawn: 0,
            };
            let count = counts.entry((new.month.clone(), new.reason())).or_insert(new);
            match cancellation.state {
                CancellationState::Executed => count.executed += 1,
                CancellationState::Pending => count.pending += 1,
                CancellationState::Withdrawn | CancellationState::Replaced => count.withdrawn += 1,
            }
        }
        unreadable.extend(page.unreadable);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let counts: Vec<Count> = counts.into_values().collect();
    let outcome = session.complain(&unreadable);
    if report.csv {
        let reason = |count: &Count| count.reason.map(|reason| reason.to_string()).unwrap_or_default();
        let row = |count: &Count| {
            let [executed, pending, withdrawn] = count.numbers();
            [count.month.clone(), reason(count), executed, pending, withdrawn]
        };
        let heading = ["month", "reason", "executed", "pending", "withdrawn"];
        return outcome.and(print_csv(session, heading, counts.iter().map(row)));
    }
    session.conclude(&counts, || text(&counts, from, report.to), outcome)
}

fn first_of_month(date: NaiveDate) -> NaiveDate {
    date.with_day(1).unwrap_or(date)
}

/// Formats a table of reasons by month, a bar for each reason, the most frequent first, and a bar for each month.
fn text(counts: &[Count], from: NaiveDate, to: Option<NaiveDate>) -> Text {
    let range = to.map_or_else(|| format!("from {from}"), |to| format!("from {from} to {to}"));
    let total: u64 = counts.iter().map(Count::all).sum();
    let withdrawn: u64 = counts.iter().map(|count| count.withdrawn).sum();
    if counts.is_empty() {
        return format!("no cancellations {range}").into();
    }
    let months: BTreeSet<&str> = counts.iter().map(|count| count.month.as_str()).collect();
    let rows = counts.iter().map(|count| {
        let [executed, pending, withdrawn] = count.numbers();
        [count.month.clone(), count.reason(), executed, pending, withdrawn]
    });
    let by_month = table(["MONTH", "REASON", "#EXECUTED", "#PENDING", "#WITHDRAWN"], rows);

    let bars = |of: &dyn Fn(&Count) -> String, name: &'static str, by_size: bool| {
        let mut totals: BTreeMap<String, u64> = BTreeMap::new();
        for count in counts {
            *totals.entry(of(count)).or_default() += count.all();
        }
        let mut totals: Vec<_> = totals.into_iter().collect();
        if by_size {
            totals.sort_by_key(|(_, total)| std::cmp::Reverse(*total));
        }
        let most = totals.iter().map(|(_, total)| *total).max().unwrap_or(1);
        let row = |(name, total): (String, u64)| [name, total.to_string(), bar(total, most)];
        table([name, "#ALL", ""], totals.into_iter().map(row))
    };
    let by_reason = bars(&Count::reason, "REASON", true);
    let mut text = by_month.and("").and(by_reason);
    if months.len() > 1 {
        text = text.and("").and(bars(&|count| count.month.clone(), "MONTH", false));
    }
    let withdrawn = if withdrawn == 0 { String::new() } else { format!(", and {withdrawn} withdrawn") };
    text.and("").and(format!("{} {range}{withdrawn}", counted(total, "cancellation")))
}

/// Draws a bar, to the eighth of a character. A count above zero has at least one eighth.
fn bar(count: u64, most: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let widest = u64::try_from(WIDEST * EIGHTHS.len()).unwrap_or(u64::MAX);
    let eighths = usize::try_from((count * widest).div_ceil(most.max(1))).unwrap_or_default();
    let rest = EIGHTHS.get(eighths % EIGHTHS.len()).copied().unwrap_or_default();
    "█".repeat(eighths / EIGHTHS.len()) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(8, 8), "█".repeat(40));
        assert_eq!(bar(4, 8), "█".repeat(20));
        assert_eq!(bar(1, 320), "▏");
        assert_eq!(bar(1, 1_000_000), "▏", "what is there is seen");
        assert_eq!(bar(0, 8), "");
    }
}
