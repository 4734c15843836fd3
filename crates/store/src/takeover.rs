//! Runs that change hands: from a worker that is gone to one that goes on with them.

use std::time::Duration;

use uuid::Uuid;

use super::queue::Claim;
use super::{Store, StoreError};
use crate::types::{OptionalText, Text};
use assize_domain::run::{Lease, StageName, Status};

/// A lease, with what tells whether anybody still works on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveLease {
    pub id: Uuid,
    pub attempt: i32,
    pub lease_epoch: i64,
    pub status: Status,
    pub phase: Option<StageName>,
    pub worker_id: String,
    /// It was not renewed for as long as was asked.
    pub is_stale: bool,
    /// Its worker let go of it.
    pub is_released: bool,
}

impl ActiveLease {
    /// The right to write that its holder has.
    #[must_use]
    pub const fn lease(&self) -> Lease {
        Lease { run_id: self.id, attempt: self.attempt, epoch: self.lease_epoch }
    }
}

/// Why a lease may be taken from its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeoverReason {
    /// The holder is dead, or let go.
    Gone,
    /// It was not renewed for so long; Postgres looks again.
    Stale(Duration),
}

impl TakeoverReason {
    const fn is_confirmed(self) -> bool {
        matches!(self, Self::Gone)
    }

    fn seconds(self) -> f64 {
        match self {
            Self::Gone => 0.0,
            Self::Stale(stale) => stale.as_secs_f64(),
        }
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSnapshot {
    pub attempt: i32,
    pub lease_epoch: i64,
    pub status: Status,
    pub phase: Option<StageName>,
}

impl RunSnapshot {
    /// Whether the run is in `status` by the hand of who holds this lease.
    #[must_use]
    pub fn is(&self, lease: Lease, status: Status) -> bool {
        (self.attempt, self.lease_epoch, self.status) == (lease.attempt, lease.epoch, status)
    }
}

impl Store {
    /// Every lease there is; `is_stale` says which were not renewed for `stale`.
    pub async fn active_leases(&self, stale: Duration) -> Result<Vec<ActiveLease>, StoreError> {
        self.timed(
            "active_leases",
            sqlx::query_file_as!(ActiveLease, "sql/queries/active_leases.sql", stale.as_secs_f64())
                .fetch_all(&self.pool),
        )
        .await
    }

    /// Takes a run over for `worker`, in the same attempt. `crashed`: the old holder died with it.
    /// `None` if someone was faster, or if the lease was renewed meanwhile.
    pub async fn adopt_run(
        &self,
        lost: &ActiveLease,
        reason: TakeoverReason,
        crashed: bool,
        worker: &str,
    ) -> Result<Option<Claim>, StoreError> {
        self.timed(
            "adopt_run",
            sqlx::query_file_as!(
                Claim,
                "sql/queries/adopt_run.sql",
                lost.id,
                lost.attempt,
                lost.lease_epoch,
                lost.status.as_str(),
                lost.worker_id,
                reason.is_confirmed(),
                reason.seconds(),
                worker,
                crashed,
                lost.phase.map(StageName::as_str)
            )
            .fetch_optional(&self.pool),
        )
        .await
    }

    /// Lets go of every run of this worker. How many there were.
    pub async fn release_leases(&self, worker: &str) -> Result<u64, StoreError> {
        let done = self
            .timed("release_leases", sqlx::query_file!("sql/queries/release_leases.sql", worker).execute(&self.pool))
            .await?;
        Ok(done.rows_affected())
    }

    /// Where a run is; `None` if there is no such run.
    pub async fn run_position(&self, run: Uuid) -> Result<Option<RunSnapshot>, StoreError> {
        self.timed(
            "run_position",
            sqlx::query_file_as!(RunSnapshot, "sql/queries/run_position.sql", run).fetch_optional(&self.pool),
        )
        .await
    }
}
