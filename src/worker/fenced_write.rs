//! Retrying a fenced write whose reply may have been lost.

use std::time::Duration;

use assize_domain::run::Lease;
use assize_host::clock;
use assize_store::takeover::RunSnapshot;
use assize_store::{Store, StoreError};

/// How long a write is retried while Postgres is unavailable. A lease expires 30 s after its last renewal; after that
/// the watchdog may give the run to another worker.
const RETRY_TIMEOUT: Duration = Duration::from_secs(25);

/// Time between two tries.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Retries a fenced write while Postgres is unavailable.
///
/// If the reply to a write is lost, the retry finds that the row has moved on and reports a lost lease. Then this
/// function reads the row again, and `was_written` decides whether the first try had made the change.
///
/// # Errors
/// The error of the last try: [`StoreError::LeaseLost`] at once, [`StoreError::Unavailable`] after [`RETRY_TIMEOUT`].
pub async fn retry_fenced_write<T, F>(
    store: &Store,
    lease: Lease,
    was_written: impl Fn(RunSnapshot) -> Option<T>,
    mut write: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let begun = clock::monotonic();
    let mut may_be_written = false;
    loop {
        let written = match write().await {
            Err(StoreError::LeaseLost { query }) if may_be_written => {
                let row = store.run_position(lease.run_id).await;
                row.and_then(|row| row.and_then(&was_written).ok_or(StoreError::LeaseLost { query }))
            }
            written => written,
        };
        match written {
            Err(StoreError::Unavailable { .. }) if begun.elapsed() < RETRY_TIMEOUT => {
                may_be_written = true;
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            written => return written,
        }
    }
}
