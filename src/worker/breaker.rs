//! A sick worker drains the queue fastest: after some attempts in a row that failed for the
//! infrastructure's own faults, it claims nothing until a probe has shown that cells can be made again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::admission::{Hold, Holds};
use crate::run::{Cause, FailureCode};

/// Between two probes; doubled after each that fails, up to [`PROBE_AT_MOST`].
const PROBE: Duration = Duration::from_secs(2);
const PROBE_AT_MOST: Duration = Duration::from_secs(60);

/// Counts failures in a row and holds claims back when there are too many.
#[derive(Debug)]
pub struct Breaker {
    /// 0: never.
    limit: u32,
    failures: AtomicU32,
    holds: Holds,
    back: Notify,
}

impl Breaker {
    /// Opens after `limit` failures in a row.
    pub fn new(limit: u32, holds: Holds) -> Self {
        Self { limit, failures: AtomicU32::new(0), holds, back: Notify::new() }
    }

    /// An attempt ended with a verdict.
    pub fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// An attempt ended without one. Where that is the project's or the grader's doing, the
    /// infrastructure has done its part. A lost worker or a cancel says nothing of it.
    pub fn failed(&self, code: FailureCode) {
        if matches!(code, FailureCode::WorkerLost | FailureCode::Cancelled) {
            return;
        }
        if code.cause() != Cause::Infrastructure {
            return self.succeeded();
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if self.limit > 0 && failures >= self.limit {
            let why = format!("{failures} attempts in a row failed, the last with {code}; the limit is {}", self.limit);
            self.holds.hold(Hold::Paused, &why);
        }
    }

    /// The engine does not answer at all: not one more run shall lose an attempt to that.
    pub fn engine_is_away(&self, why: &str) {
        if self.limit > 0 {
            self.holds.hold(Hold::Paused, why);
        }
    }

    /// It answers again: there is no need to wait for the next probe.
    pub fn engine_is_back(&self) {
        self.back.notify_one();
    }

    /// Claims may go on; the next failure in a row stops them again.
    fn close(&self) {
        self.failures.store(self.limit.saturating_sub(1), Ordering::Relaxed);
        self.holds.release(Hold::Paused);
    }
}

/// Probes while the breaker is open, until `stop`.
pub async fn mend(worker: &Worker, stop: CancellationToken) {
    let mut changes = worker.holds.changes();
    let mut pause = PROBE;
    loop {
        let is_open = changes.borrow_and_update().contains_key(&Hold::Paused);
        if !is_open {
            pause = PROBE;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = worker.breaker.back.notified() => pause = Duration::ZERO,
            () = tokio::time::sleep(pause), if is_open => match probe(worker).await {
                Ok(()) => worker.breaker.close(),
                Err(why) => {
                    pause = (pause * 2).clamp(PROBE, PROBE_AT_MOST);
                    tracing::warn!(why, again_in_s = pause.as_secs(), "the worker stays paused");
                }
            },
        }
    }
}

/// Makes and removes a container, and asks the blob store: what a run needs besides Postgres.
async fn probe(worker: &Worker) -> Result<(), String> {
    worker.blobs.ping().await.map_err(|error| error.to_string())?;
    let berth = worker.berths.make().await.map_err(|error| error.to_string())?;
    worker.engine.remove(&berth.id).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> (Breaker, Holds) {
        let holds = Holds::default();
        (Breaker::new(3, holds.clone()), holds)
    }

    #[test]
    fn failures_in_a_row_hold_claims_back_until_a_probe_went_well() {
        // FAILURES 26.
        let (breaker, holds) = breaker();
        for _ in 0..2 {
            breaker.failed(FailureCode::DockerUnavailable);
            assert!(holds.is_clear());
        }
        breaker.failed(FailureCode::CellLost);
        let (hold, why) = holds.reason().unwrap();
        assert_eq!(hold, Hold::Paused);
        assert_eq!(why, "3 attempts in a row failed, the last with cell_lost; the limit is 3");
        breaker.close();
        assert!(holds.is_clear());
        breaker.failed(FailureCode::DockerUnavailable);
        assert!(!holds.is_clear(), "one more is enough");
    }

    #[test]
    fn whatever_shows_that_cells_can_be_made_breaks_the_row() {
        let (breaker, holds) = breaker();
        for code in [FailureCode::InstallFailed, FailureCode::ResultsMissing] {
            breaker.failed(FailureCode::DockerUnavailable);
            breaker.failed(FailureCode::DockerUnavailable);
            breaker.failed(code);
        }
        breaker.failed(FailureCode::DockerUnavailable);
        breaker.failed(FailureCode::DockerUnavailable);
        breaker.succeeded();
        breaker.failed(FailureCode::DockerUnavailable);
        for code in [FailureCode::WorkerLost, FailureCode::Cancelled] {
            breaker.failed(code);
        }
        assert!(holds.is_clear());
        breaker.failed(FailureCode::DockerUnavailable);
        breaker.failed(FailureCode::DockerUnavailable);
        assert!(!holds.is_clear());
    }

    #[test]
    fn a_limit_of_0_never_holds() {
        let holds = Holds::default();
        let breaker = Breaker::new(0, holds.clone());
        for _ in 0..100 {
            breaker.failed(FailureCode::DockerUnavailable);
        }
        assert!(holds.is_clear());
    }
}
