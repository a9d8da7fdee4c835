//! Standard error: the log, and the error of the process.

use std::io::{self, Write};
use std::process::ExitCode;

use operator::terminal::{LogLines, Text};
use service::telemetry;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

/// Prints the error of the process. Returns the exit code.
pub(crate) fn fail(message: impl Into<Text>, code: u8) -> ExitCode {
    // If standard error is closed, the error can't be reported.
    let _ = writeln!(io::stderr(), "{}", message.into());
    ExitCode::from(code)
}

/// Starts the log.
pub(crate) fn log(level: LevelFilter) {
    // The embedded database warns of every condition that fails, and conditions fail by design.
    let filter = telemetry::filter(level).with_target("dynoxide", LevelFilter::ERROR);
    registry().with(fmt::layer().with_writer(|| LogLines(io::stderr()))).with(filter).init();
}
