//! Cgroup folders that the engine left behind.
//!
//! Our containers have a parent cgroup of their own ([`Cgroups::parents`]), so whatever lies in it is ours.
//! Now and then one stays when its container goes, in some of the controllers' trees; thousands of them
//! slow the kernel down.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use assize_cell::Engine;
use assize_cell::counters::Cgroups;

/// Removes every folder of a container that is gone. How many there were.
///
/// The folders are listed first and the containers afterwards: a folder is made after its container, so
/// one whose container is not there then is left over. The kernel removes none that has a process in it.
///
/// # Errors
/// If the engine does not list its containers.
pub async fn sweep(engine: &Engine, cgroups: &Cgroups) -> anyhow::Result<u64> {
    let found = folders(cgroups);
    if found.is_empty() {
        return Ok(0);
    }
    let there: HashSet<String> = engine.ours().await?.into_iter().filter_map(|container| container.id).collect();
    let mut removed = 0;
    for (container, folder) in found {
        if !there.contains(&container) {
            removed += u64::from(remove(folder));
        }
    }
    Ok(removed)
}

/// Removes the parent as well, if nothing is left in it: when the last worker of an installation stops.
pub fn remove_parents(cgroups: &Cgroups) {
    for parent in cgroups.parents() {
        std::fs::remove_dir(parent).ok();
    }
}

/// Every container's folder under our parent, in every tree.
fn folders(cgroups: &Cgroups) -> Vec<(String, PathBuf)> {
    let entries = cgroups.parents().into_iter().filter_map(|parent| std::fs::read_dir(parent).ok()).flatten();
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let container = cgroups.container_of(entry.file_name().to_str()?)?;
            entry.file_type().ok()?.is_dir().then(|| (container, entry.path()))
        })
        .collect()
}

fn remove(folder: PathBuf) -> bool {
    match std::fs::remove_dir(&folder) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => {
            tracing::debug!(folder = %folder.display(), %error, "a cgroup folder stays");
            false
        }
    }
}
