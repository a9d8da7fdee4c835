//! Suites that run on the embedded database, on other implementations of the DynamoDB API: Amazon's DynamoDB Local, and MiniStack's.

use std::env;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::connect::binary;
use crate::step::Step;
use crate::tools::{self, tools};

/// Runs the API, idempotency and execution on DynamoDB Local; `all` also runs faults, publishing and the operator's commands, and all of
/// them on MiniStack.
pub async fn run(all: bool) -> Step {
    let emulator = tools("dynamodb-local").await?;
    let ministack = if all { Some(tools("ministack").await?) } else { None };
    let mut suites = "binary(service) & test(/^(api|execution|idempotency)::/)".to_owned();
    if all {
        suites +=
            " | binary(service) & test(/^(faults|publishing)::/) | binary(connect) & test(/^operate::/)";
    }
    if env::var_os("ISOLATED").is_none() {
        nextest(&suites, &["--no-run"], None).await?;
        // DynamoDB Local listens on every interface. Where it is allowed to, this gives it a network in which there is only the
        // loopback.
        let mut probe = Command::new("unshare");
        probe.args(["--net", "ip", "link", "set", "lo", "up"]).stderr(Stdio::null());
        if probe.status().await.is_ok_and(|status| status.success()) {
            let mut again = Command::new("unshare");
            again
                .arg("--net")
                .arg(binary()?.with_file_name("steps"))
                .args(env::args().skip(1))
                .env("ISOLATED", "yes");
            return tools::run(&mut again).await;
        }
    } else {
        tools::run(Command::new("ip").args(["link", "set", "lo", "up"])).await?;
    }

    let port = free_port()?;
    let mut java = Command::new("java");
    java.arg(format!("-Djava.library.path={}", emulator.join("DynamoDBLocal_lib").display()))
        .arg("-jar")
        .arg(emulator.join("DynamoDBLocal.jar"))
        .args(["-inMemory", "-port", &port.to_string()]);
    on("DynamoDB Local", java, port, &suites).await?;
    if let Some(ministack) = ministack {
        let port = free_port()?;
        let mut command = Command::new(ministack.join("ministack"));
        command.env("GATEWAY_PORT", port.to_string()).env("BIND_HOST", "127.0.0.1");
        command.env("IOT_MTLS_ENABLED", "false");
        on("MiniStack", command, port, &suites).await?;
    }
    Ok(())
}

/// Runs the suites on an engine that this command starts, once it answers.
async fn on(name: &str, mut command: Command, port: u16, suites: &str) -> Step {
    // In a folder of its own, as DynamoDB Local leaves a file behind where it runs.
    let folder = tempfile::tempdir()?;
    let log = std::fs::File::create(folder.path().join("log"))?;
    command.current_dir(folder.path()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    let mut engine = command.spawn()?;
    let url = format!("http://127.0.0.1:{port}");
    answers(&mut engine, &url, &folder).await?;
    println!("\n--- on {name}");
    nextest(suites, &["--offline"], Some(&url)).await?;
    Ok(engine.kill().await?)
}

/// Waits until the engine answers anything.
async fn answers(engine: &mut Child, url: &str, folder: &TempDir) -> Step {
    for _ in 0..600 {
        if reqwest::get(url).await.is_ok() {
            return Ok(());
        }
        if engine.try_wait()?.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(std::fs::read_to_string(folder.path().join("log"))?.into())
}

async fn nextest(suites: &str, options: &[&str], endpoint: Option<&str>) -> Step {
    let cargo = tools("cargo").await?;
    let mut command = Command::new("cargo");
    command
        .args(["nextest", "run", "--workspace", "--cargo-quiet", "--locked", "--filterset", suites])
        .args(options)
        .env("PATH", tools::before_path(&cargo)?);
    if let Some(endpoint) = endpoint {
        command.env("DYNAMODB_ENDPOINT", endpoint);
    }
    tools::run(&mut command).await
}

/// A port that nobody listens on.
pub fn free_port() -> Step<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
