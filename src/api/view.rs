//! Runs and submissions as clients see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use assize_domain::queue::{Waiting, WaitingFor};
use assize_domain::run::{Cause, Class, Evidence, FailureCode, StageName, Status};
use assize_domain::verdict::unsigned;
use assize_store::runs::RunRow;
use assize_store::submissions::SubmissionRow;

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
    /// Where it is in the queue and why it waits: only of one run that is read by its id while it is queued.
    queue: Option<QueueView>,
    /// Why it ended without a verdict; absent while it may still reach one.
    failure: Option<FailureView>,
    cancel_requested_at: Option<DateTime<Utc>>,
    submitted_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

/// Why a run waits. It changes without the run's ETag, and may be a second old.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunQueue)]
pub(super) struct QueueView {
    /// Runs that are expected to start before it, plus one; counted to 1,000, which is that many or more.
    #[schema(minimum = 1, maximum = 1000)]
    position: i64,
    waiting_for: WaitingFor,
    /// The same in a sentence, with the limit and what was seen.
    detail: String,
    /// From its position, the time that the last runs took and the workers that there are; null if any of
    /// this is not known.
    estimated_start: Option<DateTime<Utc>>,
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
    /// This and the next two: null until a repository was fetched.
    archive_sha256: Option<String>,
    /// As it was uploaded, or packed from the repository.
    archive_bytes: Option<i64>,
    /// Files and folders in it.
    archive_entries: Option<i64>,
    /// Null if the archive came with the request.
    source: Option<SourceView>,
    /// As it was sent.
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    submitted_at: DateTime<Utc>,
}

/// The repository that a submission names.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubmissionSource)]
pub(super) struct SourceView {
    repository_url: String,
    r#ref: String,
    /// What the ref named when it was fetched; null until then. All runs of the submission work on it.
    commit: Option<String>,
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
            user: run.user,
            status: run.status,
            phase: run.phase,
            attempt: run.attempt,
            class: Class::from_half_slots(run.half_slots),
            score: run.score.map(unsigned),
            max_score: run.max_score.map(unsigned),
            queue: None,
            failure,
            cancel_requested_at: run.cancel_requested_at,
            submitted_at: run.submitted_at,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

impl RunView {
    /// The same, with why it waits.
    pub fn waiting(run: RunRow, waiting: Option<Waiting>) -> Self {
        let queue = waiting.map(|waiting| QueueView {
            position: waiting.position,
            waiting_for: waiting.waiting_for,
            detail: waiting.detail,
            estimated_start: waiting.estimated_start,
        });
        Self { queue, ..Self::from(run) }
    }
}

impl From<SubmissionRow> for SubmissionView {
    fn from(row: SubmissionRow) -> Self {
        let commit = row.repository_commit;
        let source = row.repository_url.zip(row.repository_ref).map(|(repository_url, r#ref)| SourceView {
            repository_url,
            r#ref,
            commit,
        });
        Self {
            source,
            id: row.id,
            user: row.user,
            template: row.template,
            archive_sha256: row.archive_sha256,
            archive_bytes: row.archive_bytes,
            archive_entries: row.archive_entries,
            metadata: row.metadata,
            submitted_at: row.submitted_at,
        }
    }
}
