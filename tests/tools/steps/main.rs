//! Tests the service from outside, step by step. Each step prints what was expected and seen. The first step that fails ends
//! the run with `FAILED`, and every process that was started ends with it. `.ci/steps` builds this program and the programs
//! that it tests.

mod cloud;
mod connect;
mod deployed;
mod documents;
mod engines;
mod import;
mod laptop;
mod openapi;
mod pages;
mod process;
mod runbook;
mod shell;
mod smoke;
mod step;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use self::step::Step;

/// Test the service from outside, step by step
#[derive(Parser)]
#[command(name = "steps")]
enum Steps {
    /// Test the service as a newcomer and an operator use it, from a shell
    Smoke,
    /// Test that the import of a large file takes no more memory than that of a small one, and continues after an interruption
    Import {
        /// Lines of the large file: 10,000 or more
        #[arg(default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10_000..))]
        lines: u64,
    },
    /// Send the requests that Postman and Schemathesis derive from the document of the API
    Openapi {
        /// Seeds for Schemathesis, one run for each
        #[arg(default_values_t = [1, 2, 3, 4, 5])]
        seeds: Vec<u32>,
    },
    /// Run test suites on other implementations of the DynamoDB API
    Engines {
        /// Run more suites, and on two engines
        #[arg(long)]
        all: bool,
    },
    /// Deploy the template and the functions' binaries on one machine, and test them there
    Deployed {
        /// Use the binaries that `cargo test` runs, instead of those in target/lambda
        #[arg(long)]
        debug: bool,
    },
    /// Invoke the functions with every event file, under cargo lambda watch
    Laptop,
    /// Run the commands in the documents, as a reader pastes them
    Documents {
        /// Documents to run instead of all
        documents: Vec<PathBuf>,
    },
    /// Test the pages in headless Chromium
    Pages {
        /// Folder for pictures of the pages
        folder: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let steps = Steps::parse();
    // The one that finishes first ends the other, and all processes with it.
    let outcome = tokio::select! {
        outcome = go(steps) => outcome,
        outcome = interrupted() => outcome,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("FAILED {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn go(steps: Steps) -> Step {
    match steps {
        Steps::Smoke => smoke::run().await,
        Steps::Import { lines } => import::run(lines).await,
        Steps::Openapi { seeds } => openapi::run(&seeds).await,
        Steps::Engines { all } => engines::run(all).await,
        Steps::Deployed { debug } => deployed::run(debug).await,
        Steps::Laptop => laptop::run().await,
        Steps::Documents { documents } => documents::run(&documents).await,
        Steps::Pages { folder } => pages::run(folder.as_deref()).await,
    }
}

/// Waits until this program is told to end (SIGINT, SIGTERM).
async fn interrupted() -> Step {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Err("interrupted".into())
}
