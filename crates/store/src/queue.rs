//! The queue as a whole: claims, and how much there is.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::types::{OptionalText, Text};
use assize_domain::queue::{AdmissionCaps, ClaimPause, MAX_COUNTED, QueuedFacts, StatusCount};
use assize_domain::run::{FailureCode, Lease, Status};

/// A run that this worker has claimed, with what it needs to begin.
#[derive(Debug, Clone)]
pub struct Claim {
    pub id: Uuid,
    pub project_submission_id: Uuid,
    pub organization_id: Uuid,
    /// As it was sent.
    pub user: String,
    pub template: String,
    pub half_slots: i32,
    pub attempt: i32,
    pub lease_epoch: i64,
    /// Workers that died while they held it.
    pub crashes: i32,
    pub submitted_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    /// When this worker claimed or adopted it, by the database's clock.
    pub held_since: DateTime<Utc>,
    /// This and the next two: absent until the submission's repository was fetched.
    pub archive_sha256: Option<String>,
    pub archive_bytes: Option<i64>,
    pub archive_entries: Option<i64>,
    /// This and the next: absent if the archive came with the request.
    pub repository_url: Option<String>,
    pub repository_ref: Option<String>,
    /// What the platform sent with the submission: the text of a JSON object. It is not parsed here, because a
    /// submission whose metadata cannot be read must not prevent the claims of others.
    pub metadata: String,
}

impl Claim {
    /// The right to write to the claimed run.
    #[must_use]
    pub const fn lease(&self) -> Lease {
        Lease { run_id: self.id, attempt: self.attempt, epoch: self.lease_epoch }
    }
}

/// How many claims are wanted, and under which caps.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Half-slots that are free on this worker.
    pub worker_half_slots: i32,
    /// All half-slots of this worker: nothing heavier is claimed, or waited for.
    pub worker_capacity: i32,
    /// What holds over all workers.
    pub caps: AdmissionCaps,
    /// Runs.
    pub most: i32,
}

/// How long runs take and what they weigh, in the mean of the last that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// From the claim to the end; absent before the first has ended.
    pub run_seconds: Option<f64>,
    pub run_half_slots: Option<f64>,
}

/// Runs that wait and have something in common.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueGroup {
    /// What they have in common: `reason`, `template` or `organization`; `all` is the group of all that wait.
    pub kind: String,
    /// Which reason, template or organisation; empty for all.
    pub name: String,
    pub runs: i64,
    /// How long the oldest of them has waited; absent if there is none.
    pub oldest_wait_s: Option<f64>,
}

/// Which groups of the queue are wanted.
#[derive(Debug, Clone, Copy)]
pub struct WantedGroups<'a> {
    /// The caps that explain why a run waits.
    pub caps: AdmissionCaps,
    /// The reason of every run that no cap explains: `slots`, or what keeps all workers from claiming.
    pub reason: &'a str,
    /// The number of runs that are counted, the oldest first.
    pub max_runs: i64,
    /// The number of groups of each kind, the largest first.
    pub max_groups: i64,
}

/// How many runs ended in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndCount {
    pub status: Status,
    /// Absent for those that have a verdict.
    pub failure_code: Option<FailureCode>,
    pub runs: i64,
}

impl Store {
    /// Claims the next runs that every cap allows: queued -> preparing.
    pub async fn claim_runs(&self, worker: &str, wanted: Wanted) -> Result<Vec<Claim>, StoreError> {
        let Wanted { worker_half_slots, worker_capacity, caps, most } = wanted;
        self.timed(
            "claim_runs",
            sqlx::query_file_as!(
                Claim,
                "sql/queries/claim_runs.sql",
                worker,
                worker_half_slots,
                worker_capacity,
                caps.total_half_slots,
                caps.browser,
                caps.api,
                caps.per_org,
                caps.per_user,
                caps.heavy_reserve_after_s,
                most
            )
            .fetch_all(&self.pool),
        )
        .await
    }

    /// Why a run of this organisation waits; `None` unless it is queued.
    pub async fn explain_queued(
        &self,
        organization: Uuid,
        run: Uuid,
        caps: &AdmissionCaps,
    ) -> Result<Option<QueuedFacts>, StoreError> {
        self.timed(
            "explain_queued",
            sqlx::query_file_as!(
                QueuedFacts,
                "sql/queries/explain_queued.sql",
                run,
                organization,
                caps.total_half_slots,
                caps.browser,
                caps.api,
                caps.per_org,
                caps.per_user,
                caps.heavy_reserve_after_s,
                MAX_COUNTED
            )
            .fetch_optional(&self.pool),
        )
        .await
    }

    /// How many runs of a user, an organisation or all wait, counted to `most`.
    pub async fn count_queued(
        &self,
        organization: Option<Uuid>,
        user: Option<&str>,
        most: i64,
    ) -> Result<i64, StoreError> {
        self.timed(
            "count_queued",
            sqlx::query_file_scalar!("sql/queries/count_queued.sql", organization as _, user as _, most)
                .fetch_one(&self.pool),
        )
        .await
    }

    /// How long the last runs took.
    pub async fn pace(&self) -> Result<Pace, StoreError> {
        self.timed("pace", sqlx::query_file_as!(Pace, "sql/queries/pace.sql").fetch_one(&self.pool)).await
    }

    /// What is active by state, and how much is queued (counted to 100,000).
    pub async fn queue_counts(&self) -> Result<Vec<StatusCount>, StoreError> {
        self.timed(
            "queue_counts",
            sqlx::query_file_as!(StatusCount, "sql/queries/queue_counts.sql").fetch_all(&self.pool),
        )
        .await
    }

    /// What waits, in groups by reason, template and organisation.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn queue_groups(&self, wanted: WantedGroups<'_>) -> Result<Vec<QueueGroup>, StoreError> {
        let WantedGroups { caps, reason, max_runs, max_groups } = wanted;
        self.timed(
            "queue_groups",
            sqlx::query_file_as!(
                QueueGroup,
                "sql/queries/queue_groups.sql",
                max_runs,
                i64::from(caps.browser),
                i64::from(caps.api),
                i64::from(caps.per_org),
                i64::from(caps.per_user),
                reason,
                max_groups
            )
            .fetch_all(&self.pool),
        )
        .await
    }

    /// How the newest 10,000 of the runs ended that ended within the last `seconds`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn recent_ends(&self, seconds: f64) -> Result<Vec<EndCount>, StoreError> {
        let asked = sqlx::query_file_as!(EndCount, "sql/queries/recent_ends.sql", seconds).fetch_all(&self.pool);
        self.timed("recent_ends", asked).await
    }

    /// How many leases were not renewed for `seconds`.
    pub async fn stale_runs(&self, seconds: f64) -> Result<i64, StoreError> {
        self.timed("stale_runs", sqlx::query_file_scalar!("sql/queries/stale_runs.sql", seconds).fetch_one(&self.pool))
            .await
    }
}
