//! The end of a worker: it waits for its runs, then hands over the runs that are left.

use std::time::Duration;

use assize_domain::queue::ClaimPause;
use tokio_util::sync::CancellationToken;

use super::Worker;

/// How long the tasks of runs may take to notice that this worker hands them over.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for `stop`, pauses claims, and then waits `drain_timeout_s` for the runs to end.
pub async fn drain(worker: &Worker, stop: &CancellationToken) {
    stop.cancelled().await;
    worker.status.ready.send_replace(false);
    worker.pauses.pause(ClaimPause::Draining, "the worker is stopping");
    tokio::time::sleep(Duration::from_secs(worker.config.drain_timeout_s)).await;
}

/// Interrupts every drive, then releases the leases. From then on this process changes neither cells nor rows of
/// these runs, and the next worker continues them.
pub async fn hand_over(worker: &Worker) {
    worker.leases.hand_over();
    worker.drives.close();
    if tokio::time::timeout(HANDOVER_TIMEOUT, worker.drives.wait()).await.is_err() {
        tracing::warn!("some runs did not stop in time for the handover; their leases will expire");
        return;
    }
    release_leases(worker).await;
}

/// Releases all leases in the name of this worker.
pub async fn release_leases(worker: &Worker) {
    match worker.store.release_leases(&worker.id).await {
        Ok(0) => {}
        Ok(runs) => tracing::info!(runs, drain_timeout_s = worker.config.drain_timeout_s, "runs were handed over"),
        Err(error) => tracing::warn!(%error, "leases were not released; they will expire"),
    }
}
