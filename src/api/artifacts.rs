//! The routes of a run's artifacts: the list, and each file.
//!
//! A project may have written a file, so no browser may take it for a page of this service: the media type belongs to the
//! extension and is never guessed, the file is an attachment, and a browser that shows it all the same does so in a sandbox
//! without scripts.

use assize_domain::artifact::{Artifact, LeftOutArtifact, Origin, RunArtifacts, api_path, percent_encoded};
use assize_domain::verdict::Visibility;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::etag::{self, IfNoneMatch};
use super::extract::{PathArtifact, PathId, QueryParams};
use super::problem::{Problem, ROUTE, WITH_ID, WITH_KEY, codes, problem_responses};
use super::state::ApiState;
use crate::intake::blob::BlobError;

/// What a browser may do with a file that it shows: nothing.
const POLICY: &str = "sandbox; default-src 'none'";

/// What a run handed out.
#[derive(Serialize, ToSchema)]
pub(super) struct ArtifactList {
    /// The files, those of the driver first, by name.
    artifacts: Vec<ArtifactView>,
    /// The number of files that the template names and that were not handed out.
    left_out_count: u64,
    /// The first of these files, with the reasons.
    left_out: Vec<LeftOutArtifact>,
}

/// A file that a run handed out.
#[derive(Serialize, ToSchema)]
#[schema(as = Artifact)]
pub(super) struct ArtifactView {
    /// The path of the file in its cell, without the first slash.
    name: String,
    /// `driver`: the cell of the tests, to which the project has no access. `subject`: the cell of the project, whose code
    /// could write the file.
    origin: Origin,
    /// The length of the file in bytes.
    bytes: u64,
    /// The SHA-256 digest of the file in hexadecimal, as in the signed statement.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// The media type that belongs to the extension of the name.
    media_type: String,
    /// Who may see the file.
    visibility: Visibility,
    /// The path of the file at this service.
    url: String,
}

/// Which of two files with the same name.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ArtifactParams {
    /// The cell that the file came from. Without it, the file of the driver takes precedence.
    #[param(value_type = Origin, required = false)]
    origin: Option<Origin>,
}

problem_responses!(ListProblems: ROUTE, WITH_KEY, WITH_ID);

problem_responses!(ReadProblems: ROUTE, WITH_KEY, WITH_ID, &[codes::BAD_PARAMETER, codes::STORAGE_UNAVAILABLE]);

/// List the artifacts of a run
///
/// Artifacts are files that the template of the run hands out. They appear when the run ends, and are deleted with its
/// output.
#[utoipa::path(
    get, path = "/v1/runs/{id}/artifacts", tag = "runs", operation_id = "listArtifacts",
    params(("id" = Uuid, Path, description = "The id of the run")),
    responses(
        (status = 200, description = "The artifacts; none while the run has not ended", body = ArtifactList),
        ListProblems,
    )
)]
pub(super) async fn list(
    State(api): State<ApiState>,
    caller: Caller,
    PathId(run): PathId,
) -> Result<Json<ArtifactList>, Problem> {
    let found = api.store.read_artifacts(caller.organization, run).await?;
    let RunArtifacts { files, left_out } = found.ok_or_else(|| Problem::not_found("run"))?;
    let artifacts = files.into_iter().map(|file| ArtifactView::new(run, file)).collect();
    Ok(Json(ArtifactList { artifacts, left_out_count: left_out.count, left_out: left_out.first }))
}

/// Read an artifact of a run
///
/// The answer is the file as it was handed out. `media_type` of the list is its media type, and it is always an attachment.
#[utoipa::path(
    get, path = "/v1/runs/{id}/artifacts/{name}", tag = "runs", operation_id = "readArtifact",
    params(
        ("id" = Uuid, Path, description = "The id of the run"),
        ("name" = String, Path, description = "The name of the artifact. It may contain slashes, as they are or as `%2F`"),
        ArtifactParams,
    ),
    responses(
        (status = 200, description = "The file", content(
            (String = "image/png"), (String = "image/jpeg"), (String = "image/gif"), (String = "image/webp"),
            (String = "text/plain"), (serde_json::Value = "application/json"), (String = "application/xml"),
            (String = "text/csv"), (String = "text/markdown"), (String = "text/html"), (String = "application/pdf"),
            (String = "image/svg+xml"),
        ), headers(("ETag" = String, description = "The SHA-256 digest of the file"))),
        (status = 304, description = "The client has the file already, by `If-None-Match`"),
        ReadProblems,
    )
)]
pub(super) async fn read(
    State(api): State<ApiState>,
    caller: Caller,
    PathArtifact { run, name }: PathArtifact,
    QueryParams(params): QueryParams<ArtifactParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("artifact");
    let found = api.store.find_artifact(caller.organization, run, &name, params.origin).await?.ok_or_else(missing)?;
    let tag = etag::headers(&format!("\"{}\"", found.sha256));
    if IfNoneMatch::read(&headers).is_some_and(|known| known.matches(&format!("\"{}\"", found.sha256))) {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    let content = match api.blobs.artifact(&found.sha256).await {
        Ok(content) => content,
        // Retention deleted it between the two look-ups.
        Err(BlobError::Missing(_)) => return Err(missing()),
        Err(error) => return Err(error.into()),
    };
    let described = [
        (header::CONTENT_TYPE, value(&found.media_type)),
        (header::CONTENT_LENGTH, HeaderValue::from(u64::try_from(found.bytes).unwrap_or_default())),
        (header::CONTENT_DISPOSITION, value(&disposition(&name))),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ];
    Ok((tag, described, Body::from_stream(content)).into_response())
}

impl ArtifactView {
    fn new(run: Uuid, file: Artifact) -> Self {
        let Artifact { name, origin, sha256, bytes, media_type, visibility } = file;
        let url = api_path(run, &name, origin);
        Self { name, origin, bytes, sha256, media_type, visibility, url }
    }
}

/// The header that names the file for whoever saves it: the last component of its name, encoded (RFC 8187).
fn disposition(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or(name);
    format!("attachment; filename*=UTF-8''{}", percent_encoded(file))
}

/// A header's value. What is stored is plain text, so another value is a fault of this service.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_header() {
        for (name, expected) in [
            ("workspace/out/a.png", "attachment; filename*=UTF-8''a.png"),
            ("workspace/out/é \"x\".html", "attachment; filename*=UTF-8''%C3%A9%20%22x%22.html"),
            ("a;b=c'd\r\ne.txt", "attachment; filename*=UTF-8''a%3Bb%3Dc%27d%0D%0Ae.txt"),
        ] {
            assert_eq!(disposition(name), expected);
        }
    }
}
