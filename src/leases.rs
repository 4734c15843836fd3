//! The leases of one worker process. One statement renews all of them, and its answer shows which leases were
//! lost and which runs somebody wants to cancel.
//!
//! [`crate::worker`] holds a lease for each attempt that it drives, and [`crate::maintenance::watchdog`] asks
//! which leases the worker holds before it takes a run over.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use assize_domain::queue::{ClaimPause, OperatorPauses};
use assize_domain::run::Lease;
use assize_host::service_manager::LoopTurns;
use assize_observe::{event, metrics};
use assize_store::Store;
use assize_store::workers::WorkerReport;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::redis::Hints;

/// A lease that was not renewed for this long may be taken over: six times [`RENEWAL_INTERVAL`].
/// Five renewals may be lost before a run moves to another worker.
pub const LEASE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two renewals.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(5);

/// All leases that this worker holds.
#[derive(Clone)]
pub struct Leases {
    worker: String,
    held: Arc<Mutex<HashMap<Uuid, HeldLease>>>,
    /// Attempts that ended in a panic of this process, by run and epoch.
    panicked: Arc<Mutex<HashSet<(Uuid, i64)>>>,
    /// Cancelled when this worker hands all its runs over to a successor.
    handing_over: CancellationToken,
}

struct HeldLease {
    lease: Lease,
    cancelled: CancellationToken,
    lost: CancellationToken,
}

/// Why a worker must stop driving a run at once, without a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// A renewal found that another worker has the lease.
    LeaseLost,
    /// This worker hands its runs over to a successor.
    HandedOver,
}

/// The hold on one lease. The lease is no longer renewed once this value is dropped.
pub struct LeaseHold {
    leases: Leases,
    lease: Lease,
    /// Cancelled when somebody asks for the run to be cancelled.
    pub cancelled: CancellationToken,
    lost: CancellationToken,
}

impl LeaseHold {
    /// Waits until the run is no longer this worker's, which may never happen.
    pub async fn interrupted(&self) -> Interruption {
        tokio::select! {
            () = self.lost.cancelled() => Interruption::LeaseLost,
            () = self.leases.handing_over.cancelled() => Interruption::HandedOver,
        }
    }
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.leases.panicked().insert((self.lease.run_id, self.lease.epoch));
        }
        let mut held = self.leases.held();
        if held.get(&self.lease.run_id).is_some_and(|held| held.lease == self.lease) {
            held.remove(&self.lease.run_id);
        }
    }
}

/// What a worker reports about itself with each renewal.
#[derive(Debug, Clone)]
pub struct WorkerInfo {
    /// All half-slots of the worker, free or not.
    pub half_slots: u32,
    /// Limits of cells that are not enforced here although they should be, and that the operator allowed.
    pub unenforced: Vec<String>,
}

/// The pauses of claims, as the heartbeats report them and learn of them.
pub struct PauseSignals {
    /// The reasons why this worker claims nothing at the moment.
    pub current: watch::Receiver<BTreeMap<ClaimPause, String>>,
    /// Gets the pauses that an operator wants, with each heartbeat.
    pub on_wanted: Box<dyn Fn(&OperatorPauses) + Send + Sync>,
}

impl Leases {
    /// The leases of a worker that holds none yet.
    pub fn new(worker: &str) -> Self {
        Self {
            worker: worker.to_owned(),
            held: Arc::default(),
            panicked: Arc::default(),
            handing_over: CancellationToken::new(),
        }
    }

    /// Holds this lease until the returned value is dropped. Of two leases on one run the one with the lower
    /// epoch is lost.
    pub fn hold(&self, lease: Lease) -> LeaseHold {
        let (cancelled, lost) = (CancellationToken::new(), CancellationToken::new());
        let mut held = self.held();
        let other = held.get(&lease.run_id);
        if other.is_some_and(|other| other.lease.epoch > lease.epoch) {
            lost.cancel();
        } else {
            if let Some(earlier) = other {
                earlier.lost.cancel();
            }
            held.insert(lease.run_id, HeldLease { lease, cancelled: cancelled.clone(), lost: lost.clone() });
        }
        drop(held);
        LeaseHold { leases: self.clone(), lease, cancelled, lost }
    }

    /// The number of runs that this worker drives.
    #[must_use]
    pub fn count(&self) -> usize {
        self.held().len()
    }

    /// Whether this worker drives the attempt of that lease.
    #[must_use]
    pub fn is_held(&self, lease: Lease) -> bool {
        self.held().get(&lease.run_id).is_some_and(|held| held.lease == lease)
    }

    /// Whether the attempt of that lease ended in a panic of this process.
    #[must_use]
    pub fn has_panicked(&self, lease: Lease) -> bool {
        self.panicked().contains(&(lease.run_id, lease.epoch))
    }

    /// Forgets a panic once it is counted in the row of the run.
    pub fn forget_panic(&self, lease: Lease) {
        self.panicked().remove(&(lease.run_id, lease.epoch));
    }

    /// Interrupts every attempt of this worker; cells and rows stay as they are.
    pub fn hand_over(&self) {
        self.handing_over.cancel();
    }

    /// Sends heartbeats until `stop`: every [`RENEWAL_INTERVAL`], and whenever somebody asks for a cancel or a
    /// reason to pause claims changes. Each heartbeat reports the worker and renews all its leases. The answer to the
    /// report are the pauses that an operator wants. The loop counts its `turns`.
    pub async fn send_heartbeats(
        self,
        store: Store,
        hints: Hints,
        mut pauses: PauseSignals,
        info: WorkerInfo,
        turns: LoopTurns,
        stop: CancellationToken,
    ) {
        let mut cancels = hints.cancels();
        let half_slots = i32::try_from(info.half_slots).unwrap_or(i32::MAX);
        loop {
            turns.count();
            let strongest =
                pauses.current.borrow_and_update().last_key_value().map(|(pause, detail)| (*pause, detail.clone()));
            let (state, detail) = match strongest {
                Some((pause, detail)) => (pause.worker_state(), detail),
                None => ("claiming", String::new()),
            };
            let report =
                WorkerReport { id: &self.worker, half_slots, state, detail: &detail, unenforced: &info.unenforced };
            match store.report_worker(report).await {
                // A change of the pauses is reported by the next round, which follows at once.
                Ok(wanted) => {
                    (pauses.on_wanted)(&wanted);
                    // With leases, their renewal is the heartbeat.
                    if self.held().is_empty() {
                        metrics().heartbeat_succeeded();
                    }
                }
                Err(error) => event::dependency("postgres", false, &error.to_string()),
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = cancels.changed() => if changed.is_err() { break },
                changed = pauses.current.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(RENEWAL_INTERVAL) => {}
            }
            self.renew(&store).await;
        }
        if let Err(error) = store.forget_worker(&self.worker).await {
            tracing::debug!(%error, "the row of this worker was not deleted; it will be treated as a dead worker's");
        }
    }

    async fn renew(&self, store: &Store) {
        // A lease that is acquired while the statement runs is absent from its answer, but it is not lost.
        let asked: Vec<Lease> = self.held().values().map(|held| held.lease).collect();
        let runs: Vec<Uuid> = asked.iter().map(|lease| lease.run_id).collect();
        if runs.is_empty() {
            return;
        }
        let renewed = match store.renew_leases(&self.worker, &runs).await {
            Ok(renewed) => renewed,
            Err(error) => return event::dependency("postgres", false, &error.to_string()),
        };
        event::dependency("postgres", true, "");
        metrics().heartbeat_succeeded();
        let held = self.held();
        for lease in asked {
            let Some(held) = held.get(&lease.run_id).filter(|held| held.lease == lease) else { continue };
            let ours = renewed
                .iter()
                .find(|row| row.id == lease.run_id && row.attempt == lease.attempt && row.lease_epoch == lease.epoch);
            match ours {
                None => held.lost.cancel(),
                Some(row) if row.cancel_requested => held.cancelled.cancel(),
                Some(_) => {}
            }
        }
    }

    fn held(&self) -> parking_lot::MutexGuard<'_, HashMap<Uuid, HeldLease>> {
        self.held.lock()
    }

    fn panicked(&self) -> parking_lot::MutexGuard<'_, HashSet<(Uuid, i64)>> {
        self.panicked.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_leases_on_one_run_the_earlier_is_lost() {
        let leases = Leases::new("worker-1");
        let [first, second] = [1, 2].map(|epoch| Lease { run_id: Uuid::from_u128(7), attempt: 1, epoch });
        for late in [false, true] {
            let (one, two) = if late {
                let two = leases.hold(second);
                (leases.hold(first), two)
            } else {
                (leases.hold(first), leases.hold(second))
            };
            assert!(one.lost.is_cancelled() && !two.lost.is_cancelled(), "late: {late}");
            drop(one);
            assert!(leases.is_held(second) && !leases.is_held(first), "late: {late}");
        }
    }
}
