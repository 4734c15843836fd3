//! What the kernel counted for a cell, read straight from its cgroup.
//!
//! Only while the warden lives: the engine deletes the cgroup with the container. Both versions of
//! cgroups and both drivers of the engine are known; where a file is not there the counter is 0 and
//! the engine's own `OOMKilled` has to do.

use std::path::{Path, PathBuf};

use crate::run::outcome::CellCounters;

use super::engine::{Engine, EngineError};

/// Where the engine puts the cgroups of its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    layout: Layout,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Layout {
    /// One tree per controller.
    V1 { prefix: &'static str, suffix: &'static str },
    /// One tree.
    V2 { prefix: &'static str, suffix: &'static str },
}

impl Cgroups {
    /// Asks the engine for its version and driver.
    ///
    /// # Errors
    /// [`EngineError`] without an answer.
    pub async fn of(engine: &Engine) -> Result<Self, EngineError> {
        let info = engine.info().await?;
        let v2 = info.cgroup_version.is_some_and(|version| version.to_string() == "2");
        let systemd = info.cgroup_driver.is_some_and(|driver| driver.to_string() == "systemd");
        let (prefix, suffix) = if systemd { ("system.slice/docker-", ".scope") } else { ("docker/", "") };
        Ok(Self { layout: if v2 { Layout::V2 { prefix, suffix } } else { Layout::V1 { prefix, suffix } } })
    }

    fn folder(&self, controller: &str, container: &str) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup");
        match self.layout {
            Layout::V1 { prefix, suffix } => root.join(controller).join(format!("{prefix}{container}{suffix}")),
            Layout::V2 { prefix, suffix } => root.join(format!("{prefix}{container}{suffix}")),
        }
    }

    /// Whether the counters of this container can be read at all.
    #[must_use]
    pub fn can_read(&self, container: &str) -> bool {
        self.folder("memory", container).is_dir()
    }

    /// Reads them; a few microseconds.
    #[must_use]
    pub fn read(&self, container: &str) -> CellCounters {
        let memory = self.folder("memory", container);
        let pids = self.folder("pids", container);
        let (oom, peak) = match self.layout {
            Layout::V1 { .. } => ("memory.oom_control", "memory.max_usage_in_bytes"),
            Layout::V2 { .. } => ("memory.events", "memory.peak"),
        };
        CellCounters {
            oom_kills: keyed(&memory.join(oom), "oom_kill"),
            pids_refused: keyed(&pids.join("pids.events"), "max"),
            peak_memory_bytes: text(&memory.join(peak)).trim().parse().unwrap_or(0),
        }
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The number behind `key` in a file of `key number` lines.
fn keyed(path: &Path, key: &str) -> u64 {
    text(path)
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_matched_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.events");
        std::fs::write(&path, "low 0\noom 3\noom_kill 2\noom_group_kill 1\n").unwrap();
        assert_eq!(keyed(&path, "oom_kill"), 2);
        assert_eq!(keyed(&path, "kill"), 0);
        assert_eq!(keyed(&folder.path().join("none"), "oom"), 0);
    }
}
