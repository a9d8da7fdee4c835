//! An import of a large file takes no more memory than that of a small one, and neither does a batch of cancellations. After an
//! interruption in the middle of an import, the same command continues, with the same result.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::connect::{Connect, demo};
use crate::process::Process;
use crate::step::{Step, expect};

/// Number of lines that an import reads ahead. A file with fewer lines takes less memory.
const READ_AHEAD: u64 = 2_000;

/// Least number of lines with which cancellations are measured too, because that takes minutes.
const WITH_CANCELLATIONS: u64 = 100_000;
/// Number of cancellations of the small batch. The large one has ten times as many.
const FEW_CANCELLATIONS: u64 = 3_000;

/// Imports a file of `lines` lines, and one of a tenth of that, but of at least 3,000.
pub async fn run(lines: u64) -> Step {
    let folder = tempfile::tempdir()?;
    let (small, large) = (folder.path().join("small.ndjson"), folder.path().join("large.ndjson"));
    let fewer = (lines / 10).max(3_000);
    write(&small, fewer)?;
    write(&large, lines)?;

    println!("--- more lines, the same memory");
    let service = Connect::start(&["--memory"]).await?;
    let least = import_whole(&service, "small", &small, fewer).await?;
    let most = import_whole(&service, "large", &large, lines).await?;
    let ratio = most / least;
    println!("{ratio:.2} times the memory");
    expect("at most 1.2 times", true, ratio <= 1.2)?;

    if lines >= WITH_CANCELLATIONS {
        println!("--- more cancellations, the same memory");
        let least = cancel_some(&service, "small", folder.path(), FEW_CANCELLATIONS).await?;
        let most = cancel_some(&service, "large", folder.path(), 10 * FEW_CANCELLATIONS).await?;
        let ratio = most / least;
        println!("{ratio:.2} times the memory");
        expect("at most 1.2 times", true, ratio <= 1.2)?;
    }
    service.stop().await?;

    println!("--- interrupted in the middle, and run again");
    let service = Connect::start(&["--memory"]).await?;
    interrupted(&service, &large, lines).await?;
    service.stop().await
}

/// Imports a file for a new tenant. Returns the peak memory of the import in MiB.
async fn import_whole(service: &Connect, tenant: &str, file: &Path, lines: u64) -> Step<f64> {
    service.operate(&["tenants", "create", tenant]).await?;
    let (tally, code, peak) = finish(start(service, tenant, file)?).await?;
    expect("exit code", 0, code)?;
    let megabytes = file.metadata()?.len() as f64 / 1e6;
    println!(
        "{:>9} lines of {megabytes:5.1} MB: {:5.1} s, {:.0} a second, {peak:.0} MiB at most",
        tally["lines"].to_string(),
        tally["seconds"].as_f64().unwrap_or_default(),
        tally["linesPerSecond"].as_f64().unwrap_or_default()
    );
    expect("added", lines.to_string(), tally["added"].to_string())?;
    Ok(peak)
}

/// Cancels the first subscriptions of a tenant as a batch. Returns the peak memory of the command in MiB.
async fn cancel_some(service: &Connect, tenant: &str, folder: &Path, lines: u64) -> Step<f64> {
    let (file, results) = (folder.join(format!("{tenant}.lines")), folder.join(format!("{tenant}.results")));
    let ids = (0..lines).map(|number| format!("rid_crm-{number}\n"));
    std::fs::write(&file, ids.collect::<String>())?;
    let paths = [&file, &results].map(|path| path.to_str().unwrap_or_default());
    let schedule =
        ["cancellations", "schedule", "--tenant", tenant, "--from", paths[0], "--results", paths[1]];
    let more = ["--date", "2099-01-01", "--reason", "TEST_OR_MARKETING", "--yes", "--json"];
    let command = &mut service.command(&[&schedule[..], &more].concat())?;
    let (tally, code, peak) = finish(Process::start_piped(command)?).await?;
    expect("exit code", 0, code)?;
    expect("scheduled", lines.to_string(), tally["done"].to_string())?;
    let seconds = tally["seconds"].as_f64().unwrap_or_default();
    println!(
        "{lines:>9} cancellations: {seconds:5.1} s, {:.0} a second, {peak:.0} MiB at most",
        lines as f64 / seconds
    );
    Ok(peak)
}

async fn interrupted(service: &Connect, file: &Path, lines: u64) -> Step {
    service.operate(&["tenants", "create", "acme"]).await?;
    let mut process = start(service, "acme", Path::new("-"))?;
    let mut stdin = process.stdin()?;
    let half = BufReader::new(File::open(file)?).lines().take(usize::try_from(lines / 2)?);
    for line in half {
        stdin.write_all(format!("{}\n", line?).as_bytes()).await?;
    }
    stdin.flush().await?;
    // An import reads ahead only a limited number of lines. When all of these are written, it has imported nearly all of them.
    process.signal(Signal::INT)?;
    let (tally, code, _) = finish(process).await?;
    drop(stdin);
    println!("interrupted after {} of {lines} lines", tally["lines"]);
    expect("exit code", 1, code)?;
    expect("interrupted", true, tally["interrupted"] == true)?;
    let done = tally["added"].as_u64().ok_or("no tally")?;
    expect("in the middle", true, (lines / 2 - READ_AHEAD..=lines / 2).contains(&done))?;

    let (tally, code, _) = finish(start(service, "acme", file)?).await?;
    expect("exit code", 0, code)?;
    expect("unchanged", done.to_string(), tally["unchanged"].to_string())?;
    expect("added", (lines - done).to_string(), tally["added"].to_string())?;
    let exported = service.operate(&["subscriptions", "export", "--tenant", "acme"]).await?;
    let file = std::fs::read_to_string(file)?;
    expect("the end state is the file", true, documents(&exported)? == documents(&file)?)
}

fn start(service: &Connect, tenant: &str, file: &Path) -> Step<Process> {
    let file = file.to_str().ok_or("no path")?;
    let import = ["subscriptions", "import", file, "--tenant", tenant, "--json"];
    Process::start_piped(&mut service.command(&import)?)
}

/// Waits until a command ends. Returns its tally, its exit code, and its peak memory in MiB.
async fn finish(mut process: Process) -> Step<(Value, i32, f64)> {
    let id = process.id()?;
    let (finished, peak) = tokio::join!(process.finish(), peak(id));
    let (output, status) = finished?;
    let peak = peak.ok_or("the memory of the command could not be read")?;
    let tally = serde_json::from_str(&output).map_err(|error| process.failure(error))?;
    Ok((tally, status.code().unwrap_or(-1), peak as f64 / 1024.0))
}

/// Returns the peak memory of a process in KiB. The kernel keeps this value. It is read until the process has ended.
async fn peak(id: i32) -> Option<u64> {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let look =
        || procfs::process::Process::new(id).and_then(|process| process.status()).map(|status| status.vmhwm);
    let mut most = None;
    while let Ok(Some(peak)) = look() {
        most = Some(peak);
        looks.tick().await;
    }
    most
}

/// Writes a file of subscriptions.
fn write(path: &Path, lines: u64) -> Step {
    let mut document = demo()?.into_iter().next().ok_or("no demo")?;
    let mut file = BufWriter::new(File::create(path)?);
    for number in 0..lines {
        document["subscriptionId"] =
            Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes()).to_string().into();
        document["referenceId"] = format!("crm-{number}").into();
        writeln!(file, "{document}")?;
    }
    Ok(file.flush()?)
}

/// Parses documents, and returns them by id.
fn documents(lines: &str) -> Step<BTreeMap<String, Value>> {
    let mut documents = BTreeMap::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let document: Value = serde_json::from_str(line)?;
        documents.insert(document["subscriptionId"].to_string(), document);
    }
    Ok(documents)
}
