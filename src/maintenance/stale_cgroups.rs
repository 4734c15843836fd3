//! Cgroup folders that the engine did not remove with their containers.
//!
//! The containers of an installation have a parent cgroup of their own ([`Cgroups::parents`]), so every folder in
//! it belongs to the installation. Occasionally a folder survives its container in some of the controllers' trees.
//! Thousands of such folders slow the kernel down.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use assize_cell::Engine;
use assize_cell::counters::Cgroups;

/// Removes the folder of every container that is gone. Returns the number of removed folders. The kernel removes no
/// folder that still has a process in it.
///
/// # Errors
/// If the engine does not list its containers.
pub async fn sweep(engine: &Engine, cgroups: &Cgroups) -> anyhow::Result<u64> {
    let stale = find(engine, cgroups).await?;
    Ok(stale.into_iter().map(|folder| u64::from(remove(folder))).sum())
}

/// Finds the folders of containers that are gone.
///
/// The folders are listed before the containers: a folder is made after its container, so the container of a
/// listed folder is missing from the second list only if it is gone.
///
/// # Errors
/// If the engine does not list its containers.
pub async fn find(engine: &Engine, cgroups: &Cgroups) -> anyhow::Result<Vec<PathBuf>> {
    let folders = container_folders(cgroups);
    if folders.is_empty() {
        return Ok(Vec::new());
    }
    let existing: HashSet<String> = engine.ours().await?.into_iter().filter_map(|container| container.id).collect();
    let stale = folders.into_iter().filter(|(container, _)| !existing.contains(container));
    Ok(stale.map(|(_, folder)| folder).collect())
}

/// Removes the parent cgroup if it is empty. A worker calls this when it stops, so the last worker of an
/// installation succeeds.
pub fn remove_parents(cgroups: &Cgroups) {
    for parent in cgroups.parents() {
        std::fs::remove_dir(parent).ok();
    }
}

/// Every container's folder under our parent cgroup, in every controller's tree.
fn container_folders(cgroups: &Cgroups) -> Vec<(String, PathBuf)> {
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
            tracing::debug!(folder = %folder.display(), %error, "a cgroup folder could not be removed");
            false
        }
    }
}
