//! Taking in a submission, and showing it.

use std::sync::Arc;

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
use super::body::Progress;
use super::extract::Id;
use super::form::{self, Form, JsonForm, Project, Rules};
use super::problem::{Document, Problem};
use super::quota::Door;
use super::view::{RunView, SubmissionView};
use super::{ApiState, disk, idempotency};
use crate::intake::keep::keep;
use crate::intake::spool::Spooled;
use assize_archive::{self, ArchiveSummary};
use assize_observe::event::{self, Subject};
use assize_signing::Envelope;
use assize_signing::receipt::{ReceivedProject, sign_receipt};
use assize_signing::statement::to_micros;
use assize_store::runs::RunRow;
use assize_store::submissions::{Idempotency, Inserted, NewSource, NewSubmission, SubmissionRow};

pub(super) const PATH: &str = "/v1/submissions";

/// What the form is made of; for the description only.
#[derive(ToSchema)]
#[schema(as = SubmissionForm)]
#[expect(dead_code, reason = "describes what `form` reads")]
pub(super) struct FormFields {
    /// A zip; or `repository_url` in its place.
    #[schema(value_type = Option<String>, format = Binary)]
    archive: Option<Vec<u8>>,
    /// `https://host/path`; the host must be one of `git_hosts`.
    repository_url: Option<String>,
    /// A branch, a tag or a whole commit of the repository; else its default branch.
    r#ref: Option<String>,
    /// The name of a template.
    template: String,
    /// Whose project it is, in the platform's words: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    user: String,
    /// A JSON object, kept and shown as it is: at most 16 KiB and 16 levels.
    metadata: Option<String>,
}

/// What was taken in.
#[derive(Serialize, ToSchema)]
pub(super) struct Submitted {
    submission: SubmissionView,
    /// Its first run.
    run: RunView,
    /// That it was received: what, from whom and when, signed. Null if this installation signs nothing. Keep it;
    /// `assize verify` checks it.
    receipt: Option<Envelope>,
}

/// A submission with its runs.
#[derive(Serialize, ToSchema)]
pub(super) struct SubmissionWithRuns {
    #[serde(flatten)]
    submission: SubmissionView,
    /// As it was signed when it was received.
    receipt: Option<Envelope>,
    /// Newest first, at most 100.
    runs: Vec<RunView>,
}

/// Take in a project and queue its first run.
#[utoipa::path(
    post, path = "/v1/submissions", tag = "submissions",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters; the same key \
        with the same submission gives the first one again, with the header idempotent-replayed")),
    request_body(content((FormFields = "multipart/form-data"), (JsonForm = "application/json"))),
    responses(
        (status = 202, description = "Stored and queued", body = Submitted,
            headers(("Location" = String, description = "The run"))),
        (status = 429, description = "A queue is full: `queue_full`, `org_queue_full` or `user_queue_full`; nothing was stored",
            body = Document, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds, 1 to 300"))),
        (status = "default", description = "Nothing was stored", body = Document,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(api): State<ApiState>,
    caller: Caller,
    Extension(progress): Extension<Arc<Progress>>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = caller.may_submit()?;
    let headers = request.headers().clone();
    let key = idempotency::key(&headers)?;
    let is_json = check_content(&headers)?;
    disk::check(&api).await?;
    let door = Door { api: &api, organization: caller.organization, key };
    let form = if is_json {
        door.check(None).await?;
        form::read_json(&api, request.into_body(), &progress).await?
    } else {
        let mut multipart = Multipart::from_request(request, &())
            .await
            .map_err(|refused| Problem::malformed_multipart(refused.body_text()))?;
        door.check(None).await?;
        let rules = Rules { config: &api.config, templates: &api.templates, progress: &progress, door: Some(&door) };
        form::read(&rules, &mut multipart).await?
    };
    let archive = match &form.project {
        Project::Archive(archive) => Some(scan(&api, &form.template, archive).await?),
        Project::Repository(_) => None,
    };
    submit(&api, caller, &form, archive, &door).await
}

/// Show a submission and its runs.
#[utoipa::path(
    get, path = "/v1/submissions/{id}", tag = "submissions",
    params(("id" = Uuid, Path, description = "The submission")),
    responses(
        (status = 200, description = "The submission", body = SubmissionWithRuns),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(
    State(api): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<SubmissionWithRuns>, Problem> {
    let submission = api.store.read_submission(caller.organization, id).await?;
    let mut submission = submission.ok_or_else(|| Problem::not_found("submission"))?;
    let receipt = submission.receipt.take().map(|receipt| receipt.0);
    let runs = api.store.runs_of_submission(id).await?.into_iter().map(RunView::from).collect();
    Ok(Json(SubmissionWithRuns { submission: submission.into(), receipt, runs }))
}

/// Whether the body is JSON; else it is multipart.
fn check_content(headers: &HeaderMap) -> Result<bool, Problem> {
    let value = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    let kind = value(header::CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let is_json = kind.eq_ignore_ascii_case("application/json");
    if !is_json && !kind.eq_ignore_ascii_case("multipart/form-data") {
        return Err(Problem::not_multipart());
    }
    Ok(is_json)
}

/// Scans that go on at one time, in this process: each may need some 60 MiB for the worst that the limits let in.
static SCANS: Semaphore = Semaphore::const_new(4);

/// Looks the archive through without unpacking it, off the runtime's own threads.
async fn scan(api: &ApiState, template: &str, archive: &Spooled) -> Result<ArchiveSummary, Problem> {
    let found = api.templates.get(template);
    let found = found.ok_or_else(|| Problem::unknown_template(template, &api.templates.names()))?;
    let limits = found.scan_limits(&api.config);
    let file = Arc::clone(&archive.file);
    let turn = SCANS.acquire().await.map_err(|closed| Problem::internal(&closed))?;
    // The turn ends with the scan: a client that goes away does not end it.
    let scan = move || (assize_archive::scan(&file, &limits), turn).0;
    let scanned = tokio::task::spawn_blocking(scan).await;
    Ok(scanned.map_err(|error| Problem::internal(&error))??)
}

/// Blob first, then rows: a run that exists always finds its archive. The last thing that can fail
/// is the insert; a blob without a row may then stay, which harms nobody and must not be deleted
/// here, because another request with the same archive may just have found it.
async fn submit(
    api: &ApiState,
    caller: Caller,
    form: &Form,
    archive: Option<ArchiveSummary>,
    door: &Door<'_>,
) -> Result<Response, Problem> {
    let template = api.templates.get(&form.template);
    let template = template.ok_or_else(|| Problem::unknown_template(&form.template, &api.templates.names()))?;
    let request_sha256 = idempotency::request_sha256(form);
    let key = door.key;
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
    // The last thing that is asked before anything is kept.
    let place = door.enter(&form.user).await?;
    let (id, run_id) = (Uuid::now_v7(), Uuid::now_v7());
    let (source, receipt) = match &form.project {
        Project::Archive(spooled) => {
            keep(&api.store, &api.blobs, spooled).await?;
            let source = NewSource::Archive {
                sha256: &spooled.sha256,
                bytes: i64::try_from(spooled.bytes).unwrap_or(i64::MAX),
                entries: archive.map_or(0, |archive| i64::try_from(archive.entries).unwrap_or(i64::MAX)),
            };
            (source, receipt(api, caller, form, spooled, id, run_id))
        }
        // Signed by the worker that fetches it: before that there is no commit and no archive to sign.
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
            if let Some(place) = place {
                place.confirm();
            }
            event::run_queued(&Subject {
                run_id: new.run_id,
                submission_id: new.id,
                organization_id: caller.organization,
                template: form.template.clone(),
            });
            tell(api, new.run_id);
            // From what is known, not from the database: from here on nothing can fail any more.
            Ok(accepted(RunRow::queued(&new, submitted_at), SubmissionRow::stored(&new, submitted_at)))
        }
    }
}

/// The receipt is signed before the row is written, so that it costs no second write. A receipt whose row is not
/// written is returned to nobody.
fn receipt(
    api: &ApiState,
    caller: Caller,
    form: &Form,
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
        received_at: to_micros(caller.now()),
        source: None,
    };
    sign_receipt(api.signer.as_ref()?, received)
}

/// Says that there is work, behind the client's back: Redis may take its second, or be away.
fn tell(api: &ApiState, run: Uuid) {
    let redis = api.redis.clone();
    let telling = async move {
        let told = async {
            redis.ring().await?;
            redis.announce(run).await
        };
        if let Err(error) = told.await {
            event::dependency("redis", false, &error.to_string());
        }
    };
    tokio::spawn(telling.in_current_span());
}

/// The answer that the first request with this key got, with its run as it is now.
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
