//! The files that runs handed out, and the rows of the blobs that hold them.
//!
//! Why no blob is deleted that somebody just stored again: see [`UnnamedArtifact`].

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Store, StoreError};
use assize_domain::artifact::{Artifact, LeftOut, Origin, RunArtifacts};

/// The blob of an artifact that no run names, its row locked for as long as this lives.
///
/// Whoever stores the same content meanwhile writes to that row first ([`Store::use_artifacts`]): if that came first, the
/// row is no longer old and is not given out; if the lock came first, it waits. Only then it writes the blob.
#[derive(Debug)]
pub struct UnnamedArtifact {
    transaction: Transaction<'static, Postgres>,
    sha256: String,
}

/// A blob that nobody has stored for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldArtifact {
    pub sha256: String,
    pub last_used_at: DateTime<Utc>,
    /// Whether a run names it.
    pub is_named: bool,
}

/// Where an artifact is, and how it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredArtifact {
    pub sha256: String,
    pub bytes: i64,
    pub media_type: String,
}

impl UnnamedArtifact {
    /// Its blob is gone; now its row goes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the row stays, and the artifact is looked at again.
    pub async fn forget(mut self) -> Result<(), StoreError> {
        let work = async {
            sqlx::query_file!("sql/queries/forget_artifact.sql", self.sha256).execute(&mut *self.transaction).await?;
            self.transaction.commit().await
        };
        super::timed("forget_artifact", work).await
    }
}

impl Store {
    /// Says that these artifacts are about to be stored. Afterwards nobody deletes their blobs for a day.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn use_artifacts(&self, sha256s: &[String]) -> Result<(), StoreError> {
        self.timed("use_artifacts", sqlx::query_file!("sql/queries/use_artifacts.sql", sha256s).execute(&self.pool))
            .await?;
        Ok(())
    }

    /// What a run of an organisation handed out, by origin and name; `None` if there is no such run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn read_artifacts(&self, organization: Uuid, run: Uuid) -> Result<Option<RunArtifacts>, StoreError> {
        let row = self
            .timed(
                "read_artifacts",
                sqlx::query_file_as!(ArtifactsRow, "sql/queries/read_artifacts.sql", organization, run)
                    .fetch_optional(&self.pool),
            )
            .await?;
        Ok(row.map(|row| RunArtifacts {
            files: row.files.map(|files| files.0).unwrap_or_default(),
            left_out: row.left_out.map(|left_out| left_out.0).unwrap_or_default(),
        }))
    }

    /// An artifact of a run of an organisation.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn find_artifact(
        &self,
        organization: Uuid,
        run: Uuid,
        name: &str,
        origin: Option<Origin>,
    ) -> Result<Option<StoredArtifact>, StoreError> {
        let origin = origin.map(Origin::as_str);
        self.timed(
            "find_artifact",
            sqlx::query_file_as!(StoredArtifact, "sql/queries/find_artifact.sql", organization, run, name, origin)
                .fetch_optional(&self.pool),
        )
        .await
    }

    /// Deletes what these runs handed out; their blobs stay until no run names them. How many files.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn delete_artifacts(&self, runs: &[Uuid]) -> Result<u64, StoreError> {
        let done = self
            .timed("delete_artifacts", sqlx::query_file!("sql/queries/delete_artifacts.sql", runs).execute(&self.pool))
            .await?;
        Ok(done.rows_affected())
    }

    /// The next artifacts after one of these that nobody has stored for a day, at most 2,000.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn old_artifacts(&self, after: Option<&OldArtifact>) -> Result<Vec<OldArtifact>, StoreError> {
        let after_at = after.map(|after| after.last_used_at).unwrap_or_default();
        let after_sha256 = after.map(|after| after.sha256.as_str()).unwrap_or_default();
        self.timed(
            "old_artifacts",
            sqlx::query_file_as!(OldArtifact, "sql/queries/old_artifacts.sql", after_at, after_sha256)
                .fetch_all(&self.pool),
        )
        .await
    }

    /// An artifact that nobody has stored for a day and no run names, for its deletion; `None` if that is no longer so, or
    /// somebody else deletes it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn lock_unnamed_artifact(&self, sha256: &str) -> Result<Option<UnnamedArtifact>, StoreError> {
        let work = async {
            let mut transaction = self.pool.begin().await?;
            let found = sqlx::query_file_scalar!("sql/queries/lock_unnamed_artifact.sql", sha256)
                .fetch_optional(&mut *transaction)
                .await?;
            Ok(found.map(|sha256| UnnamedArtifact { transaction, sha256 }))
        };
        self.timed("lock_unnamed_artifact", work).await
    }

    /// Takes note of artifacts in the blob store, as used now; those that are known stay as they are. How many were new.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres does not answer.
    pub async fn adopt_artifacts(&self, sha256s: &[String]) -> Result<u64, StoreError> {
        let adopted = self
            .timed("adopt_artifacts", sqlx::query_file!("sql/queries/adopt_artifacts.sql", sha256s).execute(&self.pool))
            .await?;
        Ok(adopted.rows_affected())
    }
}

struct ArtifactsRow {
    left_out: Option<Json<LeftOut>>,
    files: Option<Json<Vec<Artifact>>>,
}
