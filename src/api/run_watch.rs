//! Waiting for a run to change: by hints from Redis, and by a poll that finds changes whose hint was lost.

use std::time::{Duration, Instant};

use assize_host::clock::Clock;
use tokio::sync::watch;
use uuid::Uuid;

use crate::redis::Hints;

/// The interval of the poll while hints arrive. It only serves lost hints.
const POLL_WITH_HINTS: Duration = Duration::from_secs(5);

/// The interval of the poll while Redis is unavailable.
const POLL_WITHOUT_HINTS: Duration = Duration::from_secs(1);

/// The minimum time between two reads of a run. A run that writes a thousand lines per second is read twenty times per
/// second, and a line still reaches its client well within 250 ms.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Reports when a run may have changed. Create it before the first read of the run, so that no later change is missed.
pub(super) struct RunWatch {
    clock: Clock,
    hints: Hints,
    hint: watch::Receiver<u64>,
    last_read: Instant,
}

impl RunWatch {
    pub fn new(clock: &Clock, hints: &Hints, run: Uuid) -> Self {
        let last_read = clock.monotonic();
        Self { clock: clock.clone(), hints: hints.clone(), hint: hints.run(run), last_read }
    }

    /// Returns when the run may have changed.
    pub async fn changed(&mut self) {
        let poll = if self.hints.is_connected() { POLL_WITH_HINTS } else { POLL_WITHOUT_HINTS };
        let hinted = tokio::time::timeout(poll, self.hint.changed()).await;
        if let Ok(Err(_)) = hinted {
            // No more hints can arrive.
            tokio::time::sleep(POLL_WITHOUT_HINTS).await;
        }
        let since = self.clock.since(self.last_read);
        if since < MIN_INTERVAL {
            tokio::time::sleep(MIN_INTERVAL.saturating_sub(since)).await;
        }
        self.hint.mark_unchanged();
        self.last_read = self.clock.monotonic();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::runtime_clock;

    /// Much longer than a hint takes, and shorter than the interval of any poll.
    const HINT_TIMEOUT: Duration = Duration::from_millis(900);

    #[tokio::test(start_paused = true)]
    async fn a_hint_between_two_reads_is_not_lost() {
        let (hints, run) = (Hints::default(), Uuid::now_v7());
        let mut watch = RunWatch::new(&runtime_clock(), &hints, run);
        hints.moved(run);
        tokio::time::timeout(HINT_TIMEOUT, watch.changed()).await.unwrap();
        hints.moved(run);
        tokio::time::timeout(HINT_TIMEOUT, watch.changed()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_for_another_run_is_ignored() {
        let (hints, run) = (Hints::default(), Uuid::now_v7());
        let mut watch = RunWatch::new(&runtime_clock(), &hints, run);
        hints.moved(Uuid::now_v7());
        assert!(tokio::time::timeout(Duration::from_millis(100), watch.changed()).await.is_err());
    }
}
