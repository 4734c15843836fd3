//! Free disk space: below the limit a submission is rejected before its body is read.
//!
//! Each submission checks the disk anew, so that submissions are accepted again as soon as there is space. Runs of
//! earlier submissions continue.

use std::path::PathBuf;
use std::time::Duration;

use assize_host as host;

use super::problem::Problem;
use super::state::ApiState;

/// The longest wait for a file system to report its free space; a network file system can hang.
const FREE_SPACE_TIMEOUT: Duration = Duration::from_secs(5);

/// Rejects the request if the folder of blobs or the folder of uploads in progress has too little free space
/// (`min_free_disk_mib`).
pub(super) async fn check(api: &ApiState) -> Result<(), Problem> {
    let limit = api.config.min_free_disk_mib << 20;
    if limit == 0 {
        return Ok(());
    }
    let folders = [api.blobs.folder().map(PathBuf::from), Some(api.config.spool_dir.clone())];
    let asking = tokio::task::spawn_blocking(move || {
        let folders = folders.into_iter().flatten();
        folders.map(|folder| (host::free_bytes(&folder), folder)).collect::<Vec<_>>()
    });
    let answered = tokio::time::timeout(FREE_SPACE_TIMEOUT, asking).await;
    let reported = answered.map_err(|error| Problem::file_system_unavailable(&error))?;
    for (free, folder) in reported.map_err(|error| Problem::internal(&error))? {
        let free =
            free.map_err(|error| Problem::file_system_unavailable(&format_args!("{}: {error}", folder.display())))?;
        if free < limit {
            return Err(Problem::disk_full(&folder, limit, free));
        }
    }
    Ok(())
}
