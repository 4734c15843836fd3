//! Room for what comes in: below the watermark a submission is refused before its body is read.
//!
//! Nothing is remembered: each submission looks, so they are taken in again as soon as there is room. Runs
//! that were taken in before go on.

use std::path::PathBuf;
use std::time::Duration;

use super::ApiState;
use super::problem::Problem;
use assize_host as host;

/// The longest wait for what a file system says of itself; a network's may hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// Refuses if the folder of blobs or that of uploads in progress lies on a file system with too little room.
pub(super) async fn check(api: &ApiState) -> Result<(), Problem> {
    let limit = api.config.min_free_disk_mib << 20;
    if limit == 0 {
        return Ok(());
    }
    let folders = [api.blobs.folder().map(PathBuf::from), Some(api.config.spool_dir.clone())];
    let looking = tokio::task::spawn_blocking(move || {
        let folders = folders.into_iter().flatten();
        folders.map(|folder| (host::free_bytes(&folder), folder)).collect::<Vec<_>>()
    });
    let looked = tokio::time::timeout(PATIENCE, looking).await;
    let seen = looked.map_err(|error| Problem::no_disk(&error))?.map_err(|error| Problem::internal(&error))?;
    for (free, folder) in seen {
        let free = free.map_err(|error| Problem::no_disk(&format_args!("{}: {error}", folder.display())))?;
        if free < limit {
            return Err(Problem::disk_full(&folder, limit, free));
        }
    }
    Ok(())
}
