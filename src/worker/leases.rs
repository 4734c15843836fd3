//! The leases of this worker: one statement renews them all, and says which to let go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempt::Stop;
use crate::clock;
use crate::observe::{event, metrics};
use crate::redis::Hints;
use crate::run::{Failure, FailureCode, Lease};
use crate::store::Store;

/// Between two renewals. A lease is stale after [`crate::upkeep::watchdog::STALE`], six of these.
const RENEW: Duration = Duration::from_secs(5);

/// All leases that this worker holds.
#[derive(Clone)]
pub struct Leases {
    worker: String,
    held: Arc<Mutex<HashMap<Uuid, Held>>>,
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
    cancelled: CancellationToken,
    lost: CancellationToken,
}

impl Interrupted {
    /// Waits, for ever if nothing happens.
    pub async fn wait(&self) -> Stop {
        tokio::select! {
            () = self.lost.cancelled() => Stop::LeaseLost("a heartbeat found another holder".to_owned()),
            () = self.cancelled.cancelled() => {
                Stop::Failed(Failure::new(FailureCode::Cancelled, "cancelled while it was running"))
            }
        }
    }
}

impl Drop for Interrupted {
    fn drop(&mut self) {
        if let Ok(mut held) = self.leases.held.lock()
            && held.get(&self.lease.run_id).is_some_and(|held| held.lease == self.lease)
        {
            held.remove(&self.lease.run_id);
        }
    }
}

impl Leases {
    /// None yet.
    pub fn new(worker: &str) -> Self {
        Self { worker: worker.to_owned(), held: Arc::default() }
    }

    /// Keeps this lease until what is returned is dropped.
    pub fn hold(&self, lease: Lease) -> Interrupted {
        let (cancelled, lost) = (CancellationToken::new(), CancellationToken::new());
        if let Ok(mut held) = self.held.lock() {
            held.insert(lease.run_id, Held { lease, cancelled: cancelled.clone(), lost: lost.clone() });
        }
        Interrupted { leases: self.clone(), lease, cancelled, lost }
    }

    /// Renews until `stop`, every [`RENEW`] and whenever someone asks for a cancel.
    pub async fn keep(self, store: Store, hints: Hints, stop: CancellationToken) {
        let mut cancels = hints.cancels();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = cancels.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RENEW) => {}
            }
            self.renew(&store).await;
        }
    }

    async fn renew(&self, store: &Store) {
        // Only what was held before the question can be missed in the answer.
        let asked: Vec<Lease> = match self.held.lock() {
            Ok(held) => held.values().map(|held| held.lease).collect(),
            Err(_) => return,
        };
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
        let Ok(held) = self.held.lock() else { return };
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
}
