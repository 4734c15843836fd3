//! A submission of a repository as a JSON object.

use axum::body::Body;
use futures_util::StreamExt;
use serde_json::Value;

use super::fields::{MAX_METADATA_BYTES, check_metadata, check_user};
use super::{FormContext, SubmissionForm, no_metadata};
use crate::api::problem::Problem;

/// The maximum size of the body in bytes: its fields at their longest, and escapes.
const MAX_JSON_BYTES: usize = 64 * 1024;

/// A submission without an archive, as JSON.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RepositorySubmission)]
pub(in crate::api) struct JsonSubmission {
    /// The name of a template.
    #[schema(min_length = 1, max_length = 64)]
    template: String,
    /// The person whose project it is, by any name that the platform uses: 1 to 200 characters, no control characters
    /// and at least one visible character.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    user: String,
    /// `https://host/path`; the setting `git_hosts` lists the allowed hosts.
    #[schema(max_length = 1024, pattern = r"^https?://[!-~]+$")]
    repository_url: String,
    /// A branch, a tag or a whole commit id. Without it, the default branch of the repository.
    #[schema(min_length = 1, max_length = 255)]
    r#ref: Option<String>,
    /// A JSON object that is stored and returned unchanged: at most 16 KiB and 16 levels of nesting.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
}

/// Reads a JSON form.
pub(in crate::api) async fn read_json(context: &FormContext<'_>, body: Body) -> Result<SubmissionForm, Problem> {
    let form: JsonSubmission =
        serde_json::from_slice(&read_body(context, body).await?).map_err(Problem::malformed_json)?;
    context.check_template(&form.template)?;
    let metadata = form.metadata.unwrap_or_else(no_metadata);
    let seen = metadata.to_string().len();
    if seen > MAX_METADATA_BYTES {
        return Err(Problem::field_too_long("metadata", MAX_METADATA_BYTES as u64, seen as u64));
    }
    Ok(SubmissionForm {
        project: context.check_repository(&form.repository_url, form.r#ref.as_deref())?,
        template: form.template,
        user: check_user(form.user)?,
        metadata: check_metadata(metadata)?,
    })
}

async fn read_body(context: &FormContext<'_>, body: Body) -> Result<Vec<u8>, Problem> {
    let (mut chunks, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        let broken = |_| {
            let error = context.progress.error();
            error.map_or_else(|| Problem::malformed_json("the connection broke off"), Problem::from)
        };
        bytes.extend_from_slice(&chunk.map_err(broken)?);
        if bytes.len() > MAX_JSON_BYTES {
            return Err(Problem::body_too_long(MAX_JSON_BYTES as u64, bytes.len() as u64));
        }
    }
    Ok(bytes)
}
