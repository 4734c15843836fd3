//! A sick worker drains the queue fastest: after some attempts in a row that failed for the
//! infrastructure's own faults, it claims nothing until a probe has shown that cells can be made again.
//!
//! Whoever can bring such a fault about must not be able to stop a worker for everybody (FAILURES 33c). So what
//! failed is counted by who handed it in, and there are two ways to a pause:
//!
//! - *Many say so:* the failures in a row are of `pause_after_failures` distinct submissions, of which those of one
//!   organisation count for half at the most. Claims are held back at once.
//! - *We see it ourselves:* that many attempts in a row failed, whoever they are of. Claims go on while the worker
//!   probes; they are held back if its own probe fails. So an installation with one organisation finds an outage too.
//!
//! Any attempt that shows that cells can be made ends the row.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Worker;
use crate::admission::Holds;
use assize_domain::queue::ClaimPause;
use assize_domain::run::{Cause, FailureCode};
use assize_observe::event::{self, Subject};

/// Between two probes; doubled after each that fails, up to [`PROBE_AT_MOST`].
const PROBE: Duration = Duration::from_secs(2);
const PROBE_AT_MOST: Duration = Duration::from_secs(60);

/// Submissions of one organisation that are told apart; more of them count for nothing more.
const MAX_TOLD_APART: usize = 1_000;

/// Counts failures in a row and holds claims back when there are too many.
#[derive(Debug)]
pub struct Breaker {
    /// 0: never.
    limit: u32,
    row: Mutex<Row>,
    holds: Holds,
    back: Notify,
    /// Failures in a row want a probe, before anything is held back.
    suspicion: Notify,
}

/// Attempts in a row that failed.
#[derive(Debug, Default)]
struct Row {
    /// Since the last probe that went well.
    attempts: u32,
    /// The submissions, by organisation.
    submissions: HashMap<Uuid, HashSet<Uuid>>,
    /// A probe went well after a pause: failures of two organisations are enough to pause again.
    was_paused: bool,
}

impl Row {
    fn add(&mut self, subject: &Subject) {
        self.attempts = self.attempts.saturating_add(1);
        if self.submissions.len() < MAX_TOLD_APART || self.submissions.contains_key(&subject.organization_id) {
            let of_one = self.submissions.entry(subject.organization_id).or_default();
            if of_one.len() < MAX_TOLD_APART {
                of_one.insert(subject.submission_id);
            }
        }
    }

    /// Distinct submissions, of which those of one organisation count for half of `limit` at the most.
    fn weight(&self, limit: u32) -> u32 {
        let most = limit.div_ceil(2);
        self.submissions.values().map(|of_one| u32::try_from(of_one.len()).unwrap_or(most).min(most)).sum()
    }

    /// Whether more than one organisation says so, and enough of them.
    fn is_enough(&self, limit: u32) -> bool {
        self.submissions.len() > 1 && (self.was_paused || self.weight(limit) >= limit)
    }
}

impl Breaker {
    /// Opens after `limit` failures in a row.
    pub fn new(limit: u32, holds: Holds) -> Self {
        Self { limit, row: Mutex::default(), holds, back: Notify::new(), suspicion: Notify::new() }
    }

    /// An attempt ended with a verdict.
    pub fn succeeded(&self) {
        *self.row() = Row::default();
    }

    /// An attempt ended without one. Where that is the project's or the grader's doing, the
    /// infrastructure has done its part. A lost worker or a cancel says nothing of it.
    pub fn failed(&self, code: FailureCode, subject: &Subject) {
        if matches!(code, FailureCode::WorkerLost | FailureCode::Cancelled) {
            return;
        }
        if code.cause() != Cause::Infrastructure {
            return self.succeeded();
        }
        if self.limit == 0 {
            return;
        }
        let mut row = self.row();
        row.add(subject);
        if row.is_enough(self.limit) {
            let (attempts, organizations) = (row.attempts, row.submissions.len());
            let submissions: usize = row.submissions.values().map(HashSet::len).sum();
            let why = format!(
                "{attempts} attempts in a row failed, of {submissions} submissions of {organizations} organisations, \
                 the last with {code}; the limit is {}",
                self.limit
            );
            self.holds.hold(ClaimPause::Paused, &why);
        } else if row.attempts >= self.limit {
            self.suspicion.notify_one();
        }
    }

    /// The engine does not answer at all: not one more run shall lose an attempt to that.
    pub fn engine_is_away(&self, why: &str) {
        if self.limit > 0 {
            self.holds.hold(ClaimPause::Paused, why);
        }
    }

    /// It answers again: there is no need to wait for the next probe.
    pub fn engine_is_back(&self) {
        self.back.notify_one();
    }

    /// What the worker's own probe showed. One that failed holds claims back, one that went well lets them go on.
    fn probed(&self, probed: Result<(), String>) {
        event::worker_probed(probed.is_ok());
        match probed {
            Ok(()) => {
                let was_paused = self.holds.holds(ClaimPause::Paused);
                let mut row = self.row();
                row.attempts = 0;
                if was_paused {
                    *row = Row { was_paused, ..Row::default() };
                }
                drop(row);
                self.holds.release(ClaimPause::Paused);
            }
            Err(why) => self.holds.hold(ClaimPause::Paused, &format!("the worker's own probe failed: {why}")),
        }
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Probes while the breaker is open, and when it suspects something, until `stop`.
pub async fn mend(worker: &Worker, stop: CancellationToken) {
    let mut changes = worker.holds.changes();
    let mut pause = PROBE;
    loop {
        let is_open = changes.borrow_and_update().contains_key(&ClaimPause::Paused);
        if !is_open {
            pause = PROBE;
        }
        let is_due = tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return } else { false },
            () = worker.breaker.back.notified() => {
                pause = Duration::ZERO;
                false
            }
            () = worker.breaker.suspicion.notified() => !is_open,
            () = tokio::time::sleep(pause), if is_open => true,
        };
        if is_due {
            let probed = probe(worker).await;
            if let Err(why) = &probed {
                pause = (pause * 2).clamp(PROBE, PROBE_AT_MOST);
                tracing::warn!(why, again_in_s = pause.as_secs(), "the worker's probe failed; it stays or is paused");
            }
            worker.breaker.probed(probed);
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

    const AWAY: FailureCode = FailureCode::DockerUnavailable;

    fn breaker(limit: u32) -> (Breaker, Holds) {
        let holds = Holds::default();
        (Breaker::new(limit, holds.clone()), holds)
    }

    fn of(organization: u128, submission: u128) -> Subject {
        Subject {
            run_id: Uuid::nil(),
            submission_id: Uuid::from_u128(submission),
            organization_id: Uuid::from_u128(organization),
            template: "t".to_owned(),
        }
    }

    /// Whether a probe is wanted; asking takes the wish.
    fn suspects(breaker: &Breaker) -> bool {
        use futures_util::FutureExt;
        breaker.suspicion.notified().now_or_never().is_some()
    }

    #[test]
    fn failures_of_several_organisations_hold_claims_back_until_a_probe_went_well() {
        // FAILURES 26.
        let (breaker, holds) = breaker(3);
        for (organization, submission) in [(1, 1), (2, 2)] {
            breaker.failed(AWAY, &of(organization, submission));
            assert!(holds.is_clear());
        }
        breaker.failed(FailureCode::CellLost, &of(2, 3));
        let (hold, why) = holds.reason().unwrap();
        assert_eq!(hold, ClaimPause::Paused);
        assert_eq!(
            why,
            "3 attempts in a row failed, of 3 submissions of 2 organisations, the last with cell_lost; the limit is 3"
        );
        breaker.probed(Ok(()));
        assert!(holds.is_clear());
        breaker.failed(AWAY, &of(1, 4));
        assert!(holds.is_clear(), "one organisation alone never, not even after a pause");
        breaker.failed(AWAY, &of(2, 5));
        assert!(!holds.is_clear(), "one more of each is enough");
    }

    /// FAILURES 33c.
    #[test]
    fn no_organisation_alone_can_pause_a_worker() {
        let (breaker, holds) = breaker(5);
        for submission in 0..1_000 {
            breaker.failed(FailureCode::RegistryUnreachable, &of(1, submission));
        }
        assert!(holds.is_clear(), "{:?}", holds.reason());
        // Nor with one neighbour that happens to fail beside it, or that neighbour's attempts.
        for _ in 0..3 {
            breaker.failed(FailureCode::RegistryUnreachable, &of(2, 5_000));
        }
        assert!(holds.is_clear(), "{:?}", holds.reason());
        breaker.failed(FailureCode::RegistryUnreachable, &of(2, 5_001));
        assert!(!holds.is_clear(), "half of five of each");
    }

    #[test]
    fn attempts_at_one_submission_count_once() {
        let (breaker, holds) = breaker(2);
        for _ in 0..50 {
            breaker.failed(AWAY, &of(1, 1));
        }
        assert!(holds.is_clear());
    }

    #[test]
    fn an_outage_is_found_where_there_is_one_organisation() {
        let (breaker, holds) = breaker(3);
        for submission in 0..2 {
            breaker.failed(AWAY, &of(1, submission));
            assert!(!suspects(&breaker));
        }
        breaker.failed(AWAY, &of(1, 2));
        assert!(suspects(&breaker) && holds.is_clear(), "it looks for itself, and goes on meanwhile");
        breaker.probed(Ok(()));
        breaker.failed(AWAY, &of(1, 3));
        assert!(!suspects(&breaker), "it has just looked");
        breaker.probed(Err("no container could be made".to_owned()));
        let (hold, why) = holds.reason().unwrap();
        assert_eq!(hold, ClaimPause::Paused);
        assert!(why.contains("own probe failed: no container could be made"), "{why}");
        breaker.probed(Ok(()));
        assert!(holds.is_clear());
    }

    #[test]
    fn whatever_shows_that_cells_can_be_made_breaks_the_row() {
        let (breaker, holds) = breaker(3);
        let both = || {
            breaker.failed(AWAY, &of(1, 1));
            breaker.failed(AWAY, &of(2, 2));
        };
        for code in [FailureCode::InstallFailed, FailureCode::ResultsMissing] {
            both();
            breaker.failed(code, &of(3, 3));
        }
        both();
        breaker.succeeded();
        both();
        for code in [FailureCode::WorkerLost, FailureCode::Cancelled] {
            breaker.failed(code, &of(3, 3));
        }
        assert!(holds.is_clear());
        breaker.failed(AWAY, &of(3, 3));
        assert!(!holds.is_clear());
    }

    #[test]
    fn a_limit_of_0_never_holds() {
        let (breaker, holds) = breaker(0);
        for number in 0..100 {
            breaker.failed(AWAY, &of(number, number));
        }
        assert!(holds.is_clear() && !suspects(&breaker));
    }
}
