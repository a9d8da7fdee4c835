//! A function's share of a processor. Lambda gives each function one in proportion to its memory, and a whole processor with 1,769
//! MB: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
//!
//! A share is a control group of Linux, whose quota is enforced in periods of 20 ms, as on Lambda. A function may use its share at
//! any time within a period, and then stands still until the next one. Making such a group needs rights that a container may lack.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The folders of control groups, of version 1 and of version 2.
const VERSION_1: &str = "/sys/fs/cgroup/cpu";
const VERSION_2: &str = "/sys/fs/cgroup";

/// Memory with which a function has a whole processor, in MB.
const OF_A_PROCESSOR: u32 = 1_769;
/// Length of a period, in microseconds.
const PERIOD: u32 = 20_000;

/// A share of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// No limit.
    Whole,
    /// The share of a function with this memory, in MB.
    Memory(u32),
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => formatter.write_str("no limit"),
            Self::Memory(memory) => write!(formatter, "{memory} MB"),
        }
    }
}

/// A group of processes that share one share.
pub struct Group {
    folder: Option<PathBuf>,
}

impl Group {
    /// Makes a group with this share.
    ///
    /// # Errors
    /// The machine has no control groups for processors, or lets this process make none.
    pub fn new(share: Share) -> io::Result<Self> {
        let Share::Memory(memory) = share else { return Ok(Self { folder: None }) };
        let quota = memory * PERIOD / OF_A_PROCESSOR;
        let name = format!("bench-{}", Uuid::new_v4());
        let (folder, settings) = if Path::new(VERSION_1).join("cpu.cfs_quota_us").exists() {
            let settings =
                [("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
            (Path::new(VERSION_1).join(name), settings.to_vec())
        } else {
            (Path::new(VERSION_2).join(name), vec![("cpu.max", format!("{quota} {PERIOD}"))])
        };
        fs::create_dir(&folder)?;
        let group = Self { folder: Some(folder.clone()) };
        for (file, setting) in settings {
            fs::write(folder.join(file), setting)?;
        }
        Ok(group)
    }

    /// Moves a process into the group.
    pub fn add(&self, process: u32) {
        if let Some(folder) = &self.folder {
            fs::write(folder.join("cgroup.procs"), process.to_string()).unwrap();
        }
    }
}

impl Drop for Group {
    /// Removes the group. Its processes have ended, or it stays.
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}
