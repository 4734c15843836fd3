//! The workers that live, for explaining why a run waits.

use super::{Store, StoreError};

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

impl Store {
    /// Says that this worker lives.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn report_worker(&self, report: WorkerReport<'_>) -> Result<(), StoreError> {
        let WorkerReport { id, half_slots, state, detail, unenforced } = report;
        self.timed(
            "report_worker",
            sqlx::query_file!("sql/queries/report_worker.sql", id, half_slots, state, detail, unenforced)
                .execute(&self.pool),
        )
        .await?;
        Ok(())
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

    /// Removes the rows of workers that died long ago. How many there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn forget_dead_workers(&self) -> Result<u64, StoreError> {
        let done = self
            .timed("forget_dead_workers", sqlx::query_file!("sql/queries/forget_dead_workers.sql").execute(&self.pool))
            .await?;
        Ok(done.rows_affected())
    }
}
