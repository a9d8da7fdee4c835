//! Whether all is as it should be: the database, the time zones, the clock, the tables, the schedule, and what comes of them.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_scheduler::types::ScheduleState;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use domain::calendar::IANA_RELEASE;
use serde::Serialize;
use service::endpoint::Endpoint;
use service::environment::variable;
use store::Store;
use store::inspect::{InspectedTable, TableFault};
use store::tables::TableNames;

use crate::cancellations::{Entry, Index, Lag, Zones};
use crate::format::{counted, instant};
use crate::terminal::Text;
use crate::{CommandError, SCHEDULE_VARIABLE, Session, clock, mend};

/// What is not to be blamed on the network.
const MOST_SKEW: TimeDelta = TimeDelta::seconds(30);
/// The schedule looks every minute; a sweep may take a few.
const MOST_LAG_SECONDS: i64 = 300;

/// Checks.
#[derive(Clone, Debug, Args)]
pub struct Doctor {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Wrong,
    Unknown,
}

/// What was found out about one thing.
#[derive(Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    what: String,
    /// What to do if it is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Ok, what: what.into(), mend: None }
    }

    fn wrong(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, state: State::Wrong, what: what.into(), mend: Some(mend.into()) }
    }

    fn unknown(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Unknown, what: what.into(), mend: None }
    }
}

pub(crate) async fn run(_: Doctor, session: &mut Session<'_>) -> Result<(), CommandError> {
    let store = session.store();
    let zones = Finding::ok("zones", format!("IANA {IANA_RELEASE}, compiled in"));
    let mut findings = vec![database(session, &store).await, zones];
    if findings.iter().all(|finding| finding.state == State::Ok) {
        findings.push(clock(session, &store).await);
        let (of_tables, has_index) = tables(&store, &session.tables).await;
        findings.extend(of_tables);
        findings.push(schedule(session).await);
        if has_index {
            findings.extend(pending(session, &store).await);
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
    let Finding { check, state, what, mend } = finding;
    let mark = match state {
        State::Ok => "ok",
        State::Wrong => "WRONG",
        State::Unknown => "?",
    };
    let mend = mend.iter().map(|mend| format!("                  mend: {mend}"));
    Text::from(format!("{mark:<7} {check:<9} {what}")).and(mend.collect::<Text>())
}

/// Whether it answers, whatever it says.
async fn database(session: &Session<'_>, store: &Store) -> Finding {
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
            "name it with --dynamodb-endpoint, or the region in AWS_REGION; or start it",
        ),
    }
}

async fn clock(session: &Session<'_>, store: &Store) -> Finding {
    match clock::skew(session, store).await {
        Ok(Some(skew)) if skew.abs() <= MOST_SKEW => {
            Finding::ok("clock", format!("within {} s of the database's", skew.num_seconds().abs() + 1))
        }
        Ok(Some(skew)) => Finding::wrong(
            "clock",
            format!(
                "this machine's ({}) is {} s {} the database's",
                instant(session.now()),
                skew.num_seconds().abs(),
                if skew > TimeDelta::zero() { "ahead of" } else { "behind" }
            ),
            "set it, best by NTP: what is said to be so long from now goes by it",
        ),
        Ok(None) => Finding::unknown("clock", "the database does not say what time it is"),
        Err(cause) => Finding::unknown("clock", cause.to_string()),
    }
}

/// Whether the credentials are accepted, and the tables are as they should be; and whether there is an index to ask for what
/// is due.
async fn tables(store: &Store, names: &TableNames) -> (Vec<Finding>, bool) {
    match store.inspect_tables().await {
        Ok(tables) => {
            let rights = Finding::ok("rights", "the credentials are accepted");
            let has_index = tables
                .iter()
                .filter(|table| [&names.subscriptions, &names.tenants].contains(&&table.name))
                .all(|table| table.faults.iter().all(|fault| *fault == TableFault::NoStream));
            let findings = tables.iter().flat_map(|table| findings(table, names));
            ([rights].into_iter().chain(findings).collect(), has_index)
        }
        Err(cause) => {
            let rights = Finding::wrong(
                "rights",
                cause.to_string(),
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN: whose they are, whether they \
                 have expired, and whether they may dynamodb:DescribeTable and dynamodb:DescribeTimeToLive",
            );
            // Who may not look at the tables may still ask for what is due.
            (vec![rights], true)
        }
    }
}

fn findings(table: &InspectedTable, names: &TableNames) -> Vec<Finding> {
    let InspectedTable { name, faults } = table;
    if faults.is_empty() {
        let parts = if *name == names.subscriptions {
            "keys, index and stream are"
        } else if *name == names.idempotency {
            "keys and expiry are"
        } else {
            "keys are"
        };
        return vec![Finding::ok("tables", format!("{name}: {parts} as they should be"))];
    }
    let wrong = |fault: &TableFault| {
        let (what, mend) = describe(name, fault);
        Finding::wrong("tables", format!("{name}: {what}"), mend)
    };
    faults.iter().map(wrong).collect()
}

/// What a fault means, and how it is mended.
fn describe(table: &str, fault: &TableFault) -> (String, String) {
    let deployed = "on AWS deploy the template, which defines it";
    match fault {
        TableFault::Missing => (
            "there is no such table".to_owned(),
            "export what the stack's output Environment says; where there is no stack, connect tables create"
                .to_owned(),
        ),
        TableFault::NotActive(status) => (format!("it is {status}"), "wait until it is ACTIVE".to_owned()),
        TableFault::OtherKeys => (
            "its key is not the string pk".to_owned(),
            "it is another table: name the right one in SUBSCRIPTIONS_TABLE, IDEMPOTENCY_TABLE or TENANTS_TABLE"
                .to_owned(),
        ),
        TableFault::NoIndex => (
            "it has no index due, so nothing is executed".to_owned(),
            format!(
                "{deployed}; else aws dynamodb update-table --table-name {table} --attribute-definitions \
                 AttributeName=dueShard,AttributeType=N AttributeName=dueAt,AttributeType=S \
                 --global-secondary-index-updates '[{{\"Create\": {{\"IndexName\": \"due\", \"KeySchema\": \
                 [{{\"AttributeName\": \"dueShard\", \"KeyType\": \"HASH\"}}, {{\"AttributeName\": \"dueAt\", \
                 \"KeyType\": \"RANGE\"}}], \"Projection\": {{\"ProjectionType\": \"INCLUDE\", \
                 \"NonKeyAttributes\": [\"cancellationId\"]}}}}}}]'"
            ),
        ),
        TableFault::OtherIndex => (
            "its index due has other keys than dueShard and dueAt, or leaves out cancellationId".to_owned(),
            format!(
                "delete the index (aws dynamodb update-table --table-name {table} \
                 --global-secondary-index-updates '[{{\"Delete\": {{\"IndexName\": \"due\"}}}}]'), and ask again"
            ),
        ),
        TableFault::IndexNotActive(status) => {
            (format!("its index due is {status}"), "wait until it is ACTIVE".to_owned())
        }
        TableFault::NoStream => (
            "its changes are not streamed with new and old images".to_owned(),
            format!(
                "{deployed}; else aws dynamodb update-table --table-name {table} --stream-specification \
                 StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
            ),
        ),
        TableFault::NoExpiry => (
            "old records are not removed (keys are free after 24 hours all the same)".to_owned(),
            format!(
                "{deployed}; else aws dynamodb update-time-to-live --table-name {table} \
                 --time-to-live-specification Enabled=true,AttributeName=removeAt"
            ),
        ),
    }
}

/// Whether EventBridge Scheduler sweeps every minute.
async fn schedule(session: &Session<'_>) -> Finding {
    let Some(name) = &session.schedule else {
        return Finding::unknown(
            "schedule",
            format!("{SCHEDULE_VARIABLE} names none; the stack's output Environment does"),
        );
    };
    let elsewhere = ["AWS_ENDPOINT_URL_SCHEDULER", "AWS_ENDPOINT_URL"].iter().find_map(|name| variable(name));
    let scheduler = Endpoint { url: elsewhere, ..session.endpoint.clone() };
    let deploy = "deploy the template, which defines it";
    match Client::new(&scheduler.sdk_config()).get_schedule().name(name).send().await {
        Ok(schedule) => {
            let expression = schedule.schedule_expression().unwrap_or_default();
            if schedule.state() == Some(&ScheduleState::Disabled) {
                let mend = format!("enable it: nothing is executed meanwhile; or {deploy}");
                Finding::wrong("schedule", format!("{name} is disabled"), mend)
            } else if expression != "rate(1 minute)" {
                Finding::wrong("schedule", format!("{name} fires at {expression}, not every minute"), deploy)
            } else {
                Finding::ok("schedule", format!("{name} fires every minute"))
            }
        }
        Err(error) => match error.code() {
            Some("ResourceNotFoundException") => {
                Finding::wrong("schedule", format!("there is no schedule {name}"), deploy)
            }
            Some(code) => Finding::wrong(
                "schedule",
                format!("{name}: {code}"),
                "the credentials need scheduler:GetSchedule",
            ),
            None => Finding::unknown("schedule", format!("{name}: {}", DisplayErrorContext(&error))),
        },
    }
}

/// What comes of all that: whether what is due is executed, and what is pending will be.
async fn pending(session: &Session<'_>, store: &Store) -> Vec<Finding> {
    let read =
        async { Ok::<_, CommandError>((mend::read_all(store, None).await?, Zones::read(store).await?)) };
    match read.await {
        Ok((index, zones)) => vec![
            lag(&index.lag(&zones, session.now())),
            readable(&index),
            owned(&index, &zones),
            whole(&index),
            in_place(&index, &zones, session.now()),
        ],
        Err(cause) => vec![Finding::wrong(
            "lag",
            cause.to_string(),
            "the credentials need dynamodb:Query on the index due, and dynamodb:BatchGetItem and dynamodb:Scan on the tables",
        )],
    }
}

fn lag(lag: &Lag) -> Finding {
    let due = counted(lag.due, "cancellation");
    if lag.lag_seconds > MOST_LAG_SECONDS {
        Finding::wrong(
            "lag",
            format!("{due} due, the oldest for {} s", lag.lag_seconds),
            "look at the log of execute-cancellations and its queue of failed sweeps; connect cancellations run \
             executes them now",
        )
    } else {
        Finding::ok("lag", format!("{due} due"))
    }
}

fn readable(index: &Index) -> Finding {
    let items = index.entries.iter().filter(|entry| entry.details.standing.is_none()).map(Entry::key);
    let unreadable: Vec<_> = index.unreadable.iter().cloned().chain(items).collect();
    match unreadable.len() {
        0 => Finding::ok("index", format!("{} pending", counted(index.entries.len(), "cancellation"))),
        count => Finding::wrong(
            "index",
            format!("{} can't be read: {}", counted(count, "subscription"), first(&unreadable)),
            "look at these items: this service did not write them; connect cancellations repair mends their entries in the \
             index, connect subscriptions import --existing overwrite puts others in their place",
        ),
    }
}

fn owned(index: &Index, zones: &Zones) -> Finding {
    let missing = zones.missing(index);
    match missing.len() {
        0 => Finding::ok("tenants", "each has a time zone"),
        count => Finding::wrong(
            "tenants",
            format!("{} without a time zone that can be read: {}", counted(count, "tenant"), first(&missing)),
            "nothing of theirs is executed meanwhile: connect tenants set-time-zone sets one; create makes a tenant that is gone",
        ),
    }
}

fn whole(index: &Index) -> Finding {
    let contradictory = mend::contradictory(index);
    let keys: Vec<_> = contradictory.iter().map(|(key, why)| format!("{key} ({why})")).collect();
    match keys.len() {
        0 => Finding::ok("pending", "document, cancellation and index say the same"),
        count => Finding::wrong(
            "pending",
            format!("{} will not be executed: {}", counted(count, "cancellation"), first(&keys)),
            "another system wrote one part and not the others: say which counts, with connect cancellations repair",
        ),
    }
}

fn in_place(index: &Index, zones: &Zones, now: DateTime<Utc>) -> Finding {
    match mend::misplaced(index, zones, now).len() {
        0 => Finding::ok("instants", "each cancellation takes effect at the first instant of its date"),
        count => Finding::wrong(
            "instants",
            format!("{} not at the first instant of their date", counted(count, "cancellation")),
            "their time zone, or its rules, have changed: connect cancellations rederive moves them",
        ),
    }
}

/// The first few of what may be many.
fn first(keys: &[String]) -> String {
    const MOST: usize = 10;
    let more = keys.len().saturating_sub(MOST);
    let keys = keys.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { keys } else { format!("{keys} and {more} more") }
}
