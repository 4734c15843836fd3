//! What the kernel counted for this cell, read from inside: the engine shows every container its own
//! cgroup, read-only. Both versions; 0 where there is no such file, as under a test.

use std::fs;
use std::path::Path;

use assize_protocol::cgroup_stats;

/// Processes that were killed for memory.
pub fn oom_kills() -> u64 {
    counter(&["/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events"], "oom_kill")
}

/// How often the cell's own memory limit refused it memory; `None` if that cannot be seen. Processes that
/// were killed while it is 0 were killed for what others used.
pub fn memory_limit_hits() -> Option<u64> {
    ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"]
        .iter()
        .find_map(|folder| cgroup_stats::memory_limit_hits(Path::new(folder)))
}

/// Forks that the pids limit refused.
pub fn pids_refused() -> u64 {
    counter(&["/sys/fs/cgroup/pids/pids.events", "/sys/fs/cgroup/pids.events"], "max")
}

/// The number behind `key` in the first of these files that exists.
fn counter(paths: &[&str], key: &str) -> u64 {
    let Some(text) = paths.iter().find_map(|path| fs::read_to_string(path).ok()) else { return 0 };
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}
