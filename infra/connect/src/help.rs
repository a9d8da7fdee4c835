//! The command line for shells and for `man`, made from the parser itself.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::command_line::CommandLine;
use crate::output::fail;

/// The name of the binary.
const NAME: &str = "connect";

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), NAME, &mut script);
    match io::stdout().write_all(&script) {
        // The reader, such as `head`, has stopped early.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(format!("error: cannot print: {error}"), 1)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Writes a man page for each command into a folder.
pub(crate) fn man(folder: &Path) -> ExitCode {
    let written = fs::create_dir_all(folder).and_then(|()| {
        clap_mangen::generate_to(CommandLine::command().disable_help_subcommand(true), folder)
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("error: cannot write to {}: {error}", folder.display()), 1),
    }
}
