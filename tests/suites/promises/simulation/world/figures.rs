//! Figures of a run, which are added up over all runs.

use std::ops::AddAssign;

/// Counters of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    pub requests: usize,
    pub sweeps: usize,
    pub messages: usize,
    pub faults: usize,
    pub deaths: usize,
    pub jumps: usize,
    pub pauses: usize,
    pub changes: usize,
    pub withdrawals: usize,
    pub executions: usize,
    pub events: usize,
    pub replays: usize,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.sweeps += more.sweeps;
        self.messages += more.messages;
        self.faults += more.faults;
        self.deaths += more.deaths;
        self.jumps += more.jumps;
        self.pauses += more.pauses;
        self.changes += more.changes;
        self.withdrawals += more.withdrawals;
        self.executions += more.executions;
        self.events += more.events;
        self.replays += more.replays;
    }
}
