//! The pauses that an operator sets: of every worker, or of one, which then drains.

use chrono::{DateTime, Utc};

use super::{Store, StoreError};

/// The longest reason of a pause, in characters. The table allows no more.
pub const MAX_REASON_CHARS: usize = 200;

/// Which workers a pause holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausedWorkers<'a> {
    /// All workers, those that start later too.
    Every,
    /// The worker of this name.
    One(&'a str),
}

impl PausedWorkers<'_> {
    const fn id(&self) -> &str {
        match self {
            Self::Every => "",
            Self::One(id) => id,
        }
    }
}

/// The pause of every worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPause {
    /// The reason that the operator gave; it may be empty.
    pub reason: String,
    /// When the pause began.
    pub since: DateTime<Utc>,
}

impl Store {
    /// Pauses claims. When this has returned, no claim of these workers succeeds, whether they have noticed or not. A pause
    /// that exists gets the new reason.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn pause_claims(&self, workers: PausedWorkers<'_>, reason: &str) -> Result<(), StoreError> {
        self.timed(
            "pause_claims",
            sqlx::query_file!("sql/queries/pause_claims.sql", workers.id(), reason).execute(&self.pool),
        )
        .await?;
        Ok(())
    }

    /// Ends a pause. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn resume_claims(&self, workers: PausedWorkers<'_>) -> Result<bool, StoreError> {
        let done = self
            .timed(
                "resume_claims",
                sqlx::query_file!("sql/queries/resume_claims.sql", workers.id()).execute(&self.pool),
            )
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Returns the pause of every worker, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn operator_pause(&self) -> Result<Option<OperatorPause>, StoreError> {
        let asked = sqlx::query_file_as!(OperatorPause, "sql/queries/operator_pause.sql").fetch_optional(&self.pool);
        self.timed("operator_pause", asked).await
    }
}
