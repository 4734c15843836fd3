//! Runs whose worker is gone: found by their leases, and taken over.
//!
//! Whoever takes over first takes the lease: the next epoch, by one fenced statement. All that
//! follows (going on with the cell, or destroying it and queueing the run again) happens under that
//! lease and in one place, `worker::drive`; two workers that find the same run cannot both.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::process::{Fate, fate};
use crate::admission::{Admitted, Resumed, Slots};
use crate::worker::Leases;
use assize_domain::run::Lease;
use assize_host::clock;
use assize_observe::{event, metrics};
use assize_store::takeover::{ActiveLease, Grounds};
use assize_store::{QUERY_TIMEOUT, Store, StoreError};

/// A lease that was not renewed for so long is nobody's. Source: DESIGN, leases.
pub const STALE: Duration = Duration::from_secs(30);

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// A run in this worker's name that it does not know may be a claim whose reply is still on its way.
/// After this it no longer is.
const UNKNOWN: Duration = QUERY_TIMEOUT.saturating_add(Duration::from_secs(1));

/// Looks after all leases, its own worker's too.
pub struct Watchdog {
    store: Store,
    worker: String,
    leases: Leases,
    slots: Slots,
    adopted: mpsc::UnboundedSender<Admitted>,
    /// In this worker's name, but not known to it; since when.
    unknown: HashMap<(uuid::Uuid, i64), Instant>,
}

/// Why a run is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Takeover {
    grounds: Grounds,
    /// Its worker died with it.
    crashed: bool,
}

impl Watchdog {
    /// A watchdog for `worker`, which works on what it adopts.
    #[must_use]
    pub fn new(
        store: Store,
        worker: &str,
        leases: Leases,
        slots: Slots,
        adopted: mpsc::UnboundedSender<Admitted>,
    ) -> Self {
        Self { store, worker: worker.to_owned(), leases, slots, adopted, unknown: HashMap::new() }
    }

    /// Looks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.run_once().await {
                tracing::debug!(%error, "leases were not looked at");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// Takes over whatever has lost its worker. How many runs that were.
    ///
    /// # Errors
    /// [`StoreError`] if Postgres did not answer.
    pub async fn run_once(&mut self) -> Result<usize, StoreError> {
        let leases = self.store.active_leases(STALE).await?;
        let own = |key: &(uuid::Uuid, i64)| leases.iter().any(|lease| (lease.id, lease.lease_epoch) == *key);
        self.unknown.retain(|key, _| own(key));
        let mut taken = 0;
        for lost in &leases {
            let Some(takeover) = self.judge(lost) else { continue };
            let Takeover { grounds, crashed } = takeover;
            let Some(claim) = self.store.adopt_run(lost, grounds, crashed, &self.worker).await? else { continue };
            taken += 1;
            self.leases.forget_panic(lost.lease());
            let resumed = Some(Resumed { status: lost.status, phase: lost.phase, crashed });
            let slot = self.slots.owe(claim.half_slots);
            if self.adopted.send(Admitted { claim, resumed, slot }).is_err() {
                // The worker is stopping; it lets go of this run with all others.
                break;
            }
        }
        event::dependency("postgres", true, "");
        metrics().watchdog_last_success.set(clock::wall().timestamp());
        Ok(taken)
    }

    /// Whether a lease may be taken from its holder, and on what grounds.
    fn judge(&mut self, lost: &ActiveLease) -> Option<Takeover> {
        if lost.worker_id == self.worker {
            return self.judge_own(lost);
        }
        if lost.is_released {
            return Some(Takeover { grounds: Grounds::Gone, crashed: false });
        }
        match fate(&lost.worker_id) {
            Fate::Dead => Some(Takeover { grounds: Grounds::Gone, crashed: true }),
            Fate::Lives | Fate::Unknown if lost.is_stale => {
                Some(Takeover { grounds: Grounds::Stale(STALE), crashed: true })
            }
            Fate::Lives | Fate::Unknown => None,
        }
    }

    /// A run in this worker's own name that it does not work on: the reply to its claim was lost, or
    /// it gave up on it while Postgres was away, or it panicked.
    fn judge_own(&mut self, lost: &ActiveLease) -> Option<Takeover> {
        let lease: Lease = lost.lease();
        let key = (lost.id, lost.lease_epoch);
        if self.leases.holds(lease) {
            self.unknown.remove(&key);
            return None;
        }
        let since = *self.unknown.entry(key).or_insert_with(clock::monotonic);
        if since.elapsed() < UNKNOWN {
            return None;
        }
        self.unknown.remove(&key);
        Some(Takeover { grounds: Grounds::Gone, crashed: self.leases.has_panicked(lease) })
    }
}
