//! Standard error: the log, and the line that says why the process failed.

use std::io::{self, Write};
use std::process::ExitCode;

use operator::terminal::{LogLines, Text};
use service::telemetry;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

/// Prints why the process failed; the code to exit with.
pub(crate) fn fail(message: impl Into<Text>, code: u8) -> ExitCode {
    // Without standard error there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{}", message.into());
    ExitCode::from(code)
}

/// Starts the log.
pub(crate) fn log(level: LevelFilter) {
    // The embedded database warns of every condition that fails, and conditions fail by design.
    let filter = telemetry::filter(level).with_target("dynoxide", LevelFilter::ERROR);
    registry().with(fmt::layer().with_writer(|| LogLines(io::stderr()))).with(filter).init();
}
