//! The way from a body to a form, for the fuzz target that feeds it: nothing but this reads `multipart` from outside.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;
use bytes::Bytes;

use super::body::{FORM_ROOM, Guarded, Limits, Progress};
use super::form::{self, Project, Rules};
use crate::template::Templates;
use assize_config::Config;

/// What a form that was accepted holds.
#[derive(Debug)]
pub struct Accepted {
    /// 0 if it names a repository.
    pub archive_bytes: u64,
    pub template: String,
    pub user: String,
    pub metadata: serde_json::Value,
}

/// Reads a body that comes in these pieces as the form of a submission, as the API does.
///
/// # Errors
/// What the client would be answered.
pub async fn form(
    config: &Config,
    templates: &Templates,
    content_type: &str,
    pieces: Vec<Bytes>,
) -> Result<Accepted, String> {
    let progress = Arc::new(Progress::default());
    let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let hour = Duration::from_secs(3600);
    let limits = Limits { bytes: config.max_archive_bytes.saturating_add(FORM_ROOM), whole: hour, idle: hour };
    let guarded = Guarded::new(Body::from_stream(pieces), limits, false, Arc::clone(&progress));
    let request = Request::builder().header(header::CONTENT_TYPE, content_type).body(Body::from_stream(guarded));
    let request = request.map_err(|error| error.to_string())?;
    let mut multipart = Multipart::from_request(request, &()).await.map_err(|refused| refused.body_text())?;
    let rules = Rules { config, templates, progress: &progress, door: None };
    match form::read(&rules, &mut multipart).await {
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
