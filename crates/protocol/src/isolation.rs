//! The walls of a cell: what a probe is told to try from inside, and what it says of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a cell was promised to hold. What every cell is denied is always tried; a wall that is `None` or
/// empty is not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedIsolation {
    /// Processes and threads in the cell.
    pub pids: Option<u64>,
    pub memory_mib: Option<u64>,
    pub workspace_bytes: Option<u64>,
    pub workspace_inodes: Option<u64>,
    pub tmp_bytes: Option<u64>,
    /// Of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// CPUs' worth of time.
    pub cpus: Option<f64>,
    /// The processors that it must be bound to, as the kernel writes them; empty: any.
    pub processors: String,
    /// Open files per process.
    pub nofile: Option<u64>,
    /// Bytes of one file, whatever it lies on.
    pub fsize: Option<u64>,
    /// Bytes of a core file.
    pub core: Option<u64>,
    /// Bytes that a process may lock in memory.
    pub memlock: Option<u64>,
    /// Bytes in POSIX message queues.
    pub msgqueue: Option<u64>,
    /// Paths that must be missing or empty.
    pub masked: Vec<String>,
    /// Paths that must not be written to.
    pub read_only: Vec<String>,
    /// The host's namespaces, by the names in `/proc/self/ns`: the cell's must be others.
    pub host_namespaces: BTreeMap<String, String>,
    /// The AppArmor profile that must be enforced.
    pub apparmor: Option<String>,
    /// The folders beneath which stages may write; the grader's is none of them.
    #[serde(default)]
    pub writable: Vec<String>,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationCheck {
    pub check: String,
    /// Whether the cell holds what was promised.
    pub ok: bool,
    /// What was seen, with units.
    pub seen: String,
    /// What it was compared with.
    pub limit: String,
    /// The host's kernel has nothing to hold it with: that is said, and refused to nobody.
    #[serde(default)]
    pub unavailable: bool,
}

impl IsolationCheck {
    /// A finding of `check`.
    pub fn new(check: &str, ok: bool, seen: impl Into<String>, limit: impl Into<String>) -> Self {
        Self { check: check.to_owned(), ok, seen: seen.into(), limit: limit.into(), unavailable: false }
    }
}
