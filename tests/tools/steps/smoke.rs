//! The service as a newcomer and an operator use it: started with `cargo run`, called with `curl` and by commands.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::receiver::Receiver;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::connect::{Connect, FREE_PORTS, binary, cargo_run, command, demo};
use crate::process::Process;
use crate::step::{Step, eventually, expect};
use crate::tools::package;

/// Runs all steps.
pub async fn run() -> Step {
    package("curl").await?;
    cancellation().await?;
    printed_lines().await?;
    operator().await?;
    events().await
}

async fn cancellation() -> Step {
    println!("--- a cancellation, from request to effect");
    let options = ["--memory", "--now", "2026-01-31T22:30:00Z", "--time-zone", "Europe/Stockholm"];
    let service = Connect::start_by_cargo(&[&FREE_PORTS[..], &options].concat()).await?;
    let [first, second, ..] = service.ids.as_slice() else { return Err("no subscriptions".into()) };
    let (first, second) = (first.as_str(), second.as_str());

    expect("status before", "ACTIVATED", text(&service.get(first).await?["status"]))?;
    let pending = json!({"status": "CANCELLED", "scheduledAt": "2026-02-01"}).to_string();
    let answer = service.cancel(first, "k1", "CancelAtBeginningOfNextMonth").await?;
    let scheduled = answer.json()?["pendingStatus"].to_string();
    expect("at the beginning of the next month", &pending, &scheduled)?;
    let next_day = service.cancel(second, "k2", "CancelNextDay").await?.json()?["pendingStatus"].to_string();
    expect("the next day", &pending, &next_day)?;

    let again = service.cancel(first, "k1", "CancelAtBeginningOfNextMonth").await?;
    again.expect_replay_of("the same request again", &answer)?;
    let other = service.cancel(first, "k1", "CancelNextDay").await?.json()?;
    expect("another request with the key", "idempotency_key_mismatch", text(&other["code"]))?;

    service.clock(&json!({"now": "2026-01-31T22:59:45Z"})).await?;
    expect("executed 15 seconds too early", 0, service.execute().await?)?;
    service.clock(&json!({"now": "2026-01-31T23:00:00Z"})).await?;
    expect("executed at midnight in Stockholm", 2, service.execute().await?)?;
    expect("executed again", 0, service.execute().await?)?;
    let ended = service.get(first).await?;
    expect("status after", "CANCELLED", text(&ended["status"]))?;
    expect("cancelled at", "2026-01-31T23:00:00Z", text(&ended["cancelledAt"]))?;

    service.clock(&json!({"advance": "PT24H"})).await?;
    let refused = service.cancel(first, "k1", "CancelNextDay").await?.json()?;
    expect("the key is free after 24 hours", "subscription_already_cancelled", text(&refused["code"]))?;
    service.stop().await
}

/// Pastes each of the lines that are printed for a person into a shell, as it stands.
async fn printed_lines() -> Step {
    println!("--- the lines that are printed for a person");
    let mut service = Process::start_piped(cargo_run().arg("up").args(FREE_PORTS).arg("--memory"))?;
    let mut lines = service.lines()?;
    let mut pasted = Vec::new();
    let read = async {
        while let Some(line) = lines.next_line().await? {
            let is_last = line.contains("execute-cancellations");
            pasted.extend(Some(line).filter(|line| line.starts_with("  curl")));
            if is_last {
                break;
            }
        }
        Step::Ok(())
    };
    timeout(Duration::from_secs(60), read).await??;
    expect("lines to paste", 4, pasted.len())?;
    for line in pasted {
        let shown: String = line.chars().take(60).collect();
        let pasted = format!("{line} -sS -o /dev/null -w '%{{http_code}}'");
        expect(&format!("{shown}…"), "200", Process::output(command("bash").args(["-c", &pasted])).await?)?;
    }
    expect("ended", true, service.end(Signal::TERM).await?.success())
}

async fn operator() -> Step {
    println!("--- an operator, from an empty database to the first executed cancellation");
    let service = Connect::start(&["--memory"]).await?;
    let found = service.operate_json(&["doctor"]).await?;
    let states: BTreeSet<_> = rows(&found).map(|finding| text(&finding["state"])).collect();
    expect("the doctor finds nothing wrong", "ok, unknown", joined(states))?;
    let zone = ["--name", "Acme Telecom", "--time-zone", "Europe/Stockholm"];
    service.operate(&[&["tenants", "create", "acme"][..], &zone].concat()).await?;
    let create = ["keys", "create", "--tenant", "acme", "--name", "CRM", "--expires", "365d"];
    let key = service.operate(&create).await?;
    let import = ["subscriptions", "import", "--tenant", "acme", "infra/local/src/demo.ndjson"];
    let added = &service.operate_json(&import).await?["added"];
    expect("imported", demo()?.len().to_string(), added.to_string())?;

    let cancelled = service.cancel_as(&key, "rid_crm-1001", "k1", "CancelNextDay").await?.json()?;
    let date = cancelled["pendingStatus"]["scheduledAt"].as_str().ok_or_else(|| cancelled.to_string())?;
    let due = service.operate_json(&["cancellations", "due"]).await?;
    expect("date of the pending cancellation", date, joined(rows(&due).map(|due| text(&due["date"]))))?;
    service.clock(&json!({"advance": "P2D"})).await?;
    expect("executed", 1, service.execute().await?)?;
    let shown = service.operate_json(&["subscriptions", "show", "rid_crm-1001", "--tenant", "acme"]).await?;
    expect("shown state", "EXECUTED", text(&shown["cancellation"]["state"]))?;
    expect("requested by", "CRM", text(&shown["cancellation"]["requestedBy"]["keyName"]))?;

    let id = key.split('_').nth(2).ok_or("no id in the token")?;
    for (answer, code, state) in [("n\n", 1, "valid"), ("\u{3}", 1, "valid"), ("y\n", 0, "revoked")] {
        let seen = answered(&service, &["keys", "revoke", id, "--tenant", "acme"], answer).await?;
        let what = format!("asked in a terminal before a key is revoked, and answered {answer:?}");
        expect(&what, code, seen)?;
        let keys = service.operate_json(&["keys", "list", "--tenant", "acme"]).await?;
        expect("the key", state, joined(rows(&keys).map(|key| text(&key["state"]))))?;
    }
    let report = service.operate(&["cancellations", "report", "--to", "2999-12-31", "--csv"]).await?;
    let row = report.lines().nth(1).and_then(|row| row.split_once(',')).map_or("", |(_, row)| row);
    expect("counted", "NO_NEED,1,0,0", row)?;
    service.stop().await
}

/// Returns the exit code of a command that asks a question in a terminal and gets this answer.
async fn answered(service: &Connect, arguments: &[&str], answer: &str) -> Step<i32> {
    let words = [&[binary()?.to_str().ok_or("no path")?], arguments].concat().join(" ");
    // `script` runs the command in a terminal, and ends as it ends. The command replaces the shell (`exec`). Otherwise the
    // waiting shell would get the signal too, and some shells (dash) would end by it.
    let mut script = command("script");
    script.args(["--quiet", "--return", "--command"]);
    script.arg(format!("exec {words} --dynamodb-endpoint {}", service.database)).arg("/dev/null");
    let mut process = Process::start_piped(&mut script)?;
    let (mut stdin, mut stdout) = (process.stdin()?, process.stdout()?);
    let ask = async {
        let (mut said, mut buffer) = (String::new(), [0; 4096]);
        while !said.contains("[y/N]") {
            let read = stdout.read(&mut buffer).await?;
            if read == 0 {
                return Err(format!("the command does not ask: {said}").into());
            }
            said += &String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
        }
        stdin.write_all(answer.as_bytes()).await?;
        stdout.read_to_string(&mut said).await?;
        Step::Ok(process.finish().await?.1.code().unwrap_or(-1))
    };
    timeout(Duration::from_secs(60), ask).await?
}

async fn events() -> Step {
    println!("--- events, to a receiver that is down at first");
    let receiver = Receiver::down();
    let service = Connect::start(&["--memory", "--webhook", &receiver.url]).await?;
    receiver.verify_with(service.webhook_secret.as_deref().ok_or("no secret")?);
    let id = service.ids.first().ok_or("no subscriptions")?;
    service.cancel(id, "k1", "CancelNextDay").await?;
    expect("withdrawn", "null", service.withdraw(id, "k2").await?["pendingStatus"].to_string())?;
    let failed = async || {
        let attempts =
            service.operate_json(&["webhooks", "attempts", "--failed", "--tenant", "demo"]).await?;
        Ok(rows(&attempts).count().min(2))
    };
    eventually("attempts while it is down", 2, 30, failed).await?;
    receiver.open();
    let events = receiver.taken(2).await;
    let [first, second] = &events[..] else { return Err("not two".into()) };
    let last = ["webhooks", "attempts", "--limit", "1", "--tenant", "demo"];
    let last = service.operate_json(&last).await?;
    expect("the last attempt", "DELIVERED", joined(rows(&last).map(|attempt| text(&attempt["outcome"]))))?;

    let tail = ["events", "tail", "--from-beginning", "--json"];
    let mut tail = Process::start_piped(&mut service.command(&tail)?)?;
    let mut lines = tail.lines()?;
    for event in [first, second] {
        let line = timeout(Duration::from_secs(30), lines.next_line()).await??.ok_or("no event")?;
        expect("shown as it was posted", true, serde_json::from_str::<Value>(&line)? == *event)?;
    }
    expect("interrupted", 0, tail.end(Signal::INT).await?.code().unwrap_or(-1))?;
    expect("nothing more is shown", true, lines.next_line().await?.is_none())?;
    service.stop().await
}

/// Iterates over the rows of a table in JSON.
fn rows(table: &Value) -> impl Iterator<Item = &Value> {
    table.as_array().into_iter().flatten()
}

fn joined<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("nothing")
}
