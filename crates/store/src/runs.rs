//! Runs as the API reads and cancels them.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::types::{OptionalText, Text};
use assize_domain::run::{Evidence, FailureCode, StageName, Status};
use assize_domain::verdict::Verdict;
use assize_signing::Envelope;

/// A run without its verdict.
#[derive(Debug, Clone)]
pub struct RunRow {
    pub id: Uuid,
    pub project_submission_id: Uuid,
    pub organization_id: Uuid,
    /// As it was sent.
    pub user: String,
    pub template: String,
    pub half_slots: i32,
    pub status: Status,
    pub phase: Option<StageName>,
    pub attempt: i32,
    pub lease_epoch: i64,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub submitted_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub failure_code: Option<FailureCode>,
    pub evidence: Option<Json<Evidence>>,
    pub score: Option<f64>,
    pub max_score: Option<f64>,
}

/// A run's state and, if it completed, its verdict.
#[derive(Debug)]
pub struct VerdictRow {
    pub status: Status,
    pub verdict: Option<Json<Verdict>>,
}

/// A run's state and the signed statement of its end, if there is one.
#[derive(Debug)]
pub struct EnvelopeRow {
    pub status: Status,
    pub envelope: Option<Json<Envelope>>,
}

/// Where a page of runs begins: after this row of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    pub submitted_at: DateTime<Utc>,
    pub id: Uuid,
}

impl After {
    /// Before the first page.
    pub const TOP: Self = Self { submitted_at: DateTime::<Utc>::MAX_UTC, id: Uuid::max() };
}

/// What a request to cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It was queued and has ended.
    Ended,
    /// It is active; its worker stops it.
    Requested,
    /// It had ended before, or there is no such run, or it went back to the queue between the two
    /// statements: read it, and if it has not ended, ask again.
    Unchanged,
}

impl Store {
    /// A run of this organisation.
    pub async fn read_run(&self, organization: Uuid, id: Uuid) -> Result<Option<RunRow>, StoreError> {
        self.timed(
            "read_run",
            sqlx::query_file_as!(RunRow, "sql/queries/read_run.sql", id, organization).fetch_optional(&self.pool),
        )
        .await
    }

    /// The verdict of a run of this organisation.
    pub async fn read_verdict(&self, organization: Uuid, id: Uuid) -> Result<Option<VerdictRow>, StoreError> {
        self.timed(
            "read_verdict",
            sqlx::query_file_as!(VerdictRow, "sql/queries/read_verdict.sql", id, organization)
                .fetch_optional(&self.pool),
        )
        .await
    }

    /// The signed statement of how a run of this organisation ended.
    pub async fn read_envelope(&self, organization: Uuid, id: Uuid) -> Result<Option<EnvelopeRow>, StoreError> {
        self.timed(
            "read_envelope",
            sqlx::query_file_as!(EnvelopeRow, "sql/queries/read_envelope.sql", id, organization)
                .fetch_optional(&self.pool),
        )
        .await
    }

    /// A page of an organisation's runs, newest first.
    pub async fn list_runs(
        &self,
        organization: Uuid,
        status: Option<Status>,
        after: After,
        limit: i64,
    ) -> Result<Vec<RunRow>, StoreError> {
        let Some(status) = status else {
            return self
                .timed(
                    "list_runs",
                    sqlx::query_file_as!(RunRow, "sql/queries/list_runs.sql", organization, after.id, limit)
                        .fetch_all(&self.pool),
                )
                .await;
        };
        // Postgres has no year 262142.
        let submitted_at = (after.submitted_at != DateTime::<Utc>::MAX_UTC).then_some(after.submitted_at);
        self.timed(
            "list_runs_by_status",
            sqlx::query_file_as!(
                RunRow,
                "sql/queries/list_runs_by_status.sql",
                organization,
                status.as_str(),
                submitted_at,
                after.id,
                limit
            )
            .fetch_all(&self.pool),
        )
        .await
    }

    /// Those of the ids that are runs of this organisation, newest first.
    pub async fn runs_by_ids(&self, organization: Uuid, ids: &[Uuid]) -> Result<Vec<RunRow>, StoreError> {
        self.timed(
            "runs_by_ids",
            sqlx::query_file_as!(RunRow, "sql/queries/runs_by_ids.sql", ids, organization).fetch_all(&self.pool),
        )
        .await
    }

    /// Ends a queued run, or asks the worker of an active one to stop it.
    ///
    /// Two statements, and a claim may come between them: the second then finds the run active. When
    /// a requeue comes between, the answer is [`Cancelled::Unchanged`].
    pub async fn cancel_run(&self, organization: Uuid, id: Uuid) -> Result<Cancelled, StoreError> {
        let evidence = Evidence { message: "cancelled while it was queued".to_owned(), ..Evidence::default() };
        let ended = self
            .timed(
                "cancel_run",
                sqlx::query_file!("sql/queries/cancel_run.sql", id, organization, Json(evidence) as _)
                    .execute(&self.pool),
            )
            .await?;
        if ended.rows_affected() == 1 {
            return Ok(Cancelled::Ended);
        }
        let requested = self
            .timed(
                "request_cancel",
                sqlx::query_file!("sql/queries/request_cancel.sql", id, organization).execute(&self.pool),
            )
            .await?;
        Ok(if requested.rows_affected() == 1 { Cancelled::Requested } else { Cancelled::Unchanged })
    }
}
