//! The isolation of a cell: the limits and denials that a probe must try from inside, and the result of each check.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The isolation that a cell must have. The probe always tries what every cell is denied; it skips a limit that is
/// `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedIsolation {
    /// Processes and threads in the cell.
    pub pids: Option<u64>,
    /// Memory of the cell, in MiB.
    pub memory_mib: Option<u64>,
    /// Size of `/workspace`, in bytes.
    pub workspace_bytes: Option<u64>,
    /// Files and folders of `/workspace`.
    pub workspace_inodes: Option<u64>,
    /// Size of `/tmp`, in bytes.
    pub tmp_bytes: Option<u64>,
    /// Size of `/dev/shm`, in bytes.
    pub shm_bytes: Option<u64>,
    /// CPUs' worth of time.
    pub cpus: Option<f64>,
    /// The processors that the cell must be bound to, as the kernel writes the list; empty: any.
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
    /// The folders below which stages may write. The grader's folder is not among them.
    #[serde(default)]
    pub writable: Vec<String>,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationCheck {
    /// Stable name of the check.
    pub check: String,
    /// Whether the cell has the expected isolation.
    pub ok: bool,
    /// The observed value, with its unit.
    pub seen: String,
    /// The expected value, with its unit.
    pub limit: String,
    /// Whether the host's kernel lacks the mechanism. The check is then reported, and no cell is refused for it.
    #[serde(default)]
    pub unavailable: bool,
}

impl IsolationCheck {
    /// A finding of `check`.
    pub fn new(check: &str, ok: bool, seen: impl Into<String>, limit: impl Into<String>) -> Self {
        Self { check: check.to_owned(), ok, seen: seen.into(), limit: limit.into(), unavailable: false }
    }
}
