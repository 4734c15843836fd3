//! The limits of one cell.

use serde::{Deserialize, Serialize};

/// The limits of one cell. The kernel enforces each limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellLimits {
    /// CPUs' worth of time.
    pub cpus: f64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Processes and threads, the warden included.
    pub pids: u64,
    /// Size of `/workspace` in MiB.
    pub workspace_mib: u64,
    /// Files and folders in `/workspace`.
    pub workspace_inodes: u64,
    /// Size of `/tmp` in MiB.
    pub tmp_mib: u64,
}

impl CellLimits {
    /// Checks that each limit lies in the range that an engine can enforce. `name` is the key that holds the limits.
    ///
    /// # Errors
    /// Names the key, the value and the range.
    pub fn check(&self, name: &str) -> Result<(), String> {
        let ranges = [
            ("memory_mib", self.memory_mib, 16, 1 << 20),
            ("pids", self.pids, 4, 32_768),
            ("workspace_mib", self.workspace_mib, 1, 1 << 20),
            ("workspace_inodes", self.workspace_inodes, 16, 10_000_000),
            ("tmp_mib", self.tmp_mib, 1, 1 << 20),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(format!("{name}.{key} is {value}, it must be {least} to {most}"));
            }
        }
        if !(0.05..=256.0).contains(&self.cpus) {
            return Err(format!("{name}.cpus is {}, it must be 0.05 to 256", self.cpus));
        }
        Ok(())
    }
}
