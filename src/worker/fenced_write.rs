//! Retrying a fenced write whose reply may have been lost.

use std::time::Duration;

use assize_domain::run::Lease;
use assize_host::clock::Clock;
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
    clock: &Clock,
    store: &Store,
    lease: Lease,
    was_written: impl Fn(RunSnapshot) -> Option<T>,
    mut write: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let begun = clock.monotonic();
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
            Err(StoreError::Unavailable { .. }) if clock.since(begun) < RETRY_TIMEOUT => {
                may_be_written = true;
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            written => return written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leases::LEASE_TIMEOUT;
    use crate::test_clock::runtime_clock;
    use uuid::Uuid;

    #[tokio::test(start_paused = true)]
    async fn a_write_is_given_up_before_the_lease_can_be_taken() {
        let (clock, lease) = (runtime_clock(), Lease { run_id: Uuid::nil(), attempt: 1, epoch: 1 });
        let (begun, mut tries) = (clock.monotonic(), 0);
        let store = Store::open("postgres://nobody@127.0.0.1:1/nothing", 1).unwrap();
        let write = || {
            tries += 1;
            async { Err::<(), _>(StoreError::Unavailable { query: "start_run", reason: "no answer".to_owned() }) }
        };
        let written = retry_fenced_write(&clock, &store, lease, |_| None, write).await;
        assert!(matches!(written, Err(StoreError::Unavailable { .. })), "{written:?}");
        assert_eq!((clock.since(begun), tries), (RETRY_TIMEOUT, 51));
        assert!(RETRY_TIMEOUT < LEASE_TIMEOUT);
    }
}
