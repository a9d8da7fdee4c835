//! A shell into which the commands of a document are pasted.

use std::path::Path;
use std::time::Duration;

use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::process::Process;
use crate::step::Step;

/// Longest time that a command may take.
const LONGEST: Duration = Duration::from_secs(300);

/// A shell that keeps its variables, functions and aliases from one command to the next.
pub struct Shell {
    process: Process,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    folder: TempDir,
    commands: usize,
}

impl Shell {
    /// Starts a shell from the command `bash`. The commands that are pasted read their standard input from a file.
    pub fn start(mut bash: Command, input: &Path) -> Step<Self> {
        let each = r#"shopt -s expand_aliases
            while IFS= read -r file; do . "$file" < "$0" > "$file.printed" 2>&1; echo $?; done"#;
        let mut process = Process::start_piped(bash.args(["--noprofile", "--norc", "-c", each]).arg(input))?;
        let (stdin, lines) = (process.stdin()?, process.lines()?);
        Ok(Self { process, stdin, lines, folder: tempdir()?, commands: 0 })
    }

    /// Runs commands, and returns what they print.
    ///
    /// # Errors
    /// One of them fails.
    pub async fn run(&mut self, commands: &str) -> Step<String> {
        self.commands += 1;
        let file = self.folder.path().join(self.commands.to_string());
        // Every command counts, not only the last one of a block or of a pipe.
        std::fs::write(&file, format!("set -eo pipefail\n{commands}\nset +eo pipefail\n"))?;
        self.stdin.write_all(format!("{}\n", file.display()).as_bytes()).await?;
        let code =
            timeout(LONGEST, self.lines.next_line()).await.map_err(|_| format!("no end: {commands}"))??;
        let printed = std::fs::read_to_string(file.with_extension("printed"))?;
        if code.as_deref() != Some("0") {
            // A command that fails ends the shell.
            return Err(self.process.failure(format!("failed: {commands}\n{printed}")));
        }
        Ok(printed)
    }
}
