//! The parser of forms, public for its fuzz target only.

use std::sync::Arc;
use std::time::Duration;

use assize_config::Config;
use assize_host::clock::Clock;
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;
use bytes::Bytes;

use super::form::{self, FormContext, Project};
use super::request_body::{BodyLimits, BodyProgress, LimitedBody, MAX_FORM_OVERHEAD};
use crate::template::Templates;

/// The content of an accepted form.
#[derive(Debug)]
pub struct Accepted {
    /// 0 if the form names a repository.
    pub archive_bytes: u64,
    pub template: String,
    pub user: String,
    pub metadata: serde_json::Value,
}

/// Reads a body that arrives in these chunks as the form of a submission, like the API.
///
/// # Errors
/// The problem that the client would receive, as text.
pub async fn form(
    config: &Config,
    templates: &Templates,
    content_type: &str,
    chunks: Vec<Bytes>,
) -> Result<Accepted, String> {
    let progress = Arc::new(BodyProgress::default());
    let chunks = futures_util::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
    let hour = Duration::from_secs(3600);
    let bytes = config.max_archive_bytes.saturating_add(MAX_FORM_OVERHEAD);
    let limits = BodyLimits { bytes, total: hour, idle: hour };
    let limited = LimitedBody::new(Clock::system(), Body::from_stream(chunks), limits, false, Arc::clone(&progress));
    let request = Request::builder().header(header::CONTENT_TYPE, content_type).body(Body::from_stream(limited));
    let request = request.map_err(|error| error.to_string())?;
    let mut multipart = Multipart::from_request(request, &()).await.map_err(|rejection| rejection.body_text())?;
    let context = FormContext { config, templates, progress: &progress, quota: None };
    match form::read_multipart(&context, &mut multipart).await {
        Ok(form) => Ok(Accepted {
            archive_bytes: match form.project {
                Project::Archive(archive) => archive.bytes,
                Project::Repository(_) => 0,
            },
            template: form.template,
            user: form.user,
            metadata: form.metadata,
        }),
        Err(problem) => Err(format!("{problem:?}")),
    }
}
