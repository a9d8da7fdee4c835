//! `doctor`: checks the database, the time zones, the clock, the tables, the schedule, the due and pending cancellations, the
//! history, and the search indexes.
//!
//! Nothing is changed. Each check results in findings. A finding has a state, and for a fault the fix.

mod clock;
mod history;
mod pending;
mod schedule;
mod search;
mod tables;

use clap::Args;
use domain::calendar::IANA_RELEASE;
use serde::Serialize;
use service::endpoint::Endpoint;
use store::Admin;

use crate::terminal::Text;
use crate::{CommandError, Session};

/// Arguments of `doctor`: there are none.
#[derive(Clone, Debug, Args)]
pub struct Doctor {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Wrong,
    Unknown,
}

/// The result of one check.
#[derive(Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    what: String,
    /// The fix, for a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Ok, what: what.into(), fix: None }
    }

    fn wrong(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, state: State::Wrong, what: what.into(), fix: Some(fix.into()) }
    }

    fn unknown(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Unknown, what: what.into(), fix: None }
    }
}

pub(crate) async fn run(_: Doctor, session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    let zones = Finding::ok("zones", format!("IANA {IANA_RELEASE}, compiled in"));
    let mut findings = vec![database(session, &store).await, zones];
    if findings.iter().all(|finding| finding.state == State::Ok) {
        findings.push(clock::check(session, &store).await);
        let (of_tables, readable) = tables::check(&store, &session.tables).await;
        findings.extend(of_tables);
        findings.push(schedule::check(session).await);
        if readable.index {
            findings.extend(pending::check(session, &store).await);
        }
        if readable.history {
            findings.push(history::check(session, &store).await);
            findings.push(search::check(&store).await);
        }
    }
    let outcome = match findings.iter().filter(|finding| finding.state == State::Wrong).count() {
        0 => Ok(()),
        1 => Err(CommandError::Incomplete("1 thing is wrong".to_owned())),
        count => Err(CommandError::Incomplete(format!("{count} things are wrong"))),
    };
    session.conclude(&findings, || findings.iter().map(text).collect::<Text>(), outcome)
}

fn text(finding: &Finding) -> Text {
    let Finding { check, state, what, fix } = finding;
    let mark = match state {
        State::Ok => "ok",
        State::Wrong => "WRONG",
        State::Unknown => "?",
    };
    let fix = fix.iter().map(|fix| format!("                  fix: {fix}"));
    Text::from(format!("{mark:<7} {check:<9} {what}")).and(fix.collect::<Text>())
}

/// Checks that the database answers. Any answer counts, also a refusal.
async fn database(session: &Session<'_>, store: &Admin) -> Finding {
    let Endpoint { url, region, .. } = &session.endpoint;
    let mut place = url.clone().unwrap_or_else(|| format!("Amazon DynamoDB in {region}"));
    if let Some(proxy) = session.endpoint.proxy() {
        place += &format!(", through the proxy {proxy},");
    }
    match store.time().await {
        Ok(_) => Finding::ok("database", format!("{place} answers")),
        Err(cause) => Finding::wrong(
            "database",
            format!("{place} can't be reached: {cause}"),
            "set --dynamodb-endpoint to its URL, or AWS_REGION to its region; or start it",
        ),
    }
}
