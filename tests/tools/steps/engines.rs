//! Test suites on other implementations of the DynamoDB API: Amazon's DynamoDB Local, and MiniStack's. Otherwise they run on
//! the embedded database.

use std::env;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use tokio::process::Command;

use crate::connect::command;
use crate::process::Process;
use crate::step::Step;
use crate::tools::{before_path, tools};

/// Runs the suites on the API, idempotency and execution on DynamoDB Local. With `all`, also those on faults, publishing,
/// webhooks and the operator's commands, and all of them on MiniStack as well.
pub async fn run(all: bool) -> Step {
    let emulator = tools("dynamodb-local").await?;
    let ministack = if all { Some(tools("ministack").await?) } else { None };
    let mut suites = vec!["binary(service) & test(/^(api|execution|idempotency)::/)"];
    if all {
        suites.push("binary(service) & test(/^(faults|publishing|webhooks)::/)");
        suites.push("binary(connect) & test(/^operate::/) - test(/^operate::subscriptions::/)");
        suites.push("binary(connect) & test(/^operate::subscriptions::/)");
    }
    if env::var_os("ISOLATED").is_none() {
        nextest(&suites.join(" | "), &["--no-run"], None).await?;
        // DynamoDB Local listens on every interface. If possible, this gives it a network that has only the loopback interface.
        let mut probe = command("unshare");
        probe.args(["--net", "ip", "link", "set", "lo", "up"]).stderr(Stdio::null());
        if probe.status().await.is_ok_and(|status| status.success()) {
            let mut again = std::process::Command::new("unshare");
            again.arg("--net").arg(env::current_exe()?).args(env::args().skip(1)).env("ISOLATED", "yes");
            // `exec` replaces this process, and returns only on an error.
            return Err(again.exec().into());
        }
    } else {
        Process::show(command("ip").args(["link", "set", "lo", "up"])).await?;
    }

    // Each in a new engine. A test leaves its tables behind, and DynamoDB Local takes the longer for an index the more tables it
    // has: seconds with a hundred, minutes with some hundreds.
    for suite in &suites {
        let port = free_port()?;
        let mut java = command("java");
        java.arg(format!("-Djava.library.path={}", emulator.join("DynamoDBLocal_lib").display()))
            .arg("-jar")
            .arg(emulator.join("DynamoDBLocal.jar"))
            .args(["-inMemory", "-port", &port.to_string()]);
        on("DynamoDB Local", java, port, suite).await?;
    }
    if let Some(ministack) = ministack {
        let port = free_port()?;
        let mut ministack = command(ministack.join("ministack"));
        ministack.env("GATEWAY_PORT", port.to_string()).env("BIND_HOST", "127.0.0.1");
        ministack.env("IOT_MTLS_ENABLED", "false");
        on("MiniStack", ministack, port, &suites.join(" | ")).await?;
    }
    Ok(())
}

/// Starts an engine by this command, and runs these suites on it once it answers.
async fn on(name: &str, mut command: Command, port: u16, suites: &str) -> Step {
    println!("\n--- on {name}");
    // The engine runs in a folder of its own, because DynamoDB Local leaves a file behind.
    let folder = tempfile::tempdir()?;
    let mut engine = Process::start(command.current_dir(folder.path()))?;
    let url = format!("http://127.0.0.1:{port}");
    let is_ready = async || reqwest::get(&url).await.is_ok();
    engine.ready(&format!("{name} answers"), 60, is_ready).await?;
    nextest(suites, &["--offline"], Some(&url)).await
}

async fn nextest(suites: &str, options: &[&str], endpoint: Option<&str>) -> Step {
    let cargo = tools("cargo").await?;
    let mut nextest = command("cargo");
    nextest
        .args(["nextest", "run", "--workspace", "--cargo-quiet", "--locked", "--filterset", suites])
        .args(options)
        .env("PATH", before_path(&cargo)?);
    if let Some(endpoint) = endpoint {
        nextest.env("DYNAMODB_ENDPOINT", endpoint);
    }
    Process::show(&mut nextest).await
}

/// Returns a port that no process listens on.
pub fn free_port() -> Step<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
