//! A function as a process, and its measurements: times, processor time and memory.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::lambda;
use procfs::process;
use serde_json::Value;

use crate::share::{Group, Share};

/// Longest duration of an invocation: Lambda ends it after 15 minutes at the latest.
const LONGEST: Duration = Duration::from_secs(900);

/// A process that waits for events.
pub struct Function {
    function: lambda::Function,
    _group: Group,
    /// Time from the start of the process until it asked for an event.
    pub ready: Duration,
    /// Time from the start of the process until it had answered the first event.
    pub first_answer: Duration,
}

/// The answer to one event.
pub struct Answer {
    /// Value that the function returned.
    pub value: Value,
    /// Time from handing out the event to the answer.
    pub after: Duration,
}

impl Function {
    /// Starts a function, gives it its first event, and returns the answer, too. Lambda does not limit a function that starts, so
    /// it has its share from its first event on. Its log is what `stdout` gets.
    pub async fn start(
        bootstrap: &Path,
        variables: &[(&str, &str)],
        share: Share,
        stdout: Stdio,
        first_event: &Value,
    ) -> (Self, Value) {
        let variables = [&[("PATH", "/usr/local/bin:/usr/bin:/bin")], variables].concat();
        let mut function = lambda::Function::spawn(bootstrap, &variables, stdout, LONGEST).await;
        let ready = function.ready().await;
        let group = Group::new(share).unwrap_or_else(|error| panic!("{share}: {error}"));
        group.add(function.id());
        function.give(first_event);
        let first = function.answer().await;
        let first_answer = ready + first.after;
        (Self { function, _group: group, ready, first_answer }, returned(first.outcome))
    }

    /// Gives the function one event, and waits for the answer.
    pub async fn invoke(&mut self, event: &Value) -> Answer {
        self.function.give(event);
        let lambda::Answer { outcome, after } = self.function.answer().await;
        Answer { value: returned(outcome), after }
    }

    /// Returns the processor time used so far, in user and kernel mode, by the threads that there are.
    pub fn processor_time(&self) -> Duration {
        let threads = self.status().tasks().unwrap();
        let used = threads.map(|thread| thread.unwrap().schedstat().unwrap().sum_exec_runtime);
        Duration::from_nanos(used.sum())
    }

    /// Returns the peak memory so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status().status().unwrap().vmhwm.unwrap() * 1024
    }

    fn status(&self) -> process::Process {
        process::Process::new(self.function.id().try_into().unwrap()).unwrap()
    }

    /// Asks the process to end, and waits until it has.
    pub async fn end(self) {
        self.function.end().await;
    }

    /// Kills the process.
    pub async fn stop(self) {
        self.function.kill().await;
    }
}

/// Returns the value of an outcome. Panics if it is an error, because such a function is not worth measuring.
fn returned(outcome: Result<Value, Value>) -> Value {
    outcome.unwrap_or_else(|error| panic!("the function has reported an error: {error}"))
}
