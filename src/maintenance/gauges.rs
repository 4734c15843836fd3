//! Gauges that change without an event of this process: the depth of the queue, the number of workers and of stale
//! leases. The API reads them too, so that they exist when no worker does.

use std::time::Duration;

use assize_observe::{event, metrics};
use assize_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::leases::LEASE_TIMEOUT;

/// Time between two readings; a scrape is rarely more frequent.
const INTERVAL: Duration = Duration::from_secs(10);

/// Reads the gauges until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // An API that nobody asks learns here whether Postgres answers.
        match run_once(&store).await {
            Ok(()) => event::dependency("postgres", true, ""),
            Err(error) => event::dependency("postgres", false, &error.to_string()),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn run_once(store: &Store) -> Result<(), StoreError> {
    metrics().observe_queue(&store.queue_counts().await?);
    metrics().set_workers(store.count_workers().await?);
    metrics().set_stale_runs(store.stale_runs(LEASE_TIMEOUT.as_secs_f64()).await?);
    Ok(())
}
