//! A function as a process, and its measurements: times, processor time and memory.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::lambda;
use procfs::process;
use serde_json::Value;

/// Longest duration of an invocation: Lambda ends it after 15 minutes at the latest.
const LONGEST: Duration = Duration::from_secs(900);

/// A process that waits for events.
pub struct Function {
    function: lambda::Function,
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
    /// Starts a function, gives it its first event, and returns the answer, too.
    pub async fn start(bootstrap: &Path, variables: &[(&str, &str)], first_event: &Value) -> (Self, Value) {
        let variables = [&[("PATH", "/usr/local/bin:/usr/bin:/bin")], variables].concat();
        let mut function = lambda::Function::spawn(bootstrap, &variables, Stdio::null(), LONGEST).await;
        function.give(first_event);
        let first = function.answer().await;
        let (spawned, ready) = function.started();
        (Self { function, ready, first_answer: first.at - spawned }, returned(first.outcome))
    }

    /// Gives the function one event, and waits for the answer.
    pub async fn invoke(&mut self, event: &Value) -> Answer {
        self.function.give(event);
        let lambda::Answer { outcome, after, .. } = self.function.answer().await;
        Answer { value: returned(outcome), after }
    }

    /// Returns the processor time used so far, in user and kernel mode.
    pub fn processor_time(&self) -> Duration {
        let stat = self.status().stat().unwrap();
        let ticks = stat.utime + stat.stime;
        Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64)
    }

    /// Returns the peak memory so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status().status().unwrap().vmhwm.unwrap() * 1024
    }

    fn status(&self) -> process::Process {
        process::Process::new(self.function.id().try_into().unwrap()).unwrap()
    }

    /// Ends the process.
    pub async fn stop(self) {
        self.function.kill().await;
    }
}

/// Returns the value of an outcome. Panics if it is an error, because such a function is not worth measuring.
fn returned(outcome: Result<Value, Value>) -> Value {
    outcome.unwrap_or_else(|error| panic!("the function has reported an error: {error}"))
}
