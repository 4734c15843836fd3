//! The leases of this worker: one statement renews them all, and says which to let go.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempt::Stop;
use crate::admission::Holds;
use crate::redis::Hints;
use assize_domain::run::Lease;
use assize_host::clock;
use assize_observe::{event, metrics};
use assize_store::Store;
use assize_store::workers::WorkerReport;

/// Between two renewals. A lease is stale after [`crate::upkeep::watchdog::STALE`], six of these.
const RENEW: Duration = Duration::from_secs(5);

/// All leases that this worker holds.
#[derive(Clone)]
pub struct Leases {
    worker: String,
    held: Arc<Mutex<HashMap<Uuid, Held>>>,
    /// Attempts that ended in a panic of ours, by run and epoch.
    panicked: Arc<Mutex<HashSet<(Uuid, i64)>>>,
    /// Cancelled when this worker leaves all its runs to a successor.
    leaving: CancellationToken,
}

struct Held {
    lease: Lease,
    cancelled: CancellationToken,
    lost: CancellationToken,
}

/// Ends when a run should not go on; lets the lease go when dropped.
pub struct Interrupted {
    leases: Leases,
    lease: Lease,
    /// Someone wants the run to stop.
    pub cancelled: CancellationToken,
    lost: CancellationToken,
}

impl Interrupted {
    /// Waits until the run is no longer this worker's, for ever if that never is.
    pub async fn wait(&self) -> Stop {
        tokio::select! {
            () = self.lost.cancelled() => Stop::LeaseLost("a heartbeat found another holder".to_owned()),
            () = self.leases.leaving.cancelled() => Stop::Left,
        }
    }
}

impl Drop for Interrupted {
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

/// What a worker says of itself for as long as it lives.
#[derive(Debug, Clone)]
pub struct About {
    /// All that it has, free or not.
    pub half_slots: u32,
    /// Limits of its cells that do not hold and are allowed not to.
    pub unenforced: Vec<String>,
}

impl Leases {
    /// None yet.
    pub fn new(worker: &str) -> Self {
        Self {
            worker: worker.to_owned(),
            held: Arc::default(),
            panicked: Arc::default(),
            leaving: CancellationToken::new(),
        }
    }

    /// Keeps this lease until what is returned is dropped. Of two leases on one run the earlier is lost.
    pub fn hold(&self, lease: Lease) -> Interrupted {
        let (cancelled, lost) = (CancellationToken::new(), CancellationToken::new());
        let mut held = self.held();
        let other = held.get(&lease.run_id);
        if other.is_some_and(|other| other.lease.epoch > lease.epoch) {
            lost.cancel();
        } else {
            if let Some(earlier) = other {
                earlier.lost.cancel();
            }
            held.insert(lease.run_id, Held { lease, cancelled: cancelled.clone(), lost: lost.clone() });
        }
        drop(held);
        Interrupted { leases: self.clone(), lease, cancelled, lost }
    }

    /// Whether this worker works on that attempt.
    #[must_use]
    pub fn holds(&self, lease: Lease) -> bool {
        self.held().get(&lease.run_id).is_some_and(|held| held.lease == lease)
    }

    /// Whether this attempt ended in a panic of ours.
    #[must_use]
    pub fn has_panicked(&self, lease: Lease) -> bool {
        self.panicked().contains(&(lease.run_id, lease.epoch))
    }

    /// The panic was counted.
    pub fn forget_panic(&self, lease: Lease) {
        self.panicked().remove(&(lease.run_id, lease.epoch));
    }

    /// Ends every attempt where it is; cells and rows stay as they are.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Renews until `stop`, every [`RENEW`] and whenever someone asks for a cancel; and says each time
    /// that this worker lives, what it is, and what holds it back.
    pub async fn keep(self, store: Store, hints: Hints, holds: Holds, about: About, stop: CancellationToken) {
        let (mut cancels, mut changes) = (hints.cancels(), holds.changes());
        let half_slots = i32::try_from(about.half_slots).unwrap_or(i32::MAX);
        loop {
            let (state, detail) = match holds.reason() {
                Some((hold, why)) => (hold.as_str(), why),
                None => ("claiming", String::new()),
            };
            let report =
                WorkerReport { id: &self.worker, half_slots, state, detail: &detail, unenforced: &about.unenforced };
            if let Err(error) = store.report_worker(report).await {
                event::dependency("postgres", false, &error.to_string());
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = cancels.changed() => if changed.is_err() { break },
                changed = changes.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(RENEW) => {}
            }
            self.renew(&store).await;
        }
        if let Err(error) = store.forget_worker(&self.worker).await {
            tracing::debug!(%error, "the worker's row stays; it will be taken for a dead one's");
        }
    }

    async fn renew(&self, store: &Store) {
        // Only what was held before the question can be missed in the answer.
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
        metrics().heartbeat_last_success.set(clock::wall().timestamp());
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

    /// A panic elsewhere does not make these maps wrong: every change to them is one call.
    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn panicked(&self) -> std::sync::MutexGuard<'_, HashSet<(Uuid, i64)>> {
        self.panicked.lock().unwrap_or_else(PoisonError::into_inner)
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
            assert!(leases.holds(second) && !leases.holds(first), "late: {late}");
        }
    }
}
