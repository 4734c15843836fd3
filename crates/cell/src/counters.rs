//! What the kernel counted for a cell, read straight from its cgroup.
//!
//! Only while the warden lives: the engine deletes the cgroup with the container. Both versions of
//! cgroups and both drivers of the engine are known; where a file is not there the counter is 0 and
//! the engine's own `OOMKilled` has to do.

use std::path::{Path, PathBuf};

use assize_protocol::cgroup_stats;

use assize_domain::run::outcome::CellCounters;

use super::call::EngineError;
use super::engine::Engine;
use super::slice::{CgroupDriver, cgroup_parent};

/// Where the engine puts the cgroups of our containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    root: PathBuf,
    pub(super) version: Version,
    /// The folder of our parent, in each tree.
    parent: String,
    /// Around a container's id in the name of its folder.
    prefix: &'static str,
    suffix: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// One tree per controller.
    V1,
    /// One tree.
    V2,
}

const ROOT: &str = "/sys/fs/cgroup";

impl Cgroups {
    /// Asks the engine for its version.
    ///
    /// # Errors
    /// [`EngineError`] without an answer.
    pub async fn detect(engine: &Engine) -> Result<Self, EngineError> {
        let v2 = engine.info().await?.cgroup_version.is_some_and(|version| version.to_string() == "2");
        let parent = cgroup_parent(&engine.instance, engine.cgroup_driver);
        let (prefix, suffix) = match engine.cgroup_driver {
            CgroupDriver::Systemd => ("docker-", ".scope"),
            CgroupDriver::Cgroupfs => ("", ""),
        };
        let version = if v2 { Version::V2 } else { Version::V1 };
        let parent = parent.trim_start_matches('/').to_owned();
        Ok(Self { root: ROOT.into(), version, parent, prefix, suffix })
    }

    /// A tree of a test's own.
    #[cfg(test)]
    pub(super) fn at(root: &Path, version: Version, parent: &str) -> Self {
        Self { root: root.to_owned(), version, parent: parent.to_owned(), prefix: "", suffix: "" }
    }

    /// The folder of our parent in the tree of a controller.
    pub(super) fn parent(&self, controller: &str) -> PathBuf {
        let tree = match self.version {
            Version::V1 => self.root.join(controller),
            Version::V2 => self.root.clone(),
        };
        tree.join(&self.parent)
    }

    fn folder(&self, controller: &str, container: &str) -> PathBuf {
        self.parent(controller).join(format!("{}{container}{}", self.prefix, self.suffix))
    }

    /// Our parent in every tree that has it.
    #[must_use]
    pub fn parents(&self) -> Vec<PathBuf> {
        let trees: Vec<PathBuf> = match self.version {
            Version::V2 => vec![self.root.clone()],
            // Some controllers share a tree, under a name with both and a link for each.
            Version::V1 => std::fs::read_dir(&self.root)
                .into_iter()
                .flatten()
                .filter_map(Result::ok)
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path())
                .collect(),
        };
        trees.into_iter().map(|tree| tree.join(&self.parent)).filter(|parent| parent.is_dir()).collect()
    }

    /// The container whose folder has this name.
    #[must_use]
    pub fn container_of(&self, folder: &str) -> Option<String> {
        let id = folder.strip_prefix(self.prefix)?.strip_suffix(self.suffix)?;
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| id.to_owned())
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
        let (oom, peak) = match self.version {
            Version::V1 => ("memory.oom_control", "memory.max_usage_in_bytes"),
            Version::V2 => ("memory.events", "memory.peak"),
        };
        CellCounters {
            oom_kills: keyed(&memory.join(oom), "oom_kill"),
            memory_limit_hits: cgroup_stats::memory_limit_hits(&memory),
            hits_are_kills: self.version == Version::V2,
            total_was_hit: false,
            pids_refused: keyed(&pids.join("pids.events"), "max"),
            peak_memory_bytes: text(&memory.join(peak)).trim().parse().unwrap_or(0),
        }
    }

    /// How often the total of all cells refused one of them memory.
    #[must_use]
    pub fn total_hits(&self) -> u64 {
        cgroup_stats::memory_limit_hits(&self.parent("memory")).unwrap_or(0)
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
    fn the_folder_of_a_container_lies_under_our_parent() {
        let id = "0123456789abcdef".repeat(4);
        let on = |version, driver, prefix, suffix| {
            let parent = cgroup_parent("up-x", driver).trim_start_matches('/').to_owned();
            Cgroups { root: ROOT.into(), version, parent, prefix, suffix }
        };
        let v1 = on(Version::V1, CgroupDriver::Cgroupfs, "", "");
        assert_eq!(v1.folder("pids", &id), Path::new("/sys/fs/cgroup/pids/assize-up-x").join(&id));
        let v2 = on(Version::V2, CgroupDriver::Systemd, "docker-", ".scope");
        let scope = format!("docker-{id}.scope");
        assert_eq!(v2.folder("pids", &id), Path::new("/sys/fs/cgroup/assize_up_x.slice").join(&scope));
        assert_eq!((v2.container_of(&scope), v1.container_of(&id)), (Some(id.clone()), Some(id.clone())));
        for other in ["init.scope", "docker-.scope", "docker-0123.scope", id.as_str()] {
            assert_eq!(v2.container_of(other), None, "{other}");
        }
    }

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
