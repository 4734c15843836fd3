//! Waiting for a run to move: on hints from Redis, and on a poll that finds what no hint told.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use crate::redis::Hints;
use assize_host::clock;

/// The poll while hints arrive: only for one that was lost.
const SAFETY_POLL: Duration = Duration::from_secs(5);

/// The poll while Redis is away.
const BLIND_POLL: Duration = Duration::from_secs(1);

/// The least time between two looks: a run that writes a thousand lines a second is looked at
/// twenty times, and a line still reaches its reader well within 250 ms.
const LEAST: Duration = Duration::from_millis(50);

/// Says when it is worth looking at a run again. Make it before the first look, so that nothing
/// that moves after that look is missed.
pub(super) struct Watch {
    hints: Hints,
    hint: watch::Receiver<u64>,
    looked: Instant,
}

impl Watch {
    pub fn new(hints: &Hints, run: Uuid) -> Self {
        Self { hints: hints.clone(), hint: hints.run(run), looked: clock::monotonic() }
    }

    /// Returns when the run may have moved.
    pub async fn moved(&mut self) {
        let poll = if self.hints.is_connected() { SAFETY_POLL } else { BLIND_POLL };
        let hinted = tokio::time::timeout(poll, self.hint.changed()).await;
        if let Ok(Err(_)) = hinted {
            // Nobody can hint any more.
            tokio::time::sleep(BLIND_POLL).await;
        }
        let since = self.looked.elapsed();
        if since < LEAST {
            tokio::time::sleep(LEAST.saturating_sub(since)).await;
        }
        self.hint.mark_unchanged();
        self.looked = clock::monotonic();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more than a hint takes, far less than a poll.
    const SOON: Duration = Duration::from_millis(900);

    #[tokio::test]
    async fn a_hint_between_two_looks_is_not_lost() {
        let (hints, run) = (Hints::default(), Uuid::now_v7());
        let mut watch = Watch::new(&hints, run);
        hints.moved(run);
        tokio::time::timeout(SOON, watch.moved()).await.unwrap();
        hints.moved(run);
        tokio::time::timeout(SOON, watch.moved()).await.unwrap();
    }

    #[tokio::test]
    async fn another_runs_hint_wakes_nobody() {
        let (hints, run) = (Hints::default(), Uuid::now_v7());
        let mut watch = Watch::new(&hints, run);
        hints.moved(Uuid::now_v7());
        assert!(tokio::time::timeout(Duration::from_millis(100), watch.moved()).await.is_err());
    }
}
