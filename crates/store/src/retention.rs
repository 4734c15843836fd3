//! What is kept for how long: what has expired, in pages, and its deletion.
//!
//! Why no archive is lost that someone just handed in again: see [`ExpiredArchive`].

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Store, StoreError};

/// An archive that nobody used for long, its row locked for as long as this lives.
///
/// Whoever hands in the same content meanwhile says so first ([`Store::use_archive`]): if that came first, the row is
/// no longer old and is not given out; if the lock came first, it waits. Only then it writes the blob, whether
/// there is one or not, and a blob that was written within the hour is not deleted, whatever its row says.
#[derive(Debug)]
pub struct ExpiredArchive {
    transaction: Transaction<'static, Postgres>,
    pub sha256: String,
    pub last_used_at: DateTime<Utc>,
}

/// A place in the order of ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputMark {
    pub finished_at: DateTime<Utc>,
    pub run_id: Uuid,
}

impl Default for OutputMark {
    /// Before the first run.
    fn default() -> Self {
        Self { finished_at: DateTime::UNIX_EPOCH, run_id: Uuid::nil() }
    }
}

/// A run whose output has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiredOutput {
    pub id: Uuid,
    /// Its last; the earlier ones may have written too.
    pub attempt: i32,
    pub finished_at: DateTime<Utc>,
}

/// An archive whose time is over, without a lock on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldArchive {
    pub sha256: String,
    pub last_used_at: DateTime<Utc>,
}

/// How many rows have expired, each counted to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiredRows {
    pub workers: i64,
    pub idempotency_keys: i64,
    pub runs: i64,
}

impl ExpiredArchive {
    /// Its blob is gone; now its row goes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the row stays, and the archive is looked at again.
    pub async fn forget(mut self) -> Result<(), StoreError> {
        let work = async {
            sqlx::query_file!("sql/queries/forget_archive.sql", self.sha256).execute(&mut *self.transaction).await?;
            self.transaction.commit().await
        };
        super::timed("forget_archive", work).await
    }
}

impl Store {
    /// Says that an archive is about to be used. Afterwards nobody deletes its blob for at least a day. Takes as
    /// long for an archive that is known as for one that is not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn use_archive(&self, sha256: &str) -> Result<(), StoreError> {
        self.timed("use_archive", sqlx::query_file!("sql/queries/use_archive.sql", sha256).execute(&self.pool)).await?;
        Ok(())
    }

    /// The archive, after one that was looked at before, whose last use is longest ago, if that is more than
    /// `days`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn lock_expired_archive(
        &self,
        days: u32,
        after: Option<(DateTime<Utc>, String)>,
    ) -> Result<Option<ExpiredArchive>, StoreError> {
        let (after_at, after_sha256) = after.unwrap_or_default();
        let work = async {
            let mut transaction = self.pool.begin().await?;
            let found = sqlx::query_file!("sql/queries/lock_expired_archive.sql", signed(days), after_at, after_sha256)
                .fetch_optional(&mut *transaction)
                .await?;
            Ok(found.map(|row| ExpiredArchive { transaction, sha256: row.sha256, last_used_at: row.last_used_at }))
        };
        self.timed("lock_expired_archive", work).await
    }

    /// The archives after one that was looked at before that the janitor would delete, at most 200. They are not locked, so
    /// they are for counting only.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn expired_archives(&self, days: u32, after: Option<&OldArchive>) -> Result<Vec<OldArchive>, StoreError> {
        let (after_at, after_sha256) =
            after.map_or((DateTime::UNIX_EPOCH, ""), |last| (last.last_used_at, &last.sha256));
        self.timed(
            "expired_archives",
            sqlx::query_file_as!(OldArchive, "sql/queries/expired_archives.sql", signed(days), after_at, after_sha256)
                .fetch_all(&self.pool),
        )
        .await
    }

    /// How many rows the janitor would delete now, each counted to `most`: keys that are more than `key_days` old, and runs
    /// that ended more than `run_days` ago; 0 days of runs are for ever.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn count_expired(&self, key_days: u32, run_days: u32, most: i64) -> Result<ExpiredRows, StoreError> {
        let (key_days, run_days) = (signed(key_days), signed(run_days));
        self.timed(
            "count_expired",
            sqlx::query_file_as!(ExpiredRows, "sql/queries/count_expired.sql", key_days, run_days, most)
                .fetch_one(&self.pool),
        )
        .await
    }

    /// Takes note of archives in the blob store, as used now; those that are known stay as they are. How
    /// many were new.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn adopt_archives(&self, sha256s: &[String]) -> Result<u64, StoreError> {
        let adopted = self
            .timed("adopt_archives", sqlx::query_file!("sql/queries/adopt_archives.sql", sha256s).execute(&self.pool))
            .await?;
        Ok(adopted.rows_affected())
    }

    /// Up to where output has been deleted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn output_mark(&self) -> Result<OutputMark, StoreError> {
        let mark = self
            .timed(
                "output_mark",
                sqlx::query_file_as!(OutputMark, "sql/queries/output_mark.sql").fetch_optional(&self.pool),
            )
            .await?;
        Ok(mark.unwrap_or_default())
    }

    /// The next runs after `mark` that ended more than `days` ago, at most 200.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn expired_output(&self, days: u32, mark: OutputMark) -> Result<Vec<ExpiredOutput>, StoreError> {
        let OutputMark { finished_at, run_id } = mark;
        self.timed(
            "expired_output",
            sqlx::query_file_as!(ExpiredOutput, "sql/queries/expired_output.sql", signed(days), finished_at, run_id)
                .fetch_all(&self.pool),
        )
        .await
    }

    /// Says up to where output has been deleted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn mark_output(&self, mark: OutputMark) -> Result<(), StoreError> {
        self.timed(
            "mark_output",
            sqlx::query_file!("sql/queries/mark_output.sql", mark.finished_at, mark.run_id).execute(&self.pool),
        )
        .await?;
        Ok(())
    }

    /// Deletes runs that ended more than `days` ago, with their events, and the submissions that have no run
    /// left. With `after_output`, only runs whose output was deleted before. How many runs, at most 100.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn delete_old_runs(&self, days: u32, after_output: bool) -> Result<i64, StoreError> {
        self.timed(
            "delete_old_runs",
            sqlx::query_file_scalar!("sql/queries/delete_old_runs.sql", signed(days), after_output)
                .fetch_one(&self.pool),
        )
        .await
    }

    /// Deletes idempotency keys that are more than `days` old. How many, at most 500.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn delete_old_keys(&self, days: u32) -> Result<u64, StoreError> {
        let done = self
            .timed(
                "delete_old_keys",
                sqlx::query_file!("sql/queries/delete_old_keys.sql", signed(days)).execute(&self.pool),
            )
            .await?;
        Ok(done.rows_affected())
    }
}

fn signed(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}
