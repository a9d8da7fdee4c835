//! Measures the functions of Connect Subscriptions, and alternatives to them. `run` builds and measures all.

mod batch;
mod bill;
mod contestants;
mod engine;
mod function;
mod functions;
mod lag;
mod once;
mod profile;
mod report;
mod scale;
mod share;
mod subscriptions;
mod webhooks;

use std::path::PathBuf;
use std::process::Command;

use ::service::clock::Clock;
use clap::{Parser, Subcommand};

use crate::contestants::Contestant;
use crate::functions::Amount;
use crate::report::Section;

#[derive(Parser)]
struct Arguments {
    /// Folder of the contestants, as `run` builds them
    #[arg(long)]
    contestants: PathBuf,
    /// Document that the tables are written into
    #[arg(long, requires = "measured")]
    into: Option<PathBuf>,
    /// When, where and with what is measured, for the document
    #[arg(long)]
    measured: Option<String>,
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Measure {
    /// Cold starts and warm cancellations
    Functions(Amount),
    /// The whole bill of a million of each operation
    Bill,
    /// The price of an idempotency key, and of callers who meet
    Once,
    /// Many cancellations by one command, beside their transactions alone
    Batch,
    /// Delay of the history on one machine
    Lag,
    /// Deliveries to webhooks, with and without a receiver that never answers
    Webhooks,
    /// Instructions of the SDK by part, and ours by crate
    Profile,
    /// Many subscriptions, and many cancellations due at once
    Scale(scale::Amount),
    /// Time that ten million due at once take on AWS, by arithmetic
    Estimate,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let contestants = Contestant::all(&arguments.contestants);
    let ours = || contestants.first().expect("no functions are built");
    let now = Clock::system().now();
    let sections = match arguments.measure {
        Measure::Functions(amount) => functions::measure(&contestants, &amount, now).await,
        Measure::Bill => bill::measure(&contestants, now).await,
        Measure::Once => once::measure(ours(), now).await,
        Measure::Batch => batch::measure(now).await,
        Measure::Lag => lag::measure().await,
        Measure::Webhooks => webhooks::measure().await,
        Measure::Profile => profile::measure(&contestants, now).await,
        Measure::Scale(amount) => {
            let updates = arguments.contestants.join("updates/bootstrap");
            scale::measure(ours(), &updates, &amount, now).await
        }
        Measure::Estimate => {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/estimate.py");
            let estimated = Command::new(script).output().expect(script);
            vec![Section::new("estimate", String::from_utf8(estimated.stdout).unwrap().trim_end())]
        }
    };
    for section in sections {
        section.print();
        if let (Some(document), Some(measured)) = (&arguments.into, &arguments.measured) {
            section.write_into(document, measured);
        }
    }
}
