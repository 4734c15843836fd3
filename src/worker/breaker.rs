//! The breaker: a worker that fails every run would drain the queue fastest. After a streak of attempts that failed
//! through faults of the infrastructure, the worker claims nothing until a probe has shown that it can launch cells.
//!
//! A user who can cause such a fault must not be able to stop a worker for everybody (FAILURES 33c). So the breaker
//! counts failures by submission and organisation, and there are two ways to a pause:
//!
//! - *Several organisations fail:* the streak has `pause_after_failures` distinct submissions, of which those of one
//!   organisation count for half at most. Claims are paused at once.
//! - *The worker's own probe fails:* the streak has that many attempts, whoever submitted them. Claims continue while
//!   the worker probes, and are paused if its probe fails. So an installation with one organisation notices an outage
//!   too.
//!
//! Any attempt that shows that cells can be launched ends the streak.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use assize_domain::queue::ClaimPause;
use assize_domain::run::{Cause, FailureCode};
use assize_observe::event::{self, RunIdentity};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Worker;
use crate::admission::ClaimPauses;

/// Time between two probes; it doubles after each probe that fails, up to [`MAX_PROBE_INTERVAL`].
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(2);
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// Organisations, and submissions of one organisation, that are counted; further ones do not change the decision.
const MAX_COUNTED: usize = 1_000;

/// Counts failures in a row and pauses claims when there are too many.
#[derive(Debug)]
pub struct Breaker {
    /// The length of a streak that is too long. 0 means that the breaker never pauses claims.
    limit: u32,
    streak: Mutex<FailureStreak>,
    pauses: ClaimPauses,
    engine_recovered: Notify,
    /// Notified when a streak asks for a probe before claims are paused.
    probe_requested: Notify,
}

/// Attempts in a row that failed.
#[derive(Debug, Default)]
struct FailureStreak {
    /// Attempts since the last probe that succeeded.
    attempts: u32,
    /// The submissions of the streak, by organisation.
    submissions: HashMap<Uuid, HashSet<Uuid>>,
    /// A probe has ended a pause: failures of two organisations are enough to pause again.
    was_paused: bool,
}

impl FailureStreak {
    fn add(&mut self, run: &RunIdentity) {
        self.attempts = self.attempts.saturating_add(1);
        if self.submissions.len() < MAX_COUNTED || self.submissions.contains_key(&run.organization_id) {
            let of_one = self.submissions.entry(run.organization_id).or_default();
            if of_one.len() < MAX_COUNTED {
                of_one.insert(run.submission_id);
            }
        }
    }

    /// The number of distinct submissions, of which those of one organisation count for half of `limit` at most.
    fn weight(&self, limit: u32) -> u32 {
        let most = limit.div_ceil(2);
        self.submissions.values().map(|of_one| u32::try_from(of_one.len()).unwrap_or(most).min(most)).sum()
    }

    /// Whether enough submissions failed, of more than one organisation.
    fn is_too_long(&self, limit: u32) -> bool {
        self.submissions.len() > 1 && (self.was_paused || self.weight(limit) >= limit)
    }
}

impl Breaker {
    /// A breaker that pauses claims after `limit` failures in a row.
    pub fn new(limit: u32, pauses: ClaimPauses) -> Self {
        let (engine_recovered, probe_requested) = (Notify::new(), Notify::new());
        Self { limit, streak: Mutex::default(), pauses, engine_recovered, probe_requested }
    }

    /// Ends the streak: an attempt ended with a verdict.
    pub fn succeeded(&self) {
        *self.streak() = FailureStreak::default();
    }

    /// Counts an attempt that ended without a verdict. A failure of the project or of the grader shows that the
    /// infrastructure works, and ends the streak. A lost worker or a cancel shows nothing.
    pub fn failed(&self, code: FailureCode, run: &RunIdentity) {
        if matches!(code, FailureCode::WorkerLost | FailureCode::Cancelled) {
            return;
        }
        if code.cause() != Cause::Infrastructure {
            return self.succeeded();
        }
        if self.limit == 0 {
            return;
        }
        let mut streak = self.streak();
        streak.add(run);
        if streak.is_too_long(self.limit) {
            let (attempts, organizations) = (streak.attempts, streak.submissions.len());
            let submissions: usize = streak.submissions.values().map(HashSet::len).sum();
            let why = format!(
                "{attempts} attempts in a row failed, of {submissions} submissions of {organizations} organisations, \
                 the last with {code}; the limit is {}",
                self.limit
            );
            self.pauses.pause(ClaimPause::Paused, &why);
        } else if streak.attempts >= self.limit {
            self.probe_requested.notify_one();
        }
    }

    /// Pauses claims because the engine does not answer, so that no further run loses an attempt.
    pub fn engine_unavailable(&self, why: &str) {
        if self.limit > 0 {
            self.pauses.pause(ClaimPause::Paused, why);
        }
    }

    /// Asks for a probe at once, because the engine answers again.
    pub fn engine_recovered(&self) {
        self.engine_recovered.notify_one();
    }

    /// Handles the result of the worker's own probe: a failure pauses claims, a success resumes them.
    fn probed(&self, probed: Result<(), String>) {
        event::worker_probed(probed.is_ok());
        match probed {
            Ok(()) => {
                let was_paused = self.pauses.contains(ClaimPause::Paused);
                let mut streak = self.streak();
                streak.attempts = 0;
                if was_paused {
                    *streak = FailureStreak { was_paused, ..FailureStreak::default() };
                }
                drop(streak);
                self.pauses.lift(ClaimPause::Paused);
            }
            Err(why) => self.pauses.pause(ClaimPause::Paused, &format!("the worker's own probe failed: {why}")),
        }
    }

    fn streak(&self) -> MutexGuard<'_, FailureStreak> {
        self.streak.lock()
    }
}

/// Runs probes while claims are paused, and when a streak asks for one, until `stop`.
pub async fn run_recovery_probes(worker: &Worker, stop: CancellationToken) {
    repeat_probes(&worker.breaker, || probe(worker), stop).await;
}

async fn repeat_probes<F>(breaker: &Breaker, probe: impl Fn() -> F, stop: CancellationToken)
where
    F: Future<Output = Result<(), String>>,
{
    let mut changes = breaker.pauses.subscribe();
    let mut interval = MIN_PROBE_INTERVAL;
    loop {
        let is_paused = changes.borrow_and_update().contains_key(&ClaimPause::Paused);
        if !is_paused {
            interval = MIN_PROBE_INTERVAL;
        }
        let is_due = tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return } else { false },
            () = breaker.engine_recovered.notified() => {
                interval = Duration::ZERO;
                false
            }
            () = breaker.probe_requested.notified() => !is_paused,
            () = tokio::time::sleep(interval), if is_paused => true,
        };
        if is_due {
            let probed = probe().await;
            if let Err(why) = &probed {
                interval = (interval * 2).clamp(MIN_PROBE_INTERVAL, MAX_PROBE_INTERVAL);
                tracing::warn!(why, again_in_s = interval.as_secs(), "the worker's probe failed; claims are paused");
            }
            breaker.probed(probed);
        }
    }
}

/// Pings the blob store, and makes and removes a container: a run needs these besides Postgres.
async fn probe(worker: &Worker) -> Result<(), String> {
    worker.blobs.ping().await.map_err(|error| error.to_string())?;
    let berth = worker.berths.make().await.map_err(|error| error.to_string())?;
    worker.engine.remove(&berth.id).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::runtime_clock;

    const UNAVAILABLE: FailureCode = FailureCode::DockerUnavailable;

    fn breaker(limit: u32) -> (Breaker, ClaimPauses) {
        let pauses = ClaimPauses::default();
        (Breaker::new(limit, pauses.clone()), pauses)
    }

    fn run(organization: u128, submission: u128) -> RunIdentity {
        RunIdentity {
            run_id: Uuid::nil(),
            submission_id: Uuid::from_u128(submission),
            organization_id: Uuid::from_u128(organization),
            template: "t".to_owned(),
        }
    }

    /// Whether a probe is requested; asking clears the request.
    fn requests_probe(breaker: &Breaker) -> bool {
        use futures_util::FutureExt;
        breaker.probe_requested.notified().now_or_never().is_some()
    }

    #[test]
    fn failures_of_several_organisations_pause_claims_until_a_probe_succeeds() {
        // FAILURES 26.
        let (breaker, pauses) = breaker(3);
        for (organization, submission) in [(1, 1), (2, 2)] {
            breaker.failed(UNAVAILABLE, &run(organization, submission));
            assert!(pauses.is_empty());
        }
        breaker.failed(FailureCode::CellLost, &run(2, 3));
        let (pause, why) = pauses.strongest().unwrap();
        assert_eq!(pause, ClaimPause::Paused);
        assert_eq!(
            why,
            "3 attempts in a row failed, of 3 submissions of 2 organisations, the last with cell_lost; the limit is 3"
        );
        breaker.probed(Ok(()));
        assert!(pauses.is_empty());
        breaker.failed(UNAVAILABLE, &run(1, 4));
        assert!(pauses.is_empty(), "one organisation alone never, not even after a pause");
        breaker.failed(UNAVAILABLE, &run(2, 5));
        assert!(!pauses.is_empty(), "one more of each is enough");
    }

    /// FAILURES 33c.
    #[test]
    fn no_organisation_alone_can_pause_a_worker() {
        let (breaker, pauses) = breaker(5);
        for submission in 0..1_000 {
            breaker.failed(FailureCode::RegistryUnreachable, &run(1, submission));
        }
        assert!(pauses.is_empty(), "{:?}", pauses.strongest());
        // Nor with one neighbour that happens to fail beside it, or that neighbour's attempts.
        for _ in 0..3 {
            breaker.failed(FailureCode::RegistryUnreachable, &run(2, 5_000));
        }
        assert!(pauses.is_empty(), "{:?}", pauses.strongest());
        breaker.failed(FailureCode::RegistryUnreachable, &run(2, 5_001));
        assert!(!pauses.is_empty(), "half of five of each");
    }

    #[test]
    fn attempts_at_one_submission_count_once() {
        let (breaker, pauses) = breaker(2);
        for _ in 0..50 {
            breaker.failed(UNAVAILABLE, &run(1, 1));
        }
        assert!(pauses.is_empty());
    }

    #[test]
    fn an_outage_is_found_where_there_is_one_organisation() {
        let (breaker, pauses) = breaker(3);
        for submission in 0..2 {
            breaker.failed(UNAVAILABLE, &run(1, submission));
            assert!(!requests_probe(&breaker));
        }
        breaker.failed(UNAVAILABLE, &run(1, 2));
        assert!(requests_probe(&breaker) && pauses.is_empty(), "the worker probes, and claims meanwhile");
        breaker.probed(Ok(()));
        breaker.failed(UNAVAILABLE, &run(1, 3));
        assert!(!requests_probe(&breaker), "it has just probed");
        breaker.probed(Err("no container could be made".to_owned()));
        let (pause, why) = pauses.strongest().unwrap();
        assert_eq!(pause, ClaimPause::Paused);
        assert!(why.contains("own probe failed: no container could be made"), "{why}");
        breaker.probed(Ok(()));
        assert!(pauses.is_empty());
    }

    #[test]
    fn whatever_shows_that_cells_can_be_launched_ends_the_streak() {
        let (breaker, pauses) = breaker(3);
        let both = || {
            breaker.failed(UNAVAILABLE, &run(1, 1));
            breaker.failed(UNAVAILABLE, &run(2, 2));
        };
        for code in [FailureCode::InstallFailed, FailureCode::ResultsMissing] {
            both();
            breaker.failed(code, &run(3, 3));
        }
        both();
        breaker.succeeded();
        both();
        for code in [FailureCode::WorkerLost, FailureCode::Cancelled] {
            breaker.failed(code, &run(3, 3));
        }
        assert!(pauses.is_empty());
        breaker.failed(UNAVAILABLE, &run(3, 3));
        assert!(!pauses.is_empty());
    }

    #[test]
    fn a_limit_of_0_never_pauses_claims() {
        let (breaker, pauses) = breaker(0);
        for number in 0..100 {
            breaker.failed(UNAVAILABLE, &run(number, number));
        }
        assert!(pauses.is_empty() && !requests_probe(&breaker));
    }

    /// FAILURES 26.
    #[tokio::test(start_paused = true)]
    async fn probes_that_fail_are_repeated_ever_more_seldom_and_at_once_when_the_engine_is_back() {
        use std::cell::RefCell;
        let ((breaker, pauses), clock) = (breaker(3), runtime_clock());
        let (begun, stop) = (clock.monotonic(), CancellationToken::new());
        breaker.engine_unavailable("no answer");
        let probed_s = RefCell::new(Vec::new());
        let probe = async || {
            let now = clock.since(begun).as_secs();
            let is_first = !probed_s.borrow().contains(&now);
            probed_s.borrow_mut().push(now);
            match now {
                0..300 => Err("no answer".to_owned()),
                // As the events of the engine show it, long before the next probe is due.
                300..310 => {
                    if is_first && now == 302 {
                        breaker.engine_recovered();
                    }
                    Err("not yet".to_owned())
                }
                _ => {
                    stop.cancel();
                    Ok(())
                }
            }
        };
        repeat_probes(&breaker, probe, stop.clone()).await;
        assert_eq!(*probed_s.borrow(), [2, 6, 14, 30, 62, 122, 182, 242, 302, 302, 304, 308, 316]);
        assert!(pauses.is_empty(), "a probe that succeeds ends the pause");
    }
}
