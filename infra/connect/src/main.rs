//! The command line of Connect Subscriptions: its parser, log, signals and exit codes.
//!
//! The service on one machine is in `local`, the commands are in `operator`. This crate has the parts that only a process needs.

mod aws;
mod command_line;
mod console;
mod help;
mod operate;
mod output;
mod pager;
mod profile;
mod serve;
mod signals;
mod usage;

use std::process::ExitCode;

use clap::Parser;
use local::up;

use self::command_line::{Command, CommandLine};
use self::console::console;
use self::operate::operate;
use self::output::fail;
use self::serve::serve;
use self::usage::usage;

fn main() -> ExitCode {
    match profile::apply() {
        Ok(None) => {}
        Ok(Some(code)) => return code,
        Err(error) => return fail(format!("error: {error}"), 2),
    }
    let CommandLine { command, global } = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) if error.use_stderr() => return fail(usage(&error), 2),
        Err(help) => help.exit(),
    };
    match command {
        Some(Command::Operate(command)) => operate(command, global),
        Some(Command::Up(options)) => serve(*options, global),
        Some(Command::Console(options)) => console(&options, global),
        Some(Command::Completions { shell }) => help::completions(shell),
        Some(Command::Man { folder }) => help::man(&folder),
        // `connect` alone means `connect up` with every option at its default.
        None => serve(up::defaults(), global),
    }
}
