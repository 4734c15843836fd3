//! Submissions: what was handed in, once.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::runs::RunRow;
use super::{Store, StoreError};
use crate::types::{OptionalText, Text};
use assize_domain::run::{FailureCode, StageName, Status};
use assize_domain::unicode::fold;
use assize_signing::Envelope;

/// A submission about to be stored, with the ids that it and its first run will have.
#[derive(Debug)]
pub struct NewSubmission<'a> {
    pub id: Uuid,
    pub run_id: Uuid,
    pub organization_id: Uuid,
    /// As it was sent; it is counted as what [`fold`] makes of it.
    pub user: &'a str,
    pub template: &'a str,
    pub half_slots: i32,
    pub source: NewSource<'a>,
    pub metadata: &'a serde_json::Value,
    pub idempotency: Option<Idempotency<'a>>,
    /// Signed, unless signing is off.
    pub receipt: Option<&'a Envelope>,
}

/// Where the project comes from.
#[derive(Debug, Clone, Copy)]
pub enum NewSource<'a> {
    /// It came with the request, and is in the blob store.
    Archive { sha256: &'a str, bytes: i64, entries: i64, contents: &'a serde_json::Value },
    /// The first run of the submission fetches it.
    Repository { url: &'a str, reference: &'a str },
}

impl<'a> NewSource<'a> {
    const fn archive(self) -> Option<(&'a str, i64, i64)> {
        match self {
            Self::Archive { sha256, bytes, entries, .. } => Some((sha256, bytes, entries)),
            Self::Repository { .. } => None,
        }
    }

    const fn contents(self) -> Option<&'a serde_json::Value> {
        match self {
            Self::Archive { contents, .. } => Some(contents),
            Self::Repository { .. } => None,
        }
    }

    const fn repository(self) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Archive { .. } => None,
            Self::Repository { url, reference } => Some((url, reference)),
        }
    }
}

/// The client's key, and the digest of what it asked for with it.
#[derive(Debug, Clone, Copy)]
pub struct Idempotency<'a> {
    pub key: &'a str,
    pub request_sha256: &'a [u8],
}

/// What became of a new submission.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    New {
        submitted_at: DateTime<Utc>,
    },
    /// The key was used before, for this very request.
    Repeated {
        submission_id: Uuid,
    },
    /// The key was used before, for another request.
    Conflict,
}

/// A submission as it was handed in.
#[derive(Debug, Clone, Serialize)]
pub struct SubmissionRow {
    pub id: Uuid,
    pub user: String,
    pub template: String,
    /// This and the next two: absent until a repository was fetched.
    pub archive_sha256: Option<String>,
    pub archive_bytes: Option<i64>,
    pub archive_entries: Option<i64>,
    /// What the scan found in it; absent for submissions before it kept that too.
    pub archive_contents: Option<serde_json::Value>,
    /// This and the next: absent if the archive came with the request.
    pub repository_url: Option<String>,
    pub repository_ref: Option<String>,
    /// Absent until the repository was fetched.
    pub repository_commit: Option<String>,
    pub metadata: serde_json::Value,
    pub submitted_at: DateTime<Utc>,
    /// As it was signed then.
    pub receipt: Option<Json<Envelope>>,
}

impl SubmissionRow {
    /// The row that [`Store::insert_submission`] just made.
    #[must_use]
    pub fn stored(new: &NewSubmission<'_>, submitted_at: DateTime<Utc>) -> Self {
        let (archive, repository) = (new.source.archive(), new.source.repository());
        Self {
            id: new.id,
            user: new.user.to_owned(),
            template: new.template.to_owned(),
            archive_sha256: archive.map(|(sha256, ..)| sha256.to_owned()),
            archive_bytes: archive.map(|(_, bytes, _)| bytes),
            archive_entries: archive.map(|(.., entries)| entries),
            archive_contents: new.source.contents().cloned(),
            repository_url: repository.map(|(url, _)| url.to_owned()),
            repository_ref: repository.map(|(_, reference)| reference.to_owned()),
            repository_commit: None,
            metadata: new.metadata.clone(),
            submitted_at,
            receipt: new.receipt.cloned().map(Json),
        }
    }
}

impl RunRow {
    /// The run that [`Store::insert_submission`] just made: queued, for the first time.
    #[must_use]
    pub fn queued(new: &NewSubmission<'_>, submitted_at: DateTime<Utc>) -> Self {
        Self {
            id: new.run_id,
            project_submission_id: new.id,
            organization_id: new.organization_id,
            user: new.user.to_owned(),
            template: new.template.to_owned(),
            half_slots: new.half_slots,
            status: Status::Queued,
            phase: None,
            attempt: 1,
            lease_epoch: 0,
            cancel_requested_at: None,
            submitted_at,
            created_at: submitted_at,
            started_at: None,
            finished_at: None,
            failure_code: None,
            evidence: None,
            score: None,
            max_score: None,
        }
    }
}

/// The first request that used an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstUse {
    pub request_sha256: Vec<u8>,
    pub project_submission_id: Uuid,
}

impl Store {
    /// Stores a submission with its first run and its idempotency key, all or nothing.
    pub async fn insert_submission(&self, new: &NewSubmission<'_>) -> Result<Inserted, StoreError> {
        let (archive, repository) = (new.source.archive(), new.source.repository());
        let submitted_at = self
            .timed(
                "insert_submission",
                sqlx::query_file_scalar!(
                    "sql/queries/insert_submission.sql",
                    new.id,
                    new.organization_id,
                    fold(new.user),
                    new.template,
                    archive.map(|(sha256, ..)| sha256),
                    archive.map(|(_, bytes, _)| bytes),
                    archive.map(|(.., entries)| entries),
                    new.metadata,
                    new.half_slots,
                    new.idempotency.map(|first| first.key),
                    new.idempotency.map(|first| first.request_sha256),
                    new.run_id,
                    new.receipt.map(Json) as _,
                    repository.map(|(url, _)| url),
                    repository.map(|(_, reference)| reference),
                    new.user,
                    new.source.contents()
                )
                .fetch_optional(&self.pool),
            )
            .await?;
        if let Some(submitted_at) = submitted_at {
            return Ok(Inserted::New { submitted_at });
        }
        let Some(idempotency) = new.idempotency else {
            return Err(StoreError::Refused { query: "insert_submission", reason: "no row was made".to_owned() });
        };
        let first = self.first_use(new.organization_id, idempotency.key).await?;
        let Some(first) = first else {
            // It was there a moment ago, and then too old.
            let reason = "the idempotency key was just deleted".to_owned();
            return Err(StoreError::Unavailable { query: "insert_submission", reason });
        };
        Ok(if first.request_sha256 == idempotency.request_sha256 {
            Inserted::Repeated { submission_id: first.project_submission_id }
        } else {
            Inserted::Conflict
        })
    }

    /// The first request of this organisation that used an idempotency key.
    pub async fn first_use(&self, organization: Uuid, key: &str) -> Result<Option<FirstUse>, StoreError> {
        self.timed(
            "idempotent_submission",
            sqlx::query_file_as!(FirstUse, "sql/queries/idempotent_submission.sql", organization, key)
                .fetch_optional(&self.pool),
        )
        .await
    }

    /// A submission of this organisation.
    pub async fn read_submission(&self, organization: Uuid, id: Uuid) -> Result<Option<SubmissionRow>, StoreError> {
        self.timed(
            "read_submission",
            sqlx::query_file_as!(SubmissionRow, "sql/queries/read_submission.sql", id, organization)
                .fetch_optional(&self.pool),
        )
        .await
    }

    /// The runs of a submission, newest first, at most 100.
    pub async fn runs_of_submission(&self, id: Uuid) -> Result<Vec<RunRow>, StoreError> {
        self.timed(
            "runs_of_submission",
            sqlx::query_file_as!(RunRow, "sql/queries/runs_of_submission.sql", id).fetch_all(&self.pool),
        )
        .await
    }
}
