//! Stops servers that an earlier process left in a folder when it was killed.
//!
//! This process holds the lock of the folder, so the earlier process has ended and nobody uses its servers. A process
//! counts as such a server only if the id file of the folder contains its id *and* its working folder is the one of
//! this folder's server, because the kernel reuses process ids.

use std::path::Path;
use std::time::Duration;

use super::{EmbeddedError, Folder, POSTGRES_STOP_TIMEOUT, REDIS_STOP_TIMEOUT, RETRY_INTERVAL, redis_server};
use assize_host as host;
use assize_host::Signal;

/// Stops a Postgres that still runs. Clients of the earlier process may still be connected to it.
pub(super) async fn stop_postgres(folder: &Folder) -> Result<(), EmbeddedError> {
    let place = folder.postgres();
    let Some(pid) = live_pid(&place.join("postmaster.pid"), &place) else { return Ok(()) };
    tracing::info!(pid, "stopping the Postgres that an earlier process left behind");
    stop(pid, &place, [(Signal::Interrupt, POSTGRES_STOP_TIMEOUT), (Signal::Quit, POSTGRES_STOP_TIMEOUT)], "Postgres")
        .await
}

/// Stops a Redis that still runs.
pub(super) async fn stop_redis(folder: &Folder) -> Result<(), EmbeddedError> {
    let place = folder.redis();
    let Some(pid) = live_pid(&redis_server::pid_file(folder), &place) else { return Ok(()) };
    tracing::info!(pid, "stopping the Redis that an earlier process left behind");
    stop(pid, &place, [(Signal::Terminate, REDIS_STOP_TIMEOUT), (Signal::Terminate, REDIS_STOP_TIMEOUT)], "Redis").await
}

/// Returns the process id in the first line of `file`, if that process has the working folder `place`.
fn live_pid(file: &Path, place: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(file).ok()?;
    let pid: u32 = text.lines().next()?.trim().parse().ok()?;
    works_in(pid, place).then_some(pid)
}

fn works_in(pid: u32, place: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == place)
}

/// Sends the signals one after another until the process has ended. It is not a child of this process, so its end can
/// only be polled.
async fn stop(pid: u32, place: &Path, steps: [(Signal, Duration); 2], what: &str) -> Result<(), EmbeddedError> {
    for (signal, timeout) in steps {
        host::signal(pid, signal);
        let gone = async {
            while host::is_alive(pid) && works_in(pid, place) {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        };
        if tokio::time::timeout(timeout, gone).await.is_ok() {
            return Ok(());
        }
    }
    Err(EmbeddedError::Folder {
        path: place.to_owned(),
        reason: format!(
            "{what} of an earlier start (process {pid}) still uses it and does not stop; kill that process"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_another_working_folder_is_not_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("postmaster.pid");
        std::fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        assert_eq!(live_pid(&file, folder.path()), None);
        let here = std::env::current_dir().unwrap();
        assert_eq!(live_pid(&file, &here), Some(std::process::id()));
        std::fs::write(&file, "nothing\n").unwrap();
        assert_eq!(live_pid(&file, &here), None);
    }
}
