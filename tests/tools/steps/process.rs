//! Processes that end when their value is dropped: on success, on failure, and when this program is interrupted. Everything
//! that such a process has started ends with it. A process that does not end on SIGTERM is killed.

use std::ffi::OsStr;
use std::fmt::Display;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::step::{Failure, Step, eventually};

/// Longest time that a process may take to end after a signal.
const LONGEST_END: Duration = Duration::from_secs(30);
/// Number of lines of a log that a failure shows.
const LAST_LINES: usize = 40;

/// A running process, which leads a process group of its own.
pub struct Process {
    name: String,
    child: Child,
    log: NamedTempFile,
}

impl Process {
    /// Starts a process whose output goes into its log.
    pub fn start(command: &mut Command) -> Step<Self> {
        let log = NamedTempFile::new()?;
        let output = log.reopen()?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Self::spawn(command, log)
    }

    /// Starts a process with pipes to its standard input and output. Its standard error goes into its log.
    pub fn start_piped(command: &mut Command) -> Step<Self> {
        let log = NamedTempFile::new()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.reopen()?);
        Self::spawn(command, log)
    }

    /// Runs a command to its end. Its output is for people.
    ///
    /// # Errors
    /// The command fails.
    pub async fn show(command: &mut Command) -> Step {
        let mut process = Self::spawn(command.stdin(Stdio::null()), NamedTempFile::new()?)?;
        let status = process.child.wait().await?;
        if status.success() { Ok(()) } else { Err(process.failure(status)) }
    }

    /// Runs a command to its end, and returns its standard output.
    ///
    /// # Errors
    /// The command fails.
    pub async fn output(command: &mut Command) -> Step<String> {
        let mut process = Self::start_piped(command)?;
        let (output, status) = process.finish().await?;
        if status.success() { Ok(output) } else { Err(process.failure(format!("{status}: {output}"))) }
    }

    fn spawn(command: &mut Command, log: NamedTempFile) -> Step<Self> {
        let words = [command.as_std().get_program()].into_iter().chain(command.as_std().get_args());
        let name = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
        let child = command.process_group(0).spawn().map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { name, child, log })
    }

    /// Waits until the process is ready, for at most so many seconds, and only while it runs.
    pub async fn ready(&mut self, what: &str, seconds: u64, mut is_ready: impl AsyncFnMut() -> bool) -> Step {
        let look = async || match self.child.try_wait()? {
            Some(status) => Err(format!("{what}: {status}").into()),
            None => Ok(is_ready().await),
        };
        let outcome = eventually(what, true, seconds, look).await;
        outcome.map_err(|failure| self.failure(failure))
    }

    /// Returns the id of the process.
    pub fn id(&self) -> Step<i32> {
        Ok(self.child.id().ok_or_else(|| self.failure("the process has ended"))?.try_into()?)
    }

    /// Returns the standard input of the process, once.
    pub fn stdin(&mut self) -> Step<ChildStdin> {
        Ok(self.child.stdin.take().ok_or("the standard input is not available")?)
    }

    /// Returns the standard output of the process, once.
    pub fn stdout(&mut self) -> Step<ChildStdout> {
        Ok(self.child.stdout.take().ok_or("the standard output is not available")?)
    }

    /// Returns the lines of the standard output of the process, once.
    pub fn lines(&mut self) -> Step<Lines<BufReader<ChildStdout>>> {
        Ok(BufReader::new(self.stdout()?).lines())
    }

    /// Closes the standard input of the process, and waits for its end without a limit of time. Returns the rest of its
    /// standard output, and its exit status.
    pub async fn finish(&mut self) -> Step<(String, ExitStatus)> {
        drop(self.child.stdin.take());
        let mut output = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_string(&mut output).await?;
        }
        Ok((output, self.child.wait().await?))
    }

    /// Sends a signal to the process and its group.
    pub fn signal(&self, signal: Signal) -> Step {
        Ok(kill_process_group(Pid::from_raw(self.id()?).ok_or("no process")?, signal)?)
    }

    /// Sends a signal to the process and its group, and waits for its end. Returns its exit status.
    pub async fn end(&mut self, signal: Signal) -> Step<ExitStatus> {
        self.signal(signal)?;
        match timeout(LONGEST_END, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => Err(self.failure("the process does not end")),
        }
    }

    /// Returns the log so far.
    pub fn log(&self) -> Step<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.log.path())?).into_owned())
    }

    /// Returns a failure in which the process had a part, with the end of its log.
    pub fn failure(&self, why: impl Display) -> Failure {
        let log = self.log().unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n");
        if last.is_empty() {
            format!("{why}, by {}", self.name).into()
        } else {
            format!("{why}\n--- the end of the log of {}\n{last}", self.name).into()
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) else { return };
        // The process may have ended since its id was read.
        let _ = kill_process_group(group, Signal::TERM);
        let end = Instant::now() + LONGEST_END;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = kill_process_group(group, Signal::KILL);
    }
}
