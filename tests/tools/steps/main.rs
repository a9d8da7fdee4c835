//! Goes through the service step by step, from outside. Each step says what is expected and what was seen; the first that does not go
//! as expected ends the run with `FAILED`, and every process that was started ends with it. `.ci/steps` builds this program and what it
//! goes through.

mod cloud;
mod connect;
mod deployed;
mod engines;
mod import;
mod laptop;
mod openapi;
mod pages;
mod process;
mod smoke;
mod step;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use self::step::Step;

/// Goes through the service step by step, from outside
#[derive(Parser)]
#[command(name = "steps")]
enum Steps {
    /// As a newcomer and an operator meet it, from a shell
    Smoke,
    /// An import of a large file takes no more memory than that of a small one, and goes on after it was interrupted
    Import {
        /// How many lines the large file has: 10,000 or more
        #[arg(default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10_000..))]
        lines: u64,
    },
    /// The requests that Postman and Schemathesis make of the document of the API
    Openapi {
        /// The seeds that Schemathesis begins with
        #[arg(default_values_t = [1, 2, 3, 4, 5])]
        seeds: Vec<u32>,
    },
    /// Suites of the tests on other implementations of the DynamoDB API
    Engines {
        /// More suites, and on two engines
        #[arg(long)]
        all: bool,
    },
    /// The template and the functions' binaries, deployed on one machine
    Deployed {
        /// The binaries that `cargo test` runs, in the place of those in target/lambda
        #[arg(long)]
        debug: bool,
    },
    /// Every event file, under cargo lambda watch
    Laptop,
    /// The pages, in headless Chromium
    Pages {
        /// Where pictures of them are put
        folder: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let steps = Steps::parse();
    // Whichever comes first ends the other, and with it the processes.
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
