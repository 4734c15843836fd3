//! The watchdog finds runs whose worker is gone, by their leases, and takes them over.
//!
//! A takeover begins with the lease: one fenced statement gives the run the next epoch. Everything that follows
//! (resuming the cell, or destroying it and queueing the run again) happens under that lease and in one place,
//! `worker::drive`. So two workers that find the same run cannot both drive it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use assize_domain::queue::ClaimPause;
use assize_domain::run::Lease;
use assize_host::clock::Clock;
use assize_host::service_manager::LoopTurns;
use assize_observe::{event, metrics};
use assize_store::takeover::{ActiveLease, TakeoverReason};
use assize_store::{QUERY_TIMEOUT, Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::process::{Liveness, liveness};
use crate::admission::{Admitted, ClaimPauses, Resumed, Slots};
use crate::leases::{LEASE_TIMEOUT, Leases};

/// Time between two looks at the leases.
const INTERVAL: Duration = Duration::from_secs(1);

/// A run in this worker's name that the worker does not drive may be a claim whose reply is still on its way.
/// After this time it is not: the claim's query has ended or was cut off.
const UNKNOWN_LEASE_TIMEOUT: Duration = QUERY_TIMEOUT.saturating_add(Duration::from_secs(1));

/// Looks after the leases of all workers, its own worker's too.
pub struct Watchdog {
    clock: Clock,
    store: Store,
    worker: String,
    leases: Leases,
    slots: Slots,
    adopted: mpsc::UnboundedSender<Admitted>,
    turns: LoopTurns,
    pauses: ClaimPauses,
    /// Leases in this worker's name that it does not hold, by run and epoch, with the time of the first sight.
    unknown: HashMap<(uuid::Uuid, i64), Instant>,
}

/// Why a run is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Takeover {
    reason: TakeoverReason,
    /// The worker died while it drove the run.
    crashed: bool,
}

impl Watchdog {
    /// A watchdog for `worker`, which drives the runs that it adopts. It counts its `turns`.
    #[must_use]
    pub fn new(
        clock: Clock,
        store: Store,
        worker: &str,
        leases: Leases,
        slots: Slots,
        adopted: mpsc::UnboundedSender<Admitted>,
        turns: LoopTurns,
    ) -> Self {
        let (worker, pauses, unknown) = (worker.to_owned(), ClaimPauses::default(), HashMap::new());
        Self { clock, store, worker, leases, slots, adopted, turns, pauses, unknown }
    }

    /// Lets the watchdog take over no runs of other workers while an operator drains its worker, as `pauses` say.
    #[must_use]
    pub fn heeding(self, pauses: ClaimPauses) -> Self {
        Self { pauses, ..self }
    }

    /// Looks at the leases until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.turns.count();
            if let Err(error) = self.run_once().await {
                tracing::debug!(%error, "the watchdog could not read the leases");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Takes over every run that has lost its worker. Returns the number of these runs.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres did not answer.
    pub async fn run_once(&mut self) -> Result<usize, StoreError> {
        let leases = self.store.active_leases(LEASE_TIMEOUT).await?;
        let is_active = |key: &(uuid::Uuid, i64)| leases.iter().any(|lease| (lease.id, lease.lease_epoch) == *key);
        self.unknown.retain(|key, _| is_active(key));
        let mut taken_over = 0;
        for lost in &leases {
            let Some(Takeover { reason, crashed }) = self.takeover(lost) else { continue };
            let Some(claim) = self.store.adopt_run(lost, reason, crashed, &self.worker).await? else { continue };
            taken_over += 1;
            self.leases.forget_panic(lost.lease());
            let resumed = Some(Resumed { status: lost.status, phase: lost.phase, crashed });
            let slot = self.slots.reserve_overcommitted(claim.half_slots);
            if self.adopted.send(Admitted { claim, resumed, slot }).is_err() {
                // The worker is stopping; it releases the lease of this run with all others.
                break;
            }
        }
        event::dependency("postgres", true, "");
        metrics().watchdog_succeeded();
        Ok(taken_over)
    }

    /// Decides whether a lease may be taken from its holder, and for which reason.
    fn takeover(&mut self, lost: &ActiveLease) -> Option<Takeover> {
        if lost.worker_id == self.worker {
            return self.takeover_from_itself(lost);
        }
        if self.pauses.contains(ClaimPause::DrainedByOperator) {
            // A worker that drains becomes empty, whatever happens to the others.
            return None;
        }
        if lost.is_released {
            return Some(Takeover { reason: TakeoverReason::Gone, crashed: false });
        }
        match liveness(&lost.worker_id) {
            Liveness::Dead => Some(Takeover { reason: TakeoverReason::Gone, crashed: true }),
            Liveness::Alive | Liveness::Unknown if lost.is_stale => {
                Some(Takeover { reason: TakeoverReason::Stale(LEASE_TIMEOUT), crashed: true })
            }
            Liveness::Alive | Liveness::Unknown => None,
        }
    }

    /// Decides about a lease in this worker's own name. If the worker does not hold it, the reply to its claim
    /// was lost, or the worker gave the run up while Postgres was unavailable, or its task panicked.
    fn takeover_from_itself(&mut self, lost: &ActiveLease) -> Option<Takeover> {
        let lease: Lease = lost.lease();
        let key = (lost.id, lost.lease_epoch);
        if self.leases.is_held(lease) {
            self.unknown.remove(&key);
            return None;
        }
        let since = *self.unknown.entry(key).or_insert_with(|| self.clock.monotonic());
        if self.clock.since(since) < UNKNOWN_LEASE_TIMEOUT {
            return None;
        }
        self.unknown.remove(&key);
        Some(Takeover { reason: TakeoverReason::Gone, crashed: self.leases.has_panicked(lease) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::runtime_clock;
    use assize_domain::run::Status;
    use uuid::Uuid;

    /// FAILURES 4: the decision waits for the time in which a query ends, whatever the clocks of other hosts show.
    #[tokio::test(start_paused = true)]
    async fn a_lease_in_its_own_name_is_taken_once_no_claim_can_be_on_its_way() {
        let lost = ActiveLease {
            id: Uuid::from_u128(7),
            attempt: 1,
            lease_epoch: 3,
            status: Status::Running,
            phase: None,
            worker_id: "worker-1".to_owned(),
            is_stale: false,
            is_released: false,
        };
        let (leases, (adopted, _)) = (Leases::new("worker-1"), mpsc::unbounded_channel());
        let store = Store::open("postgres://nobody@127.0.0.1:1/nothing", 1).unwrap();
        let (slots, turns) = (Slots::new(1), LoopTurns::default());
        let mut watchdog = Watchdog::new(runtime_clock(), store, "worker-1", leases.clone(), slots, adopted, turns);
        assert_eq!(watchdog.takeover(&lost), None, "the first sight");
        tokio::time::advance(UNKNOWN_LEASE_TIMEOUT - Duration::from_millis(1)).await;
        assert_eq!(watchdog.takeover(&lost), None, "the reply may still come");
        let hold = leases.hold(lost.lease());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(watchdog.takeover(&lost), None, "it came");
        drop(hold);
        assert_eq!(watchdog.takeover(&lost), None, "the time begins anew");
        tokio::time::advance(UNKNOWN_LEASE_TIMEOUT).await;
        assert_eq!(watchdog.takeover(&lost), Some(Takeover { reason: TakeoverReason::Gone, crashed: false }));
    }

    #[tokio::test]
    async fn a_worker_that_drains_takes_no_runs_of_others_over() {
        let released = ActiveLease {
            id: Uuid::from_u128(7),
            attempt: 1,
            lease_epoch: 3,
            status: Status::Running,
            phase: None,
            worker_id: "worker-2".to_owned(),
            is_stale: false,
            is_released: true,
        };
        let (pauses, (adopted, _)) = (ClaimPauses::default(), mpsc::unbounded_channel());
        let store = Store::open("postgres://nobody@127.0.0.1:1/nothing", 1).unwrap();
        let (leases, slots) = (Leases::new("worker-1"), Slots::new(1));
        let turns = LoopTurns::default();
        let watchdog = Watchdog::new(runtime_clock(), store, "worker-1", leases, slots, adopted, turns);
        let mut watchdog = watchdog.heeding(pauses.clone());
        pauses.pause(ClaimPause::PausedByOperator, "paused by operator");
        let adopts = Some(Takeover { reason: TakeoverReason::Gone, crashed: false });
        assert_eq!(watchdog.takeover(&released), adopts, "runs that have begun go on while claims are paused");
        pauses.pause(ClaimPause::DrainedByOperator, "drained by operator");
        assert_eq!(watchdog.takeover(&released), None);
        pauses.lift(ClaimPause::DrainedByOperator);
        assert_eq!(watchdog.takeover(&released), adopts);
    }
}
