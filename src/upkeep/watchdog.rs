//! Runs whose worker is gone: found by their leases, sent back to the queue or ended.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::observe::event::{self, Subject};
use crate::observe::metrics;
use crate::redis::Redis;
use crate::run::retry::MAX_RETRIES;
use crate::run::{Evidence, FailureCode, Status};
use crate::store::{Store, StoreError};

/// A lease that was not renewed for so long is nobody's. Source: DESIGN, leases.
pub const STALE: Duration = Duration::from_secs(30);

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(5);

/// Looks until `stop`.
pub async fn run(store: Store, redis: Redis, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match run_once(&store, STALE).await {
            Ok(0) => {}
            Ok(_) => redis.ring().await.unwrap_or_else(|error| tracing::debug!(%error, "the doorbell was not heard")),
            Err(error) => tracing::debug!(%error, "stale leases were not looked for"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Frees every lease older than `stale`, in one statement, so that no renewal can come between
/// finding and freeing it. How many there were.
///
/// # Errors
/// [`StoreError`] if Postgres did not do it.
pub async fn run_once(store: &Store, stale: Duration) -> Result<usize, StoreError> {
    let message = format!("its worker did not renew the lease for {} s", stale.as_secs());
    let evidence = Evidence { message: message.clone(), ..Evidence::default() };
    let freed = store.free_stale_leases(stale, MAX_RETRIES, &evidence).await?;
    for run in &freed {
        let subject = Subject {
            run_id: run.id,
            submission_id: run.project_submission_id,
            organization_id: run.organization_id,
            template: run.template.clone(),
        };
        let taken = run.started_at.map_or(Duration::ZERO, |at| (run.freed_at - at).to_std().unwrap_or_default());
        match run.status {
            Status::Queued => event::run_requeued(&subject, taken, FailureCode::WorkerLost, &message),
            _ => {
                let code = run.failure_code.unwrap_or(FailureCode::WorkerLost);
                event::run_failed(&subject, taken, None, code, &message);
            }
        }
    }
    metrics().watchdog_last_success.set(clock::wall().timestamp());
    Ok(freed.len())
}
