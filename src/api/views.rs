//! Runs and submissions as the API returns them.

use assize_archive::Contents;
use assize_domain::queue::{Waiting, WaitingFor};
use assize_domain::run::{Cause, Class, Evidence, FailureCode, StageName, Status};
use assize_domain::verdict::unsigned;
use assize_store::runs::RunRow;
use assize_store::submissions::SubmissionRow;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// One evaluation of a submission.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub(super) struct RunView {
    id: Uuid,
    submission_id: Uuid,
    template: String,
    user: String,
    status: Status,
    /// The stage that is running, or ran last.
    phase: Option<StageName>,
    /// The number of the attempt, from 1. A failure of the infrastructure starts another attempt.
    attempt: i32,
    class: Option<Class>,
    score: Option<f64>,
    max_score: Option<f64>,
    /// The position in the queue, and why the run waits. Only `GET /v1/runs/{id}` of a queued run has it.
    queue: Option<QueueView>,
    /// Why the run ended without a verdict; null while it may still reach one.
    failure: Option<FailureView>,
    cancel_requested_at: Option<DateTime<Utc>>,
    submitted_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

/// Why a run waits. It may be one second old. A change of it does not change the ETag of the run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunQueue)]
pub(super) struct QueueView {
    /// The number of runs that are expected to start earlier, plus one. 1,000 means 1,000 or more.
    #[schema(minimum = 1, maximum = 1000)]
    position: i64,
    waiting_for: WaitingFor,
    /// The same as a sentence, with the limit and the value seen.
    detail: String,
    /// An estimate from the position, the duration of recent runs and the number of workers; null if one of these is not
    /// known.
    estimated_start: Option<DateTime<Utc>>,
}

/// Why a run ended without a verdict.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunFailure)]
pub(super) struct FailureView {
    code: FailureCode,
    /// Who is responsible for the failure.
    cause: Cause,
    /// Whether the same project may succeed next time.
    transient: bool,
    evidence: Option<Evidence>,
}

/// A project that was submitted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Submission)]
pub(super) struct SubmissionView {
    id: Uuid,
    user: String,
    template: String,
    /// The SHA-256 digest of the archive in hexadecimal. This field and the next two are null until a repository was
    /// fetched.
    archive_sha256: Option<String>,
    /// The size of the archive, uploaded or created from the repository, in bytes.
    archive_bytes: Option<i64>,
    /// The number of files and folders in the archive.
    archive_entries: Option<i64>,
    /// Which folder of the archive became the top of the project, and what is not unpacked as it is. Null until a
    /// repository was fetched, and for submissions that are older than this field.
    archive_contents: Option<Contents>,
    /// The repository; null if the archive was uploaded.
    source: Option<SourceView>,
    /// The metadata of the submission, unchanged.
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
    /// The commit that the ref named when it was fetched; null until then. All runs of the submission use it.
    commit: Option<String>,
}

impl From<RunRow> for RunView {
    fn from(run: RunRow) -> Self {
        // A run that was queued again has the code of its last attempt until its next claim.
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
    /// Returns the view of a run with the reason why it waits.
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
            archive_contents: row.archive_contents.and_then(|contents| serde_json::from_value(contents).ok()),
            metadata: row.metadata,
            submitted_at: row.submitted_at,
        }
    }
}
