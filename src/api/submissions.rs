//! The routes of submissions: create and read.

use std::sync::Arc;

use assize_archive::{self, ArchiveSummary};
use assize_observe::event::{self, RunIdentity};
use assize_signing::Envelope;
use assize_signing::receipt::{ReceivedProject, sign_receipt};
use assize_signing::statement::to_micros;
use assize_store::runs::RunRow;
use assize_store::submissions::{Idempotency, Inserted, NewSource, NewSubmission, SubmissionRow};
use axum::Json;
use axum::extract::{Extension, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::Instrument;
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::Caller;
use super::extract::PathId;
use super::form::{self, FormContext, FormSchema, JsonSubmission, Project, SubmissionForm};
use super::problem::{Problem, ROUTE, WITH_ID, WITH_KEY, codes, problem_responses};
use super::queue_quota::QueueQuotaCheck;
use super::request_body::BodyProgress;
use super::state::ApiState;
use super::views::{RunView, SubmissionView};
use super::{disk_space, idempotency};
use crate::intake::keep::keep;
use crate::intake::spool::Spooled;
use crate::template::Template;

/// A stored submission.
#[derive(Serialize, ToSchema)]
pub(super) struct Submitted {
    submission: SubmissionView,
    /// Its first run.
    run: RunView,
    /// The signed statement that the service received this archive from this user at this time. Null if the installation
    /// signs nothing, or if the submission names a repository. Store it: `assize verify` checks it.
    receipt: Option<Envelope>,
}

/// A submission with its runs.
#[derive(Serialize, ToSchema)]
pub(super) struct SubmissionWithRuns {
    #[serde(flatten)]
    submission: SubmissionView,
    /// The signed statement of when the archive was received; null if nothing was signed.
    receipt: Option<Envelope>,
    /// The newest run comes first; at most 100.
    runs: Vec<RunView>,
}

problem_responses!(CreateProblems: ROUTE, WITH_KEY, codes::ARCHIVE, codes::REPOSITORY, &[
    codes::ROLE_MISSING,
    codes::NOT_MULTIPART,
    codes::MALFORMED_MULTIPART,
    codes::MALFORMED_JSON,
    codes::CHUNKS_TOO_SMALL,
    codes::MISSING_FIELD,
    codes::UNKNOWN_FIELD,
    codes::REPEATED_FIELD,
    codes::BAD_FIELD,
    codes::FIELD_TOO_LONG,
    codes::UNKNOWN_TEMPLATE,
    codes::BAD_IDEMPOTENCY_KEY,
    codes::IDEMPOTENCY_KEY_REUSED,
    codes::ARCHIVE_TOO_LARGE,
    codes::BODY_STALLED,
    codes::BODY_TOO_SLOW,
    codes::USER_QUEUE_FULL,
    codes::ORG_QUEUE_FULL,
    codes::QUEUE_FULL,
    codes::DISK_FULL,
    codes::STORAGE_UNAVAILABLE,
    codes::SPOOL_UNAVAILABLE,
]);

problem_responses!(ReadProblems: ROUTE, WITH_KEY, WITH_ID);

/// Submit a project
///
/// The service stores the project and queues its first run. A project is an archive, or a repository that a worker
/// fetches later.
#[utoipa::path(
    post, path = "/v1/submissions", tag = "submissions", operation_id = "createSubmission",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible \
        ASCII characters. A repetition with the same key and the same submission returns the first submission again, \
        with the header idempotent-replayed")),
    request_body(content((FormSchema = "multipart/form-data"), (JsonSubmission = "application/json"))),
    responses(
        (status = 202, description = "Stored and queued", body = Submitted,
            headers(("Location" = String, description = "The path of the run"))),
        CreateProblems,
    )
)]
pub(super) async fn create(
    State(api): State<ApiState>,
    caller: Caller,
    Extension(progress): Extension<Arc<BodyProgress>>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = caller.may_submit()?;
    let headers = request.headers().clone();
    let idempotency_key = idempotency::key(&headers)?;
    let is_json = is_json(&headers)?;
    disk_space::check(&api).await?;
    let quota = QueueQuotaCheck { api: &api, organization: caller.organization, idempotency_key };
    let templates = api.templates.current();
    let context = FormContext { config: &api.config, templates: &templates, progress: &progress, quota: Some(&quota) };
    let form = if is_json {
        quota.check(None).await?;
        form::read_json(&context, request.into_body()).await?
    } else {
        let mut multipart = Multipart::from_request(request, &())
            .await
            .map_err(|rejection| Problem::malformed_multipart(rejection.body_text()))?;
        quota.check(None).await?;
        form::read_multipart(&context, &mut multipart).await?
    };
    // One version of the template decides about the whole request, also if the templates are loaded anew meanwhile.
    let template = templates.get(&form.template);
    let template = template.ok_or_else(|| Problem::unknown_template(&form.template, &templates.names()))?;
    let archive = match &form.project {
        Project::Archive(archive) => Some(scan(&api, template, archive).await?),
        Project::Repository(_) => None,
    };
    submit(&api, caller, &form, template, archive, &quota).await
}

/// Read a submission and its runs
#[utoipa::path(
    get, path = "/v1/submissions/{id}", tag = "submissions", operation_id = "readSubmission",
    params(("id" = Uuid, Path, description = "The id of the submission")),
    responses(
        (status = 200, description = "The submission", body = SubmissionWithRuns),
        ReadProblems,
    )
)]
pub(super) async fn read(
    State(api): State<ApiState>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<SubmissionWithRuns>, Problem> {
    let submission = api.store.read_submission(caller.organization, id).await?;
    let mut submission = submission.ok_or_else(|| Problem::not_found("submission"))?;
    let receipt = submission.receipt.take().map(|receipt| receipt.0);
    let runs = api.store.runs_of_submission(id).await?.into_iter().map(RunView::from).collect();
    Ok(Json(SubmissionWithRuns { submission: submission.into(), receipt, runs }))
}

/// Returns whether the body is JSON or multipart, by its Content-Type.
///
/// # Errors
/// `not_multipart` if it is neither.
fn is_json(headers: &HeaderMap) -> Result<bool, Problem> {
    let value = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    let media_type = value(header::CONTENT_TYPE).and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json");
    if !is_json && !media_type.eq_ignore_ascii_case("multipart/form-data") {
        return Err(Problem::not_multipart());
    }
    Ok(is_json)
}

/// Limits the concurrent scans of this process: the worst archive within the limits needs about 60 MiB.
static SCANS: Semaphore = Semaphore::const_new(4);

/// Scans the archive without unpacking it, on a thread outside the runtime's own.
async fn scan(api: &ApiState, template: &Template, archive: &Spooled) -> Result<ArchiveSummary, Problem> {
    let limits = template.scan_limits(&api.config);
    let file = Arc::clone(&archive.file);
    let permit = SCANS.acquire().await.map_err(|closed| Problem::internal(&closed))?;
    // The scan holds the permit, because a disconnecting client does not end the scan.
    let scan = move || (assize_archive::scan(&file, &limits), permit).0;
    let scanned = tokio::task::spawn_blocking(scan).await;
    Ok(scanned.map_err(|error| Problem::internal(&error))??)
}

/// Stores the blob first and the rows second, so that every run finds its archive. The insert is the last step that can
/// fail. Then a blob without a row may remain, which is harmless. This function must not delete it, because another
/// request with the same archive may use it already.
async fn submit(
    api: &ApiState,
    caller: Caller,
    form: &SubmissionForm,
    template: &Template,
    archive: Option<ArchiveSummary>,
    quota: &QueueQuotaCheck<'_>,
) -> Result<Response, Problem> {
    let request_sha256 = idempotency::request_sha256(form);
    let key = quota.idempotency_key;
    let idempotency = key.map(|key| Idempotency { key, request_sha256: &request_sha256 });
    if let Some(key) = key
        && let Some(first) = api.store.first_use(caller.organization, key).await?
    {
        return if first.request_sha256 == request_sha256 {
            replay(api, caller, first.project_submission_id).await
        } else {
            Err(Problem::idempotency_key_reused())
        };
    }
    // This is the last check before the submission is stored.
    let reservation = quota.reserve(&form.user).await?;
    let (id, run_id) = (Uuid::now_v7(), Uuid::now_v7());
    let contents = archive.as_ref().map(|archive| serde_json::to_value(&archive.contents));
    let contents = contents.transpose().map_err(|error| Problem::internal(&error))?.unwrap_or_default();
    let (source, receipt) = match &form.project {
        Project::Archive(spooled) => {
            keep(&api.store, &api.blobs, spooled).await?;
            let source = NewSource::Archive {
                sha256: &spooled.sha256,
                bytes: i64::try_from(spooled.bytes).unwrap_or(i64::MAX),
                entries: archive.as_ref().map_or(0, |archive| i64::try_from(archive.entries).unwrap_or(i64::MAX)),
                contents: &contents,
            };
            (source, receipt(api, caller, form, spooled, id, run_id))
        }
        // The worker that fetches the repository signs the receipt: before that, there is no commit and no archive.
        Project::Repository(found) => (NewSource::Repository { url: &found.url, reference: &found.reference }, None),
    };
    let new = NewSubmission {
        id,
        run_id,
        organization_id: caller.organization,
        user: &form.user,
        template: &form.template,
        half_slots: template.class.half_slots(),
        source,
        metadata: &form.metadata,
        idempotency,
        receipt: receipt.as_ref(),
    };
    match api.store.insert_submission(&new).await? {
        Inserted::Conflict => Err(Problem::idempotency_key_reused()),
        Inserted::Repeated { submission_id } => replay(api, caller, submission_id).await,
        Inserted::New { submitted_at } => {
            if let Some(reservation) = reservation {
                reservation.confirm();
            }
            event::run_queued(&RunIdentity {
                run_id: new.run_id,
                submission_id: new.id,
                organization_id: caller.organization,
                template: form.template.clone(),
            });
            announce(api, new.run_id);
            // The answer is built without the database, so that nothing can fail any more.
            Ok(accepted(RunRow::queued(&new, submitted_at), SubmissionRow::stored(&new, submitted_at)))
        }
    }
}

/// Signs the receipt before the row is written, so that one write stores both. If that write fails, nobody receives the
/// receipt.
fn receipt(
    api: &ApiState,
    caller: Caller,
    form: &SubmissionForm,
    archive: &Spooled,
    submission_id: Uuid,
    run_id: Uuid,
) -> Option<Envelope> {
    let received = ReceivedProject {
        submission_id,
        run_id,
        organization_id: caller.organization,
        user: &form.user,
        template: &form.template,
        archive_sha256: &archive.sha256,
        archive_bytes: i64::try_from(archive.bytes).unwrap_or(i64::MAX),
        received_at: to_micros(caller.now(&api.clock)),
        source: None,
    };
    sign_receipt(api.signer.as_ref()?, received)
}

/// Notifies workers and waiting requests. The client does not wait for Redis.
fn announce(api: &ApiState, run: Uuid) {
    let redis = api.redis.clone();
    let announcing = async move {
        let announced = async {
            redis.ring().await?;
            redis.announce(run).await
        };
        if let Err(error) = announced.await {
            event::dependency("redis", false, &error.to_string());
        }
    };
    tokio::spawn(announcing.in_current_span());
}

/// Returns the answer to the first request with this key, with the current state of its run.
async fn replay(api: &ApiState, caller: Caller, id: Uuid) -> Result<Response, Problem> {
    let (submission, mut runs) =
        tokio::try_join!(api.store.read_submission(caller.organization, id), api.store.runs_of_submission(id))?;
    let (Some(submission), Some(first)) = (submission, runs.pop()) else { return Err(Problem::missing_row(id)) };
    let mut response = accepted(first, submission);
    let replayed = HeaderName::from_static("idempotent-replayed");
    response.headers_mut().insert(replayed, HeaderValue::from_static("true"));
    Ok(response)
}

fn accepted(run: RunRow, mut submission: SubmissionRow) -> Response {
    let location = [(header::LOCATION, format!("/v1/runs/{}", run.id))];
    let receipt = submission.receipt.take().map(|receipt| receipt.0);
    let answer = Submitted { submission: submission.into(), run: run.into(), receipt };
    (StatusCode::ACCEPTED, location, Json(answer)).into_response()
}
