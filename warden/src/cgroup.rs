//! Counters that the kernel keeps for this cell, read from inside: the engine mounts every container's own cgroup
//! read-only. The module reads both versions of cgroups; a counter without a file, as in a test, is 0.

use std::fs;
use std::path::Path;

use assize_protocol::cgroup_stats;

/// Processes that the kernel killed for memory.
pub fn oom_kills() -> u64 {
    counter(&["/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events"], "oom_kill")
}

/// How often the cell's own memory limit refused memory; `None` if the kernel does not show it. If the count is 0, the
/// kernel killed processes for memory that other cells used.
pub fn memory_limit_hits() -> Option<u64> {
    ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"]
        .iter()
        .find_map(|folder| cgroup_stats::memory_limit_hits(Path::new(folder)))
}

/// Forks that the limit of processes refused.
pub fn pids_refused() -> u64 {
    counter(&["/sys/fs/cgroup/pids/pids.events", "/sys/fs/cgroup/pids.events"], "max")
}

/// The number behind `key` in the first of these files that exists.
fn counter(paths: &[&str], key: &str) -> u64 {
    let Some(text) = paths.iter().find_map(|path| fs::read_to_string(path).ok()) else { return 0 };
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}
