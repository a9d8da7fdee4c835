//! The document of the API as other tools use it: linted, imported into Postman, and read by Schemathesis, which generates
//! valid and invalid requests and sequences of them. All checks of Schemathesis are on.

use crate::connect::{Connect, command};
use crate::process::Process;
use crate::step::{Step, expect};
use crate::tools::tools;
use std::collections::BTreeMap;

/// Options of the service. Its clock begins at 1970, so that every date is in the future.
const OPTIONS: [&str; 3] = ["--memory", "--now", "1970-01-01T00:00:00Z"];

/// Runs all of these, Schemathesis with each of these seeds.
pub async fn run(seeds: &[u32]) -> Step {
    let npm = tools("npm").await?;
    let mut lint = command(npm.join("redocly"));
    lint.args(["lint", "--config", ".redocly.yaml", "infra/openapi.yaml"]).env("REDOCLY_TELEMETRY", "off");
    Process::show(&mut lint).await?;

    let service = Connect::start(&OPTIONS).await?;
    let mut postman = command("node");
    postman.args(["--test", "tests/tools/openapi/postman.test.js"]);
    postman.env("CONNECT_URL", &service.api).env("API_KEY", &service.key);
    Process::show(&mut postman).await.map_err(|failure| service.failure(failure))?;
    service.stop().await?;

    let mut cases = 0;
    for seed in seeds {
        cases += schemathesis(*seed, &[]).await?;
        // By itself, it generates few invalid cases, and a refused request has no successors.
        cases += schemathesis(*seed, &["--mode", "negative", "--phases", "coverage,fuzzing"]).await?;
    }
    let seeds: Vec<_> = seeds.iter().map(ToString::to_string).collect();
    println!("{cases} cases generated and passed, with the seeds {}", seeds.join(" "));
    if seeds.len() >= 5 { expect("at least 5000 cases", true, cases >= 5_000) } else { Ok(()) }
}

/// Has Schemathesis generate requests, and send them to a new service. Returns the number of cases that passed.
async fn schemathesis(seed: u32, options: &[&str]) -> Step<u64> {
    let service = Connect::start(&OPTIONS).await?;
    // An empty folder: otherwise Schemathesis would first try the examples of earlier runs.
    let learned = tempfile::tempdir()?;
    let mut schemathesis = command(tools("openapi").await?.join("schemathesis"));
    schemathesis
        .args(["--config-file", "tests/tools/openapi/schemathesis.toml", "run", "infra/openapi.yaml"])
        .args(["--url", &service.api, "--header", &format!("X-Api-Key: {}", service.key)])
        .args(["--seed", &seed.to_string()])
        .args(options)
        .env("HYPOTHESIS_STORAGE_DIRECTORY", learned.path());
    let mut process = Process::start_piped(&mut schemathesis)?;
    let mut lines = process.lines()?;
    let mut passed = None;
    while let Some(line) = lines.next_line().await? {
        println!("{line}");
        passed = passed.or_else(|| cases(&line));
    }
    let (_, status) = process.finish().await?;
    if !status.success() {
        return Err(service.failure(process.failure(status)));
    }
    println!("Outcomes of the requests:");
    for (outcome, count) in outcomes(&service.log()?) {
        println!("{count:7} {outcome}");
    }
    service.stop().await?;
    Ok(passed.ok_or("Schemathesis has not run any case")?)
}

/// Returns the number of cases in a line such as `  1023 generated, 1023 passed`, if all have passed.
fn cases(line: &str) -> Option<u64> {
    let (generated, rest) = line.trim().split_once(" generated, ")?;
    let (passed, _) = rest.split_once(" passed")?;
    (generated == passed).then(|| passed.parse().ok()).flatten()
}

/// Counts the outcomes in the log.
fn outcomes(log: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for part in log.split("outcome=\"").skip(1) {
        *counts.entry(part.split('"').next().unwrap_or_default()).or_default() += 1;
    }
    counts
}
