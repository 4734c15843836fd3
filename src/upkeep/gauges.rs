//! What only shows if someone looks: the depth of the queue, stale leases.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::watchdog::STALE;
use assize_observe::metrics;
use assize_store::{Store, StoreError};

/// Between two looks; a scrape is rarely more frequent.
const PERIOD: Duration = Duration::from_secs(10);

/// Looks until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = run_once(&store).await {
            tracing::debug!(%error, "gauges were not read");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn run_once(store: &Store) -> Result<(), StoreError> {
    metrics().observe_queue(&store.queue_counts().await?);
    metrics().stale_runs.set(store.stale_runs(STALE.as_secs_f64()).await?);
    Ok(())
}
