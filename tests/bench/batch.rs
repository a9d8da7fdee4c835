//! Many cancellations by one command, beside their floor: the same transactions, prepared in advance, with nothing else to do.

use std::fs;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::Parser;
use domain::calendar::Calendar;
use domain::cancel::Asking;
use domain::cancellation::{CancelRequest, Reason, Schedule};
use domain::identifiers::{SubscriptionName, TenantId};
use domain::origin::{Author, Requester};
use dynoxide::ImportOptions;
use futures::{StreamExt, stream};
use idempotency::{Attempt, Fingerprint};
use operator::{Command, Session};
use serde_json::{Value, json};
use service::cancel::{Request, Wish};
use service::clock::Clock;
use service::endpoint::Endpoint;
use service::http::request::Precondition;
use service::ids;
use store::Admin;
use store::commit::Committed;
use store::tables::TableNames;
use tempfile::tempdir;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, TENANT, ZONE};
use crate::report::{Section, Table, median};
use crate::scale::item;
use crate::subscriptions as given;

/// Number of cancellations in each run.
const LINES: u64 = 10_000;
/// Number of runs of each kind, in turns.
const RUNS: usize = 5;
/// Number of transactions at once, as the command has.
const AT_ONCE: usize = 32;

/// The command line of an operator's command.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// Measures both kinds of runs.
pub async fn measure(now: DateTime<Utc>) -> Vec<Section> {
    let engine = Engine::start().await;
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let (store, _) = filled(&engine, &format!("floor{run}")).await;
        floor.push(transactions(&store, now).await);
        let (_, tables) = filled(&engine, &format!("ours{run}")).await;
        ours.push(command(&engine, tables).await);
    }
    let rate = |times: &[Duration]| f64::from(u32::try_from(LINES).unwrap()) / median(times).as_secs_f64();
    let (floor, ours) = (rate(&floor), rate(&ours));
    let mut table = Table::new(&["10,000 cancellations, 32 at once", "a second", "of the floor"]);
    table.row(&["their transactions alone".to_owned(), format!("{floor:.0}"), "100 %".to_owned()]);
    let part = format!("{:.0} %", ours / floor * 100.0);
    table.row(&["connect cancellations schedule".to_owned(), format!("{ours:.0}"), part]);
    vec![Section::new("batch", table)]
}

/// Creates tables with subscriptions.
async fn filled(engine: &Engine, prefix: &str) -> (Admin, TableNames) {
    let (store, tables, _) = engine.create_tables(prefix).await;
    let items = (0..LINES).map(item).collect();
    engine.database.import_items(&tables.subscriptions, items, ImportOptions::default()).unwrap();
    (store, tables)
}

/// Commits prepared transactions. Returns the time that takes.
async fn transactions(store: &Admin, now: DateTime<Utc>) -> Duration {
    let tenant: TenantId = TENANT.parse().unwrap();
    let calendar = Calendar::new(ZONE.parse().unwrap(), now);
    let mut commits = Vec::new();
    for number in 0..LINES {
        let name = SubscriptionName::Id(given::id(number).to_string().parse().unwrap());
        let stored = store.named(&tenant, &name).await.unwrap();
        let cancel = CancelRequest {
            schedule: Schedule::BeginningOfNextMonth,
            reason: Reason::NoNeed,
            comment: None,
            metadata: None,
        };
        let request = Request {
            tenant: tenant.clone(),
            attempt: Some(Attempt {
                key: format!("batch-floor-{number}").parse().unwrap(),
                fingerprint: Fingerprint::of([b"batch".as_slice()]),
                request_id: number.to_string(),
                now,
            }),
            request_id: "",
            precondition: Precondition::NONE,
            wish: Wish::Cancel(cancel, calendar.clone()),
            asking: Asking {
                ids: ids::new(),
                requested_by: Requester::default(),
                author: Author::operator(None),
                now,
            },
        };
        commits.push(request.prepare(store, stored).unwrap().commit);
    }
    let begun = Instant::now();
    let done: Vec<_> =
        stream::iter(commits).map(|commit| store.commit(commit)).buffer_unordered(AT_ONCE).collect().await;
    let took = begun.elapsed();
    assert!(done.iter().all(|done| matches!(done, Ok(Committed::Done(_)))), "not all were committed");
    took
}

/// Runs the command. Returns the time that takes.
async fn command(engine: &Engine, tables: TableNames) -> Duration {
    let folder = tempdir().unwrap();
    let (file, results) = (folder.path().join("lines"), folder.path().join("results"));
    let lines: Vec<_> = (0..LINES).map(|number| given::id(number).to_string()).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    let (file, results) = (file.to_str().unwrap(), results.to_str().unwrap());
    let line = Line::try_parse_from([
        "connect",
        "cancellations",
        "schedule",
        "--tenant",
        TENANT,
        "--from",
        file,
        "--next-month",
        "--reason",
        "NO_NEED",
        "--results",
        results,
        "--as",
        "bench",
        "--yes",
    ]);
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let mut session = Session {
        endpoint: Endpoint::local(engine.url()),
        tables,
        queue: None,
        schedule: None,
        clock: Clock::system(),
        json: true,
        asks: false,
        out: &mut out,
        notes: &mut notes,
        stop: CancellationToken::new(),
    };
    let begun = Instant::now();
    operator::run(line.unwrap().command, &mut session).await.unwrap();
    let took = begun.elapsed();
    let tally: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(tally["done"], json!(LINES), "{tally}");
    took
}
