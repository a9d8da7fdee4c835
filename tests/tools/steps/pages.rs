//! The pages that `connect up` serves, in a real browser (headless Chromium).

use std::env;
use std::path::{Path, PathBuf};

use harness::receiver::Receiver;
use rustix::process::Signal;
use serde_json::Value;

use crate::connect::{Connect, command};
use crate::process::Process;
use crate::step::Step;
use crate::tools::{on_path, package, tools};

/// Runs the tests in `tests/tools/pages`. Puts pictures of the pages into `folder`, if it is given.
pub async fn run(folder: Option<&Path>) -> Step {
    let chromium = chromium().await?;
    tools("npm").await?;
    let receiver = Receiver::start();
    let now = ["--memory", "--now", "2026-01-31T22:30:00Z", "--time-zone", "Europe/Stockholm"];
    let service = Connect::start(&[&now[..], &["--webhook", &receiver.url]].concat()).await?;
    // A second console, which only reads.
    let mut console = Process::start_piped(&mut service.command(&["console", "--json"])?)?;
    let link = console.lines()?.next_line().await?.ok_or("the console does not start")?;
    let link: Value = serde_json::from_str(&link)?;
    let mut node = command("node");
    // One file after the other, because they share the service.
    node.args([
        "--test",
        "--test-concurrency=1",
        // A test that waits for what does not come fails, and does not wait for ever.
        "--test-timeout=120000",
        "tests/tools/pages/pages.test.js",
        "tests/tools/pages/console.test.js",
    ])
    .env("CHROMIUM", chromium)
    .env("CONNECT_URL", &service.api)
    .env("CONSOLE_URL", link["consoleUrl"].as_str().ok_or("the console names no link")?)
    .env("SCREENSHOTS", folder.unwrap_or(Path::new("")));
    Process::show(&mut node).await?;
    console.end(Signal::TERM).await?;
    service.stop().await
}

async fn chromium() -> Step<PathBuf> {
    if let Some(chromium) = env::var_os("CHROMIUM") {
        return Ok(chromium.into());
    }
    let names = ["chromium", "chromium-browser", "google-chrome"];
    if let Some(chromium) = on_path(&names) {
        return Ok(chromium);
    }
    package("chromium").await?;
    Ok(on_path(&names).ok_or("chromium is not on the path")?)
}
