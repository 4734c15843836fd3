//! The workers that live, for explaining why a run waits and for operators.

use assize_domain::queue::OperatorPauses;
use chrono::{DateTime, Utc};

use super::{Store, StoreError};

/// The version that a worker reports: that of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a worker says of itself.
#[derive(Debug, Clone, Copy)]
pub struct WorkerReport<'a> {
    pub id: &'a str,
    /// All that it has, free or not.
    pub half_slots: i32,
    /// `claiming`, or the name of what holds it back.
    pub state: &'a str,
    pub detail: &'a str,
    /// Limits of its cells that do not hold and are allowed not to.
    pub unenforced: &'a [String],
}

/// A worker as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRow {
    pub id: String,
    /// The version of its program; empty for one that does not report it.
    pub version: String,
    /// All that it has, free or not.
    pub half_slots: i32,
    /// `claiming`, or the name of what holds it back, as it last reported.
    pub state: String,
    pub detail: String,
    pub started_at: DateTime<Utc>,
    /// Seconds since its last report, by the database's clock.
    pub seen_ago_s: f64,
    /// Active runs under its name.
    pub runs: i64,
    pub used_half_slots: i64,
    /// Why an operator drains it, if one does.
    pub drain_reason: Option<String>,
}

impl Store {
    /// Says that this worker lives. Returns the pauses of an operator that hold for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn report_worker(&self, report: WorkerReport<'_>) -> Result<OperatorPauses, StoreError> {
        let WorkerReport { id, half_slots, state, detail, unenforced } = report;
        self.timed(
            "report_worker",
            sqlx::query_file_as!(
                OperatorPauses,
                "sql/queries/report_worker.sql",
                id,
                half_slots,
                state,
                detail,
                unenforced,
                VERSION
            )
            .fetch_one(&self.pool),
        )
        .await
    }

    /// The workers that were heard of within the hour, by name, with what is active on them; at most 1,000.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn list_workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        let asked = sqlx::query_file_as!(WorkerRow, "sql/queries/list_workers.sql").fetch_all(&self.pool);
        self.timed("list_workers", asked).await
    }

    /// The limits that do not hold where some worker lives, each once, by name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn unenforced_limits(&self) -> Result<Vec<String>, StoreError> {
        let asked = sqlx::query_file_scalar!("sql/queries/unenforced_limits.sql").fetch_all(&self.pool);
        self.timed("unenforced_limits", asked).await
    }

    /// The number of workers that live.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn count_workers(&self) -> Result<i64, StoreError> {
        let asked = sqlx::query_file_scalar!("sql/queries/count_workers.sql").fetch_one(&self.pool);
        self.timed("count_workers", asked).await
    }

    /// Says that this worker stops.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn forget_worker(&self, id: &str) -> Result<(), StoreError> {
        self.timed("forget_worker", sqlx::query_file!("sql/queries/forget_worker.sql", id).execute(&self.pool)).await?;
        Ok(())
    }

    /// Removes the rows of workers that died long ago, and the pauses of workers that are gone. How many workers there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn forget_dead_workers(&self) -> Result<u64, StoreError> {
        let asked = sqlx::query_file_scalar!("sql/queries/forget_dead_workers.sql").fetch_one(&self.pool);
        let removed = self.timed("forget_dead_workers", asked).await?;
        Ok(u64::try_from(removed).unwrap_or(0))
    }
}
