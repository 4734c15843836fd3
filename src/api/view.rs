//! Runs and submissions as clients see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::run::{Cause, Class, Evidence, FailureCode, StageName, Status};
use crate::store::runs::RunRow;
use crate::store::submissions::SubmissionRow;

/// A run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub(super) struct RunView {
    id: Uuid,
    submission_id: Uuid,
    template: String,
    user: String,
    status: Status,
    /// The stage that runs, or ran last.
    phase: Option<StageName>,
    /// From 1; a fault of the infrastructure is followed by another attempt.
    attempt: i32,
    class: Option<Class>,
    score: Option<f64>,
    max_score: Option<f64>,
    /// Why it ended without a verdict; absent while it may still reach one.
    failure: Option<FailureView>,
    cancel_requested_at: Option<DateTime<Utc>>,
    submitted_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

/// Why a run ended without a verdict.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunFailure)]
pub(super) struct FailureView {
    code: FailureCode,
    /// Whose fault it is.
    cause: Cause,
    /// Whether the same project may do better the next time.
    transient: bool,
    evidence: Option<Evidence>,
}

/// A submission.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Submission)]
pub(super) struct SubmissionView {
    id: Uuid,
    user: String,
    template: String,
    archive_sha256: String,
    /// As it was uploaded.
    archive_bytes: i64,
    /// Files and folders in it.
    archive_entries: i64,
    /// As it was sent.
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    submitted_at: DateTime<Utc>,
}

impl From<RunRow> for RunView {
    fn from(run: RunRow) -> Self {
        // A run that was queued again keeps the last attempt's code until its next claim.
        let failure = run.failure_code.filter(|_| run.status.is_terminal()).map(|code| FailureView {
            code,
            cause: code.cause(),
            transient: code.is_transient(),
            evidence: run.evidence.map(|evidence| evidence.0),
        });
        Self {
            id: run.id,
            submission_id: run.project_submission_id,
            template: run.template,
            user: run.user_ref,
            status: run.status,
            phase: run.phase,
            attempt: run.attempt,
            class: Class::from_half_slots(run.half_slots),
            score: run.score,
            max_score: run.max_score,
            failure,
            cancel_requested_at: run.cancel_requested_at,
            submitted_at: run.submitted_at,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

impl From<SubmissionRow> for SubmissionView {
    fn from(row: SubmissionRow) -> Self {
        Self {
            id: row.id,
            user: row.user_ref,
            template: row.template,
            archive_sha256: row.archive_sha256,
            archive_bytes: row.archive_bytes,
            archive_entries: row.archive_entries,
            metadata: row.metadata,
            submitted_at: row.submitted_at,
        }
    }
}
