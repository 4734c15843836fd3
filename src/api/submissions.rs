//! Taking in a submission, and showing it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::Caller;
use super::body::Progress;
use super::extract::Id;
use super::form::{self, Form, Rules};
use super::problem::{Document, Problem};
use super::quota::Door;
use super::view::{RunView, SubmissionView};
use super::{ApiState, disk, idempotency};
use crate::intake::archive::{self, ArchiveSummary};
use crate::intake::blob::Kept;
use crate::intake::spool::Spooled;
use crate::observe::event::{self, Subject};
use crate::store::runs::RunRow;
use crate::store::submissions::{Idempotency, Inserted, NewSubmission, SubmissionRow};

pub(super) const PATH: &str = "/v1/submissions";

/// What the form is made of; for the description only.
#[derive(ToSchema)]
#[schema(as = SubmissionForm)]
#[expect(dead_code, reason = "describes what `form` reads")]
pub(super) struct FormFields {
    /// A zip.
    #[schema(value_type = String, format = Binary)]
    archive: Vec<u8>,
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
}

/// A submission with its runs.
#[derive(Serialize, ToSchema)]
pub(super) struct SubmissionWithRuns {
    #[serde(flatten)]
    submission: SubmissionView,
    /// Newest first, at most 100.
    runs: Vec<RunView>,
}

/// Take in a project and queue its first run.
#[utoipa::path(
    post, path = "/v1/submissions", tag = "submissions",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters; the same key \
        with the same submission gives the first one again, with the header idempotent-replayed")),
    request_body(content = FormFields, content_type = "multipart/form-data"),
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
    check_content(&headers)?;
    disk::check(&api).await?;
    let mut multipart = Multipart::from_request(request, &())
        .await
        .map_err(|refused| Problem::malformed_multipart(refused.body_text()))?;
    let door = Door { api: &api, organization: caller.organization, key };
    door.check(None).await?;
    let rules = Rules { config: &api.config, templates: &api.templates, progress: &progress, door: Some(&door) };
    let form = form::read(&rules, &mut multipart).await?;
    let archive = scan(&api, &form).await?;
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
    let submission = submission.ok_or_else(|| Problem::not_found("submission"))?.into();
    let runs = api.store.runs_of_submission(id).await?.into_iter().map(RunView::from).collect();
    Ok(Json(SubmissionWithRuns { submission, runs }))
}

fn check_content(headers: &HeaderMap) -> Result<(), Problem> {
    let value = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    let kind = value(header::CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return Err(Problem::not_multipart());
    }
    match value(header::CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(_) => Err(Problem::content_encoding()),
    }
}

/// Scans that go on at one time, in this process: each may need some 60 MiB for the worst that the limits let in.
static SCANS: Semaphore = Semaphore::const_new(4);

/// Looks the archive through without unpacking it, off the runtime's own threads.
async fn scan(api: &ApiState, form: &Form) -> Result<ArchiveSummary, Problem> {
    let template = api.templates.get(&form.template);
    let template = template.ok_or_else(|| Problem::unknown_template(&form.template, &api.templates.names()))?;
    let limits = template.archive.limits(&api.config);
    let file = Arc::clone(&form.archive.file);
    let turn = SCANS.acquire().await.map_err(|closed| Problem::internal(&closed))?;
    // The turn ends with the scan: a client that goes away does not end it.
    let scan = move || (archive::scan(&file, &limits), turn).0;
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
    archive: ArchiveSummary,
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
    let spooled = &form.archive;
    keep(api, spooled).await?;
    let new = NewSubmission {
        id: Uuid::now_v7(),
        run_id: Uuid::now_v7(),
        organization_id: caller.organization,
        user: &form.user,
        template: &form.template,
        half_slots: template.class.half_slots(),
        archive_sha256: &spooled.sha256,
        archive_bytes: i64::try_from(spooled.bytes).unwrap_or(i64::MAX),
        archive_entries: i64::try_from(archive.entries).unwrap_or(i64::MAX),
        metadata: &form.metadata,
        idempotency,
    };
    match api.store.insert_submission(&new).await? {
        Inserted::Conflict => Err(Problem::idempotency_key_reused()),
        Inserted::Repeated { submission_id } => replay(api, caller, submission_id).await,
        Inserted::New { submitted_at } => {
            if let Some(place) = place {
                place.taken();
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

/// Stores the archive. What is there already may be about to be deleted for its age: that is stopped or
/// waited for, and then it is looked for once more.
async fn keep(api: &ApiState, archive: &Spooled) -> Result<(), Problem> {
    let put = async || api.blobs.put_archive(&archive.sha256, &archive.file, archive.bytes).await;
    if put().await? == Kept::Found {
        api.store.reuse_archive(&archive.sha256).await?;
        put().await?;
    }
    Ok(())
}

/// Says that there is work, behind the client's back: Redis may take its second, or be away.
fn tell(api: &ApiState, run: Uuid) {
    let redis = api.redis.clone();
    tokio::spawn(async move {
        let told = async {
            redis.ring().await?;
            redis.announce(run).await
        };
        if let Err(error) = told.await {
            event::dependency("redis", false, &error.to_string());
        }
    });
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

fn accepted(run: RunRow, submission: SubmissionRow) -> Response {
    let location = [(header::LOCATION, format!("/v1/runs/{}", run.id))];
    let answer = Submitted { submission: submission.into(), run: run.into() };
    (StatusCode::ACCEPTED, location, Json(answer)).into_response()
}
