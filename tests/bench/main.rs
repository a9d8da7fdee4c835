//! Measures the functions of Connect Subscriptions, and alternatives to them. `run` builds and measures all.

mod contestants;
mod engine;
mod function;
mod functions;
mod report;
mod scale;
mod subscriptions;
mod units;

use std::path::PathBuf;

use ::service::clock::Clock;
use clap::{Parser, Subcommand};

use crate::contestants::Contestant;
use crate::functions::Amount;

#[derive(Parser)]
struct Arguments {
    /// Folder of the contestants, as `run` builds them
    #[arg(long)]
    contestants: PathBuf,
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Measure {
    /// Cold starts and warm cancellations
    Functions(Amount),
    /// Requests and capacity units of each operation
    Units,
    /// Many subscriptions, and many cancellations due at once
    Scale(scale::Amount),
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let contestants = Contestant::all(&arguments.contestants);
    let now = Clock::system().now();
    match arguments.measure {
        Measure::Functions(amount) => {
            functions::measure(&contestants, amount, now).await;
        }
        Measure::Units => units::measure(&contestants, now).await,
        Measure::Scale(amount) => {
            let ours = contestants.first().expect("no functions are built");
            let updates = arguments.contestants.join("updates/bootstrap");
            scale::measure(ours, &updates, &amount, now).await;
        }
    }
}
